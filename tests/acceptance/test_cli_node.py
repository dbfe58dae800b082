"""`interlock node` and `plane run --placement https://…`: a command on another machine, from the command line."""

import shutil
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fix_cli import Shell

pytestmark = pytest.mark.faults


@dataclass
class Standing:
    """A node as a process of its own."""

    process: subprocess.Popen[str]
    url: str
    keys: Path

    @property
    def client(self) -> str:
        return str(self.keys / "client")

    def run(self, *arguments: str) -> list[str]:
        return ["plane", "run", "--placement", self.url, "--identity", self.client, *arguments]


@contextmanager
def standing_node(shell: Shell, warm: Path, *more: str) -> Generator[Standing]:
    """Start a node, and wait for its line."""
    shell.environment["INTERLOCK_EXECUTION__EGRESS_ALLOW"] = '["127.0.0.0/8"]'
    keys = shell.folder / "keys"
    shell.good("node", "init", str(keys), "--name", "127.0.0.1")
    arguments = ["--keys", str(keys / "node"), "--bind", "127.0.0.1:0", "--sandbox", "local-process"]
    arguments += ["--token-key", str(keys / "node" / "trust.pem")]
    with shell.start("node", "serve", *arguments, *more, program=warm / "interlock") as process:
        try:
            assert process.stdout is not None
            node_id, url = process.stdout.readline().split()
            assert node_id == "node"
            yield Standing(process, url, keys)
        finally:
            process.kill()


def test_a_command_there_is_as_one_here(bare_shell: Shell, warm: Path) -> None:
    with standing_node(bare_shell, warm) as standing:
        check_a_command(bare_shell, standing)
        check_a_description(bare_shell, standing)
        check_what_it_refuses(bare_shell, standing)
        check_the_end(bare_shell, standing)


def check_a_command(bare_shell: Shell, standing: Standing) -> None:
    script = "cat; echo wrong >&2; exit 7"
    told = bare_shell.spawn(*standing.run("--", "/bin/sh", "-c", script), stdin="one\ntwo")
    assert (told.code, told.out, told.err) == (7, "one\ntwo", "wrong\n")
    document = bare_shell.run(*standing.run("--json", "--", "/bin/pwd")).json
    assert document["stdout"] == "/\n"
    assert document["receipt"]["node_id"] == "node"
    assert document["receipt"]["evidence"][0]["data"]["asked_by"] == "cert:CN=client; CN=node keys"


def check_a_description(bare_shell: Shell, standing: Standing) -> None:
    told = bare_shell.good("node", "describe", standing.url, "--identity", standing.client)
    assert told["node_id"] == "node"
    assert "local-process" in {each["target_id"] for each in told["targets"]}


def check_what_it_refuses(bare_shell: Shell, standing: Standing) -> None:
    """With an exit code that is not the command's."""
    others, folder = bare_shell.folder / "others", bare_shell.folder / "identity"
    bare_shell.good("node", "init", str(others), "--name", "127.0.0.1")
    shutil.copytree(standing.client, folder)
    (folder / "receipts.pem").write_bytes((others / "client" / "receipts.pem").read_bytes())
    told = bare_shell.run(*standing.run("--identity", str(folder), "--json", "--", "/bin/echo", "said"))
    assert (told.code, told.error["code"], told.json["receipt"]) == (125, "unproven_receipt", None)
    (folder / "token.pem").write_bytes((others / "client" / "authority.pem").read_bytes())
    told = bare_shell.run(*standing.run("--identity", str(folder), "--", "/bin/echo", "said"))
    assert (told.code, told.out) == (125, "")
    assert told.err.startswith("error: this node does not know who is asking\n")


def check_the_end(bare_shell: Shell, standing: Standing) -> None:
    with bare_shell.start(*standing.run("--", "/bin/sh", "-c", "echo $$; exec sleep 600")) as client:
        assert client.stdout is not None
        sleeping = psutil.Process(int(client.stdout.readline()))  # the client listens: it will be told the end
        standing.process.send_signal(signal.SIGTERM)
        _, err = client.communicate()
    assert standing.process.wait() == 0
    assert not sleeping.is_running()
    assert client.returncode == 125
    assert err.startswith("error: the execution was cancelled\n")
    journal = (standing.keys / "node" / "journal.jsonl").read_text().splitlines()
    assert len(journal) == 8
    assert '"failure_class":"cancelled"' in journal[-1]


@pytest.mark.parametrize("mended", [True, False])
def test_a_node_ends_badly_while_it_owes_evidence(bare_shell: Shell, warm: Path, mended: bool) -> None:
    kept, done = bare_shell.folder / "kept", bare_shell.folder / "done"
    with standing_node(bare_shell, warm, "--evidence", str(kept)) as standing:
        spoilt = bare_shell.run(*standing.run("--", "/bin/sh", "-c", f"rm -r {kept}; touch {kept}"))
        assert spoilt.code == 0, "what was done is done"
        refused = bare_shell.run(*standing.run("--json", "--", "/usr/bin/touch", str(done)))
        assert (refused.code, refused.error["details"]["failure_code"]) == (125, "evidence_unwritable")
        assert not done.exists()
        if mended:
            kept.unlink()
            kept.mkdir()
        standing.process.send_signal(signal.SIGTERM)
        _, err = standing.process.communicate()
    assert standing.process.returncode == (0 if mended else 1), err
    assert ("error: evidence could not be kept of executions: 2 in " in err) is not mended
    if mended:
        assert len((kept / "evidence.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--placement", "https://127.0.0.1:1"], "--identity is missing"),
        (["--placement", "ftp://127.0.0.1:1"], "--placement"),
        (["--placement", "https://127.0.0.1:1/path", "--identity", "."], "https://HOST:PORT"),
        (["--placement", "https://127.0.0.1:1", "--identity", "."], "the client's keys"),
    ],
)
def test_what_is_wrong_with_a_placement_is_said(bare_shell: Shell, arguments: list[str], words: str) -> None:
    told = bare_shell.run("plane", "run", *arguments, "--", "/bin/true")
    assert told.code == 2
    assert words in told.err


def test_a_place_elsewhere_is_nothing_that_a_node_offers(bare_shell: Shell) -> None:
    bare_shell.good("node", "init", "keys", "--name", "127.0.0.1")
    told = bare_shell.run("node", "serve", "--keys", "keys/node", "--sandbox", "ssh-pinned")
    assert told.code == 2
    assert "there is no sandbox 'ssh-pinned'; known: container-gvisor," in told.err


def test_keys_are_not_overwritten(bare_shell: Shell, tmp_path: Path) -> None:
    told = bare_shell.run("node", "init", str(tmp_path), "--name", "localhost")
    assert told.code == 2
    assert "exists" in told.err


@pytest.mark.parametrize("name", ["a b", "", "a.dev:8443", "a.dev/x", "*"])
def test_keys_are_made_for_hosts_only(bare_shell: Shell, name: str) -> None:
    told = bare_shell.run("node", "init", "keys", "--name", name)
    assert (told.code, f"--name {name!r} is no host name and no address" in told.err) == (2, True)
    assert not (bare_shell.folder / "keys").exists()


def test_keys_that_are_not_there_are_told_as_that(bare_shell: Shell) -> None:
    told = bare_shell.run("node", "serve", "--keys", "nope")
    assert (told.code, "--keys nope: there is no such folder" in told.err) == (2, True)
