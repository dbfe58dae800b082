"""What connectors of other packages do to the command line: they print, and they are broken."""

import json
from functools import partial
from pathlib import Path

import pytest

from fix_cli import COMMAND, Shell, Told, checked

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
    """A folder for PYTHONPATH, for `install`."""
    return tmp_path / "site"


def install(site: Path, name: str, module: str) -> None:
    """Put a connector there as if its package were installed."""
    facts = site / f"{name}-1.0.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
    (facts / "entry_points.txt").write_text(f"[interlock.connectors]\n{name} = {name}:connector\n")
    (site / f"{name}.py").write_text(module)


def run(shell: Shell, program: Path, site: Path, *arguments: str) -> Told:
    with shell.start(*arguments, program=program, environment={"PYTHONPATH": str(site)}) as process:
        out, err = process.communicate()
    return checked(Told(process.returncode, out, err), arguments)


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.faults)], ids=["warm", "real"])
def test_what_a_connector_prints_goes_to_stderr(bare_shell: Shell, warm: Path, site: Path, *, real: bool):
    bare_shell.good("init")
    install(site, "chatter", CHATTER)
    ask = partial(run, bare_shell, COMMAND if real else warm / "interlock", site)
    told = ask("invoke", "chatter.word.say", "word=hello", "--json")
    assert (told.code, told.json["output"]) == (0, {"said": "hello"})
    assert sorted(line for line in told.err.splitlines() if line in SAID) == sorted(SAID)
    assert ask("invoke", "chatter.word.say", "word=hello").out.startswith("completed chatter.word.say")
    assert "chatter is imported" not in ask("capabilities", "list", "--connector", "chatter").out
    followed = ask("runs", "events", told.json["run_id"], "--follow", "--json").out.splitlines()
    assert json.loads(followed[0])["type"] == "run.accepted"


INVALID = """\
from interlock import sdk

connector = sdk.Connector(
    "invalid", version="one", description="", base_url="nowhere", auth=[sdk.no_auth()], operations=[]
)
"""


def test_a_broken_connector_is_told_as_broken_wherever_it_is_asked_for(bare_shell: Shell, warm: Path, site: Path):
    bare_shell.good("init")
    install(site, "absent", "import no_such_module")
    install(site, "invalid", INVALID)
    ask = partial(run, bare_shell, warm / "interlock", site)
    for name, why in (("absent", "No module named 'no_such_module'"), ("invalid", "version")):
        for arguments in (
            ("invoke", f"{name}.thing.fetch"),
            ("connectors", "show", name),
            ("capabilities", "show", f"{name}.thing.fetch"),
            ("capabilities", "list", "--connector", name),
            ("connect", name, "--token-env", "TOKEN"),
        ):
            told = ask(*arguments, "--json")
            assert (told.code, told.error["code"]) == (2, "connector_broken"), told.out
            assert f"the connector '{name}' of {name} is installed and broken" in told.error["message"]
            assert why in told.error["message"]
    listed = ask("connectors", "list")
    assert (listed.code, "\\n" in listed.out) == (0, False)
    assert "broken: absent (absent) ModuleNotFoundError: No module named 'no_such_module'" in listed.out


def test_what_cannot_be_told_apart_or_read_stops_nothing_else(shell: Shell, warm: Path, site: Path):
    """In an incident everybody can look, and revoke."""
    install(site, "github", CHATTER)
    with (shell.folder / "interlock.toml").open("a") as settings:
        settings.write('\n[connectors]\nmanifests = ["gone.yaml"]\n')
    ask = partial(run, shell, warm / "interlock", site)
    for arguments in (("runs", "list"), ("connections", "list"), ("approvals", "list"), ("capabilities", "list")):
        assert ask(*arguments).code == 0
    told = ask("invoke", "github.repo.fetch", "repo=acme/rocket", "--json")
    assert (told.code, told.error["code"]) == (2, "duplicate_connector")
    assert "'github': from github and from interlock" in told.error["message"]
    told = ask("invoke", "other.thing.fetch", "--json")
    assert (told.code, told.error["code"]) == (2, "connector_broken")
    assert "gone.yaml" in told.error["message"]
    told = ask("connections", "revoke", "github", "--reason", "stolen")
    assert (told.code, told.out.startswith("revoked github")) == (0, True)
    assert "warning: " in told.err
    assert "gone.yaml" in told.err
    listed = ask("connectors", "list")
    assert listed.out.count("broken: ") == 2
    told = ask("doctor")
    assert told.code == 2
    assert "gone.yaml" in told.out
    assert "`interlock doctor`" not in told.out


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
