"""`interlock worker` and `serve` while they start: their store may be away, and they may be told to end."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
def test_a_store_that_is_away_is_waited_for(far: Shell, warm: Path, proxy: Proxy, command: tuple[str, ...]):
    proxy.refusing = True
    with far.start(*command, "--json", program=warm / "interlock") as process:
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


def test_handlers_that_never_end_keep_no_worker_from_ending(shell: Shell):
    """One on a thread, and one that swallows its end."""
    (shell.folder / "stuck.py").write_text(STUCK)
    settings = shell.folder / "interlock.toml"
    settings.write_text(settings.read_text().replace("[policy]\n", '[app]\nmodules = ["stuck"]\n\n[policy]\n', 1))
    program = (
        "from interlock import dispatch\n"
        "from interlock.sync import Interlock\n"
        "with Interlock.open() as il:\n"
        "    for handler in ('threaded', 'deaf'):\n"
        "        il.dispatch.submit(handler, {}, retry=dispatch.RetryPolicy(max_attempts=1))\n"
    )
    with shell.start("-c", program, program=Path(sys.executable)) as submitting:
        assert submitting.communicate() == ("", "")
    with shell.start("worker") as process:
        assert process.stdout is not None
        process.stdout.readline()
        while len(shell.good("dispatch", "dead")["work"]) < 2:
            pass
        process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert "the handler deaf (stuck.deaf) does not end when it is told to, and is left behind" in err
    assert err.splitlines()[-1] == "warning: a handler does not end, and is left behind on its thread"


STUCK = """
import asyncio
import time

from interlock import dispatch


@dispatch.handler("threaded", timeout=0.1)
def threaded(event, context):
    while True:
        time.sleep(1)


@dispatch.handler("deaf", timeout=0.1, grace=0.1)
async def deaf(event, context):
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass
"""
