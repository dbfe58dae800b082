"""What a connector prints is nobody's answer: stdout is the command's alone."""

import json
from pathlib import Path

import pytest

from fix_cli import Shell, Told, checked

CHATTER = """\
import os
import subprocess

from interlock import sdk

print("chatter is imported")


async def say(value, http):
    print("a handler prints")
    os.write(1, b"a handler writes to the descriptor\\n")
    subprocess.run(["echo", "a program of the handler prints"], check=True)
    return {"said": value["word"]}


connector = sdk.Connector(
    "chatter",
    version="1.0.0",
    description="Prints whatever it does.",
    base_url="https://chatter.example",
    auth=[sdk.no_auth()],
    operations=[
        sdk.handler(
            "word.say",
            say,
            effect="read",
            input={"type": "object", "properties": {"word": {"type": "string"}}, "additionalProperties": False},
            output={"type": "object", "properties": {"said": {"type": "string"}}},
        )
    ],
)
"""
SAID = (
    "chatter is imported",
    "a handler prints",
    "a handler writes to the descriptor",
    "a program of the handler prints",
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with the connector as if it were installed."""
    facts = tmp_path / "site" / "chatter-1.0.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: chatter\nVersion: 1.0.0\n")
    (facts / "entry_points.txt").write_text("[interlock.connectors]\nchatter = chatter:connector\n")
    (facts.parent / "chatter.py").write_text(CHATTER)
    return facts.parent


@pytest.mark.parametrize("real", [False, True], ids=["warm", "real"])
def test_what_a_connector_prints_goes_to_stderr(bare_shell: Shell, warm: Path, site: Path, real: bool):
    bare_shell.good("init")

    def run(*arguments: str) -> Told:
        program = {} if real else {"program": warm / "interlock"}
        with bare_shell.start(*arguments, environment={"PYTHONPATH": str(site)}, **program) as process:
            out, err = process.communicate()
        return checked(Told(process.returncode, out, err), arguments)

    told = run("invoke", "chatter.word.say", "word=hello", "--json")
    assert (told.code, told.json["output"]) == (0, {"said": "hello"})
    assert sorted(line for line in told.err.splitlines() if line in SAID) == sorted(SAID)
    assert run("invoke", "chatter.word.say", "word=hello").out.startswith("completed chatter.word.say")
    assert "chatter is imported" not in run("capabilities", "list", "--connector", "chatter").out
    shown = run("runs", "events", told.json["run_id"], "--follow", "--json")
    assert [json.loads(line)["run_id"] for line in shown.out.splitlines()] == [told.json["run_id"]] * len(
        shown.out.splitlines()
    )


def test_stdout_is_the_programs_own_again_once_a_command_has_ended(
    bare_shell: Shell, capfd: pytest.CaptureFixture[str]
):
    """A program may call the command line, and goes on printing."""
    from interlock import cli

    assert cli.main(["capabilities", "list", "--json"]) == 0
    print("afterwards")
    out, err = capfd.readouterr()
    assert json.loads(out.removesuffix("afterwards\n"))["capabilities"]
    assert err == ""
