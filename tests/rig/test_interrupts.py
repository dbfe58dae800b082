"""`plane run` that somebody interrupts, in every sandbox and at every placement: nothing of its command is left."""

import json
import signal
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from far_places import SshHost, agent
from fix_cli import Shell
from fix_process import alive
from interlock import plane
from interlock.adapters import targets

pytestmark = pytest.mark.rig

READS = [part for path in targets.SYSTEM if Path(path).exists() for part in ("--read", path)]
LINE = (
    """trap '' INT TERM; (setsid sh -c 'while :; do sleep 600; done' $0 &); echo begun; while :; do sleep 600; done"""
)
"""Detaches one process, and neither of them obeys."""

CONFINERS: list[plane.Confiner] = [
    targets.Landlock(),
    targets.Bubblewrap(),
    targets.Container(plane.CONTAINER_RUNC),
    targets.Container(plane.CONTAINER_GVISOR),
]


@contextmanager
def on_a_node(shell: Shell) -> Generator[list[str]]:
    shell.good("node", "init", "keys", "--name", "127.0.0.1")
    serving = ("node", "serve", "--keys", "keys/node", "--bind", "127.0.0.1:0", "--sandbox", plane.LOCAL_PROCESS)
    with shell.start(*serving) as process:
        assert process.stdout is not None
        try:
            yield ["--placement", process.stdout.readline().split()[1], "--identity", "keys/client"]
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def in_a_guest(shell: Shell) -> Generator[list[str]]:
    with agent(shell.folder) as guest:
        shell.environment["INTERLOCK_EXECUTION__PLACES"] = json.dumps([{"url": guest.url, "token": str(guest.token)}])
        yield ["--placement", guest.url]


@contextmanager
def by_ssh(shell: Shell) -> Generator[list[str]]:
    with closing(SshHost(shell.folder)) as host:
        place = {
            "url": f"ssh://me@127.0.0.1:{host.port}",
            "identity": str(host.identity),
            "host_keys": [host.host_key.get_fingerprint()],
        }
        shell.environment["INTERLOCK_EXECUTION__PLACES"] = json.dumps([place])
        yield ["--placement", str(place["url"])]


def check(shell: Shell, options: list[str], marker: str) -> None:
    with shell.start("plane", "run", "--receipt", "receipt.json", *options, "--", "/bin/sh", "-c", LINE, marker) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        run.send_signal(signal.SIGINT)
        _, err = run.communicate()
    assert (run.returncode, err.splitlines()[0]) == (130, "error: interrupted")
    assert alive(marker) == []
    receipt = plane.Receipt.model_validate_json((shell.folder / "receipt.json").read_text())
    assert receipt.failure is not None
    assert (receipt.failure.failure_class, plane.verify_evidence(receipt)) == ("cancelled", None)


@pytest.mark.parametrize("confiner", CONFINERS, ids=lambda each: each.target_class)
def test_in_a_sandbox(bare_shell: Shell, confiner: plane.Confiner, marker: str) -> None:
    if confiner.unavailable is not None:
        pytest.skip(confiner.unavailable)
    check(bare_shell, ["--sandbox", confiner.target_class, *READS], marker)


@pytest.mark.parametrize("elsewhere", [on_a_node, in_a_guest, by_ssh])
def test_elsewhere(
    bare_shell: Shell, elsewhere: Callable[[Shell], AbstractContextManager[list[str]]], marker: str
) -> None:
    bare_shell.environment["INTERLOCK_EXECUTION__EGRESS_ALLOW"] = '["127.0.0.0/8"]'
    with elsewhere(bare_shell) as options:
        check(bare_shell, options, marker)
