"""How the command behaves towards shells, pipes, terminals and the store, whatever it is asked."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fix_cli import COMMAND, REPOSITORY, Shell

READS = (
    ("doctor",),
    ("runs", "list"),
    ("runs", "show", "RUN"),
    ("runs", "events", "RUN"),
    ("approvals", "list", "--all"),
    ("approvals", "show", "APPROVAL"),
    ("connections", "list"),
    ("connections", "show", "github"),
    ("connections", "events", "github"),
    ("capabilities", "list"),
    ("review", "export", "RUN", "-o", "packet.json"),
    ("review", "trust", "-o", "trust.json"),
)


def content(shell: Shell) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(shell.store)) as session:
        tables = [name for (name,) in session.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: session.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(tables)}


def test_commands_that_read_write_nothing(shell: Shell):
    run_id, approval_id = shell.hold("still")
    before = content(shell)
    assert before["owners"] == []
    for command in READS:
        words = {"RUN": run_id, "APPROVAL": approval_id}
        shell.good(*(words.get(word, word) for word in command))
    assert content(shell) == before


def test_shared_options_stand_before_and_after(shell: Shell):
    connection_id = shell.good("connections", "list")["connections"][0]["connection_id"]
    for arguments in (
        ("--json", "connections", "list"),
        ("connections", "--json", "list"),
        ("connections", "list", "--json"),
    ):
        told = shell.run(*arguments)
        assert json.loads(told.out)["connections"][0]["connection_id"] == connection_id
    nearer = shell.run("--tenant", "other", "connections", "list", "--tenant", "default", "--json")
    assert len(nearer.json["connections"]) == 1
    assert shell.run("--tenant", "other", "connections", "list", "--json").json["connections"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("runns",), "Did you mean 'runs'?"),
        (("runs", "shw"), "Did you mean 'show'?"),
        (("runs", "show"), "Missing argument 'RUN'"),
        (("runs", "list", "--limit", "many"), "should be a valid integer"),
        (("runs", "list", "--state", "hled"), "did you mean"),
        (("capabilities", "list", "--effect", "reed"), "did you mean 'read'?"),
    ],
)
def test_a_command_line_that_is_wrong_is_explained(bare_shell: Shell, arguments: tuple[str, ...], said: str):
    told = bare_shell.run(*arguments)
    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert "next: " in told.err
    document = bare_shell.run(*arguments, "--json")
    assert (document.code, document.error["code"], document.err) == (2, "usage", "")


def test_help_teaches(bare_shell: Shell):
    told = bare_shell.run("--help")
    assert told.code == 0
    for line in ("0  done", "4  held", "5  unknown outcome", "6  not verified", "7  store"):
        assert line in told.out
    assert bare_shell.run().out == bare_shell.run("-h").out == told.out
    assert bare_shell.run("runs", "list", "-h").out == bare_shell.run("runs", "list", "--help").out
    assert "Commands:" in bare_shell.run("runs").out


@pytest.mark.parametrize("line", [("--version", "--json"), ("--json", "--version")])
def test_the_version_is_told_to_programs_too(bare_shell: Shell, line: tuple[str, ...]):
    told = bare_shell.run(*line)
    assert bare_shell.run("--version").out == f"interlock {told.json['version']}\n"


def commands() -> list[tuple[str, ...]]:
    import typer

    from interlock.cli.tree import tree

    def within(group: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner: dict[str, object] | None = getattr(group, "commands", None)
        if inner is None:
            return [path]
        return [found for name, each in inner.items() for found in within(each, (*path, name))]

    return within(typer.main.get_command(tree()), ())


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_explains_itself_with_an_example(bare_shell: Shell, command: tuple[str, ...]):
    told = bare_shell.run(*command, "--help")
    assert told.code == 0
    assert re.search(rf"Example:\s+interlock {' '.join(command)}\b", told.out)
    assert "--json" in told.out


LOADED = """
import sys
import interlock.cli
interlock.cli.main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (
            ("capabilities", "show", "github.issue.create"),
            {"sqlalchemy", "alembic", "cryptography", "httpx2", "obstore"},
        ),
        (
            ("runs", "list"),
            {"interlock.connectors.github", "httpx2", "interlock.adapters.lanes", "jsonschema_rs", "interlock.agents"},
        ),
    ],
    ids=["capabilities", "runs"],
)
def test_a_command_loads_only_what_it_needs(shell: Shell, arguments: tuple[str, ...], unneeded: set[str]):
    process = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not unneeded & set(process.stderr.split())


def test_the_real_command_answers_as_the_one_inside_does(shell: Shell):
    for arguments in (("connections", "list"), ("runs", "show", "run_none")):
        assert shell.spawn(*arguments) == shell.run(*arguments)
    as_module = subprocess.run(
        [sys.executable, "-m", "interlock", "--version"], capture_output=True, text=True, check=True
    )
    assert as_module.stdout == shell.run("--version").out


def test_a_pipe_gets_plain_lines(shell: Shell):
    title = "a long title " * 20
    run_id, _ = shell.hold(title)
    told = shell.run("runs", "list")
    assert [len(line.split("  ")) > 3 for line in told.out.splitlines()] == [True, True]
    assert "\x1b" not in told.out
    assert "asks for github.issue.create" in shell.run("runs", "show", run_id).out


def test_a_terminal_gets_colour_and_no_control_characters(shell: Shell):
    shell.write_settings('[policy]\n[[policy.rules]]\nid = "free"\nthen = "allow"\nreason = "all is well"\n')
    shell.service.add_issues("acme/rocket", 1, title="evil \u202e\u009b31m")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(COMMAND), "invoke", "github.issue.list", f"repo={REPOSITORY}"],
        cwd=shell.folder, env={**shell.environment, "TERM": "xterm-256color"}, stdout=theirs, stdin=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the terminal is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert "\x1b[" in text  # rich's own colours
    assert "\\u202e\ufffd31m 1" in text  # a control of the service is gone with the projection
    assert "\u202e" not in text
    assert "\x9b" not in text


def test_a_closed_pipe_is_no_error_to_talk_about(shell: Shell, warm: Path):
    asked = {("connections", "list"): COMMAND, ("capabilities", "list", "--json"): warm / "interlock"}
    for arguments, program in asked.items():
        process = shell.start(*arguments, program=program)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        process.communicate()
        assert (said, process.returncode) == ("", 141)


@pytest.mark.parametrize(
    ("real", "line", "code", "said"),
    [
        (True, "connections list > /dev/full", 1, "error: the answer could not be written: No space left on device\n"),
        (False, "connections list --json > /dev/full", 1, "error: the answer could not be written: No space left on"),
        (False, "runs show run_x --json > /dev/full", 2, "error: there is no run 'run_x' in tenant 'default'\n"),
        (False, "rums --json > /dev/full", 2, "error: No such command 'rums'."),
        (False, "--help > /dev/full", 1, "error: the answer could not be written"),
        (True, "runs show run_x 2> /dev/full", 2, ""),
        (True, "connections list >&-", 0, ""),
        (True, "runs show run_x 2>&-", 2, ""),
        (True, "connections list <&- >&- 2>&-", 0, ""),
        (False, "runs show run_x 2>&1 | true; exit ${PIPESTATUS[0]}", 2, ""),
    ],
)
@pytest.mark.faults
def test_an_output_that_takes_nothing_is_told_where_it_can_be(
    shell: Shell, warm: Path, *, real: bool, line: str, code: int, said: str
):
    """By the real command where its last breath matters: what is still to be written when the interpreter ends."""
    program = COMMAND if real else warm / "interlock"
    process = subprocess.run(
        ["bash", "-c", f"{program} {line}"], cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert process.returncode == code, process.stderr
    assert process.stderr.startswith(said)
    assert "Traceback" not in process.stderr
    assert "Exception ignored" not in process.stderr


def test_an_interrupt_leaves_a_record_and_no_traceback(shell: Shell):
    shell.write_settings('[policy]\n[[policy.rules]]\nid = "free"\nthen = "allow"\n')
    shell.service.fault("hold", match="repos/get")
    with shell.start("invoke", "github.repo.fetch", f"repo={REPOSITORY}") as process:
        shell.service.wait_held()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    shell.service.release()
    assert process.returncode == 130
    assert err.startswith("error: interrupted\n")
    assert "Traceback" not in err
    assert len(shell.good("runs", "list")["runs"]) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.faults
def test_an_interrupted_call_is_told_by_its_run(shell: Shell, number: signal.Signals):
    shell.write_settings('[policy]\n[[policy.rules]]\nid = "free"\nthen = "allow"\n')
    shell.service.fault("hold", match="issues/create")
    with shell.start("invoke", "github.issue.create", f"repo={REPOSITORY}", "title=x", "--json") as process:
        shell.service.wait_held()
        process.send_signal(number)
        out, _ = process.communicate()
    shell.service.release()
    [run] = shell.good("runs", "list")["runs"]
    error = json.loads(out)["error"]
    assert (process.returncode, error["code"], error["run_id"]) == (128 + number, "interrupted", run["run_id"])
    assert f"interlock runs show {run['run_id']}" in error["next_step"]


def test_an_interrupt_before_any_run_names_none(shell: Shell):
    shell.service.fault("hold", match="users/get-authenticated")
    with shell.start("connect", "github", "--token-env", "TOKEN", "--base-url", shell.service.url, "--json") as process:
        shell.service.wait_held()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    shell.service.release()
    assert json.loads(out)["error"]["run_id"] is None


def test_a_traceback_is_there_for_who_asks(shell: Shell, warm: Path):
    told = shell.run("runs", "show", "run_none", "-v")
    assert "code: run_not_found" in told.err
    debug = {"INTERLOCK_DEBUG": "1"}
    process = shell.start("runs", "show", "run_none", program=warm / "interlock", environment=debug)
    _, err = process.communicate()
    assert "Traceback" in err


def test_shells_can_complete(bare_shell: Shell):
    completing = {"_INTERLOCK_COMPLETE": "complete_bash", "COMP_WORDS": "interlock ru", "COMP_CWORD": "1"}
    process = bare_shell.start(environment=completing)
    out, _ = process.communicate()
    assert "runs" in out.split()
