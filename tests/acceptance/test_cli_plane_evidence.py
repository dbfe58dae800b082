"""`--evidence FOLDER`: what commands of the plane do stands in a sink, or is not done."""

import fcntl
import json
from pathlib import Path

import pytest

from fix_cli import Shell


def kept(folder: Path) -> list[dict[str, object]]:
    """The receipts in a sink's file."""
    return [json.loads(line)["receipt"] for line in (folder / "evidence.jsonl").read_text().splitlines()]


def test_what_is_done_is_kept_and_can_be_verified(bare_shell: Shell) -> None:
    run = bare_shell.run("plane", "run", "--evidence", "kept", "--json", "--env", "LAMP=green", "--", "/usr/bin/env")
    url = f"{bare_shell.service.url}/nothing"
    sent = bare_shell.run("plane", "http", "GET", url, "--evidence", "kept", "--json")
    first, second = kept(bare_shell.folder / "kept")
    assert first == run.json["receipt"]
    assert second["intent_digest"] == sent.json["receipt"]["intent_digest"]
    told = bare_shell.run("plane", "verify", "kept/evidence.jsonl", "--json")
    assert [each["status"] for each in told.json["receipts"]] == ["intact_unsigned"] * 2


def test_a_secret_does_not_stand_in_evidence(bare_shell: Shell) -> None:
    bare_shell.run(
        "plane",
        "run",
        "--evidence",
        "kept",
        "--secret",
        "TOKEN",
        "--",
        "/no/such/place/ghp_a-token-for-the-command-line",
    )
    assert "ghp_a-token" not in (bare_shell.folder / "kept/evidence.jsonl").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--", "/usr/bin/touch", "done"),
        ("http", "GET", "http://127.0.0.1:1/"),
        ("ws", "ws://127.0.0.1:1/"),
    ],
    ids=["run", "http", "ws"],
)
def test_without_a_place_for_evidence_nothing_is_done(bare_shell: Shell, arguments: tuple[str, ...]) -> None:
    (bare_shell.folder / "kept").write_text("a file")
    told = bare_shell.run("plane", arguments[0], "--evidence", "kept", "--json", *arguments[1:])
    assert (told.code, told.error["code"]) == (2, "evidence_refused")
    assert "evidence cannot be kept in kept: File exists" in told.error["message"]
    assert not (bare_shell.folder / "done").exists()


def test_evidence_that_is_lost_after_the_deed_is_told(bare_shell: Shell) -> None:
    spoil = "rm -rf kept; touch kept done"
    told = bare_shell.run("plane", "run", "--evidence", "kept", "--json", "--", "/bin/sh", "-c", spoil)
    assert (told.code, told.error["code"]) == (125, "evidence_owed")
    assert told.error["message"].startswith("evidence could not be kept of executions: 1 in kept: ")
    assert (bare_shell.folder / "done").exists()


def test_a_folder_has_one_writer(bare_shell: Shell) -> None:
    (bare_shell.folder / "kept").mkdir()
    with (bare_shell.folder / "kept/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = bare_shell.run("plane", "run", "--evidence", "kept", "--json", "--", "/usr/bin/true")
    assert told.error["message"] == "evidence cannot be kept in kept: somebody else writes there"


def test_a_node_elsewhere_keeps_its_own(bare_shell: Shell) -> None:
    told = bare_shell.run(
        "plane", "run", "--evidence", "kept", "--placement", "https://127.0.0.1:1", "--json", "--", "/usr/bin/true"
    )
    assert told.code == 2
    assert "node serve --evidence" in told.error["message"]
    assert not (bare_shell.folder / "kept").exists()


def test_a_node_that_cannot_keep_evidence_does_not_begin(bare_shell: Shell) -> None:
    bare_shell.good("node", "init", "keys", "--name", "127.0.0.1")
    (bare_shell.folder / "kept").write_text("a file")
    told = bare_shell.run("node", "serve", "--keys", "keys/node", "--bind", "127.0.0.1:0", "--evidence", "kept")
    assert told.code == 2
    assert told.err.startswith("error: evidence cannot be kept in kept")
