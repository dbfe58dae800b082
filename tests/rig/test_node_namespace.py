"""A node in a network namespace of its own, whose link is taken away in mid-stream and given back."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fix_cli import COMMAND

pytestmark = pytest.mark.rig

NEAR, FAR = "10.231.77.1", "10.231.77.2"
SPACE, HERE, THERE = "interlock-rig", "ilk-near", "ilk-far"


def ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True, timeout=30)


@pytest.fixture
def namespace() -> Generator[None]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("there is no ip (iproute2)")
    ip("netns", "del", SPACE, check=False)
    try:
        ip("netns", "add", SPACE)
        ip("link", "add", HERE, "type", "veth", "peer", "name", THERE, "netns", SPACE)
    except subprocess.CalledProcessError as error:
        ip("netns", "del", SPACE, check=False)
        pytest.skip(f"no network namespace can be made here: {error.stderr.decode()[:200]}")
    try:
        ip("addr", "add", f"{NEAR}/24", "dev", HERE)
        ip("link", "set", HERE, "up")
        for command in (
            ("addr", "add", f"{FAR}/24", "dev", THERE),
            ("link", "set", THERE, "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", SPACE, *command)
        yield
    finally:
        ip("netns", "del", SPACE, check=False)
        ip("link", "del", HERE, check=False)


@dataclass
class Elsewhere:
    """A node there, and what its clients here need."""

    url: str
    keys: Path
    process: subprocess.Popen[str]

    def run(self, script: str, *options: str) -> subprocess.Popen[bytes]:
        command = [COMMAND, "plane", "run", "--placement", self.url, "--identity", self.keys / "client", *options]
        environment = {**os.environ, "INTERLOCK_EXECUTION__EGRESS_ALLOW": f'["{FAR}/32"]'}
        return subprocess.Popen(
            [*command, "--", "/bin/sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # `communicate` would not see what was read ahead
            env=environment,
            cwd=self.keys,
        )


@pytest.fixture
def elsewhere(namespace: None, tmp_path: Path) -> Generator[Elsewhere]:
    keys = tmp_path / "keys"
    subprocess.run([COMMAND, "node", "init", keys, "--name", FAR], check=True, capture_output=True, timeout=60)
    command = ["ip", "netns", "exec", SPACE, COMMAND, "node", "serve", "--json", "--keys", keys / "node"]
    process = subprocess.Popen(
        [*command, "--bind", f"{FAR}:0", "--sandbox", "local-process"], stdout=subprocess.PIPE, text=True, cwd=keys
    )
    assert process.stdout is not None
    yield Elsewhere(json.loads(process.stdout.readline())["url"], keys, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def read_lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


@pytest.mark.parametrize("seconds", [2, 30], ids=["a moment", "longer than the connections last"])
def test_a_link_that_goes_and_comes_back_loses_and_doubles_nothing(elsewhere: Elsewhere, seconds: int) -> None:
    """While it is away the command says more than a node keeps for nobody (1 MiB)."""
    script = "for i in $(seq 1 40000); do echo $i the quick brown fox jumps over the lazy dog $i; done; exit 7"
    process = elsewhere.run(script, "--timeout", "300")
    first = read_lines(process, 500)
    ip("-n", SPACE, "link", "set", THERE, "down")
    time.sleep(seconds)  # the link is away that long: there is nothing else to wait for
    ip("-n", SPACE, "link", "set", THERE, "up")
    rest, complaints = process.communicate(timeout=90)
    numbers = [int(line.split()[0]) for line in [*first, *rest.splitlines()]]
    assert numbers == list(range(1, 40_001))
    assert complaints == b""
    assert process.returncode == 7


def test_what_is_typed_while_the_link_is_away_arrives_once(elsewhere: Elsewhere) -> None:
    process = elsewhere.run("cat", "--timeout", "300")
    assert process.stdin is not None
    process.stdin.write(b"before\n")
    process.stdin.flush()
    first = read_lines(process, 1)
    ip("-n", SPACE, "link", "set", THERE, "down")
    process.stdin.write(b"meanwhile\n")
    process.stdin.flush()
    time.sleep(3)
    ip("-n", SPACE, "link", "set", THERE, "up")
    rest, _ = process.communicate(b"after\n", timeout=240)
    assert [*first, *rest.splitlines(keepends=True)] == [b"before\n", b"meanwhile\n", b"after\n"]
    assert process.returncode == 0


def test_a_link_that_stays_away_is_no_success(elsewhere: Elsewhere) -> None:
    process = elsewhere.run("echo begun; sleep 5; echo end", "--json", "--timeout", "6")
    while '"accepted"' not in (elsewhere.keys / "node" / "journal.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    ip("-n", SPACE, "link", "set", THERE, "down")
    out, _ = process.communicate(timeout=90)
    assert process.returncode != 0
    assert json.loads(out)["error"]["details"]["failure_class"] in {"peer_lost", "connect_timeout", "connect_failed"}
    ip("-n", SPACE, "link", "set", THERE, "up")
