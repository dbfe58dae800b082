"""Work for later from the shell: left, done by a worker, given up, taken up again."""

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fix_cli import REPOSITORY, Shell

pytestmark = pytest.mark.faults

HANDLERS = """
from pathlib import Path

from interlock import dispatch


@dispatch.handler("incident")
def incident(event, context):
    if not Path("mended").exists():
        raise dispatch.Reject("it is broken")
    made = context.invoke("github.repo.fetch", {"repo": event.payload["repo"]}, step="repository")
    return made.output["default_branch"]
"""


@contextmanager
def working(shell: Shell, *command: str) -> Generator[subprocess.Popen[str]]:
    """A worker beside the shell. It is told to end, and does so in good order."""
    with shell.start(*command) as process:
        try:
            assert process.stdout is not None
            assert "handler:incident" in process.stdout.readline() or command[0] == "serve"
            yield process
        finally:
            process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


def prepare(shell: Shell) -> None:
    (shell.folder / "incidents.py").write_text(HANDLERS)
    settings = shell.folder / "interlock.toml"
    settings.write_text(settings.read_text().replace("[policy]\n", '[app]\nmodules = ["incidents"]\n\n[policy]\n', 1))


def submit(shell: Shell) -> str:
    """What a program of the operator submits."""
    program = (
        "from interlock.sync import Interlock\n"
        "with Interlock.open() as il:\n"
        f"    print(il.dispatch.submit('incident', {{'repo': '{REPOSITORY}'}}).run_id)\n"
    )
    with shell.start("-c", program, program=Path(sys.executable)) as process:
        out, err = process.communicate()
    assert err == ""
    return out.strip()


def test_work_is_left_done_given_up_and_taken_up_again(shell: Shell):
    prepare(shell)
    call = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--later")
    assert call["state"] == "queued"
    later = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--at", "7d")
    run_id = submit(shell)
    assert [each["run_id"] for each in shell.good("dispatch", "list")["work"]] == [
        call["run_id"],
        run_id,
        later["run_id"],
    ]
    with working(shell, "worker"):
        assert shell.good("runs", "wait", call["run_id"])["output"]["full_name"] == REPOSITORY
        told = shell.run("runs", "wait", run_id, "--json")
        assert (told.code, told.error["code"]) == (1, "event_rejected")
        [letter] = shell.good("dispatch", "dead", "--handler", "incident", "--since", "1h")["work"]
        assert (letter["run_id"], letter["why"], letter["attempts"]) == (run_id, "event_rejected", 1)
        (shell.folder / "mended").touch()
        assert shell.good("runs", "replay", "--all", "--handler", "incident") == {"replayed": [run_id]}
        assert shell.good("runs", "wait", run_id)["output"] == "main"
    told = shell.good("dispatch", "show", run_id)
    assert (told["work"], told["compared"]["differences"]["state"]) == (None, ["failed", "completed"])
    shown = shell.run("dispatch", "show", run_id).out
    assert shown.startswith("completed handler.incident")
    assert "Attempt 1 and attempt 2" in shown
    assert shell.good("dispatch", "show", call["run_id"]) == {"work": None, "compared": None}
    assert "has no attempt 3" in shell.run("dispatch", "show", run_id, "--first", "3").err
    assert "PAUSED" not in shell.run("dispatch", "stats").out
    stats = shell.good("dispatch", "stats")["stats"]
    assert (stats["due"], stats["overdue"], stats["dead"]) == (1, 0, {})
    told = shell.run("runs", "wait", later["run_id"], "--timeout", "0")
    assert (told.code, told.out.split()[0]) == (1, "queued")


def test_a_server_works_too_unless_told_otherwise(shell: Shell):
    prepare(shell)
    (shell.folder / "mended").touch()
    run_id = submit(shell)
    with working(shell, "serve", "--bind", "127.0.0.1:0"):
        assert shell.good("runs", "wait", run_id)["output"] == "main"
        paused = shell.good("dispatch", "pause", "handler", "incident", "--reason", "maintenance")["pause"]
        assert (paused["scope"], paused["subject"]) == ("handler", "incident")
        submit(shell)
        patience = time.monotonic() + 60
        while "Parked: 1; `interlock dispatch list --standing parked`" not in shell.run("dispatch", "list").out:
            assert time.monotonic() < patience
            time.sleep(0.1)
    assert "maintenance" in shell.run("dispatch", "stats").out
    assert shell.good("dispatch", "resume", "handler", "incident") == {"released": 1}


def test_what_is_wrong_is_said(shell: Shell):
    run_id = shell.good("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--later")["run_id"]
    for arguments, said in {
        ("runs", "replay", run_id): "is queued, and no dead letter",
        ("runs", "replay"): "name one RUN, or choose --all",
        ("runs", "replay", run_id, "--all"): "name one RUN, or choose --all",
        ("dispatch", "dismiss", run_id, "--reason", " "): "needs a reason",
        ("dispatch", "show", "run_x"): "there is no run 'run_x'",
        ("dispatch", "list", "--standing", "ded"): "did you mean 'dead'?",
        ("dispatch", "list", "--cursor", "run_x"): "cursor",
        ("dispatch", "pause", "planet"): "scope must be one of",
        ("dispatch", "resume", "tenant"): "there is no pause",
        ("invoke", "github.repo.fetch", f"repo={REPOSITORY}", "--at", "soon"): "'soon' is no time",
    }.items():
        told = shell.run(*arguments)
        assert (told.code, said in told.err) == (2, True), (arguments, told)
    assert shell.good("dispatch", "show", run_id)["work"]["state"] == "queued"
    told = shell.run("worker", environment={"INTERLOCK_APP__MODULES": '["nowhere"]'})
    assert (told.code, "the module nowhere cannot be loaded" in told.err) == (2, True), told
