"""`interlock worker` and `serve` while they start: their store may be away, and they may be told to end."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from fault_proxy import Proxy
from fix_cli import Shell

pytestmark = pytest.mark.faults

COMMANDS = [("worker",), ("serve", "--bind", "127.0.0.1:0")]


@pytest.fixture
def proxy(own_postgres_url: str) -> Iterator[Proxy]:
    made = Proxy(own_postgres_url)
    yield made
    made.close()


@pytest.fixture
def far(bare_shell: Shell, proxy: Proxy) -> Shell:
    """A folder whose store is on a server that can be cut off."""
    bare_shell.environment |= {"INTERLOCK_STORE": proxy.url, "INTERLOCK_KEY": bytes(range(32)).hex()}
    return bare_shell


def told(process: "subprocess.Popen[str]", start: str) -> None:
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith(start), line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each[0])
def test_a_store_that_is_away_is_waited_for(far: Shell, proxy: Proxy, command: tuple[str, ...]):
    proxy.refusing = True
    with far.start(*command, "--json") as process:
        told(process, "warning: waiting for the store, for ")
        proxy.refusing = False
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())
        process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "warning: the store is there"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each[0])
def test_who_is_told_to_end_while_it_waits_ends_in_good_order(far: Shell, proxy: Proxy, command: tuple[str, ...]):
    proxy.refusing = True
    with far.start(*command) as process:
        told(process, "warning: waiting for the store")
        process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert all(line.startswith("warning: waiting for the store") for line in err.splitlines())


def test_the_wait_has_an_end(far: Shell, proxy: Proxy):
    proxy.refusing = True
    told = far.run("worker", "--wait-for-store", "1s")
    assert told.code == 7
    assert "waiting for the store, for 1 s more at most" in told.err
    assert "cannot be reached" in told.err.splitlines()[-2]
    assert far.run("worker", "--wait-for-store", "soon").code == 2


def test_what_waiting_does_not_mend_is_said_at_once(far: Shell, empty_postgres_url: str):
    told = far.run("worker", environment={"INTERLOCK_STORE": empty_postgres_url})
    assert (told.code, "waiting" in told.err) == (7, False)
