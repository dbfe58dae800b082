"""How functions become commands."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import pytest
import typer
import typer.core

from interlock.cli import desk as desks
from interlock.cli import frame
from interlock.cli import tree as commands
from interlock.kernel import PROGRESS, StoreError


def run(arguments: Sequence[str], *more: str) -> int:
    tree = typer.Typer(rich_markup_mode=None)
    frame.share(tree, "About.")
    inner = frame.group(tree, "inner", "Inner.")

    def show(
        desk: desks.Desk,
        word: Annotated[str, typer.Argument()],
        *,
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> desks.Answer:
        """Show.

        Example:
          inner show x
        """
        if word == "waits":
            logging.getLogger(PROGRESS).info("github.issue.create: not there\x1b yet")
        if word == "warns":
            logging.getLogger("interlock.app").warning("it is left out:\n  a\x1b\n  b")
        if word == "breaks":
            raise StoreError("no disk")
        if word.startswith("stops"):
            desk.leaves = "Go on there." if word == "stops half-way" else None
            raise KeyboardInterrupt
        if word == "surprises":
            raise ExceptionGroup("several", [ValueError("a \x1b")])
        seen = {"word": word, "loud": loud, "tenant": desk.options.tenant, "store": desk.flags.get("store")}
        return desks.Answer(document=seen, show=lambda paper: paper.line(repr(seen)), exit_code=3 if loud else 0)

    async def wait(desk: desks.Desk) -> None:
        """Wait."""
        assert desk.options.verbose

    frame.command(inner, "show")(show)
    frame.command(inner, "wait")(wait)
    return typer.main.get_command(tree).main([*arguments], prog_name="x", standalone_mode=False)


def test_own_and_shared_options(capsys: pytest.CaptureFixture[str]):
    assert run(["--tenant", "a", "inner", "--tenant", "b", "show", "w", "--loud"]) == 3
    assert capsys.readouterr().out == "{'word': 'w', 'loud': True, 'tenant': 'b', 'store': None}\n"
    assert run(["--json", "inner", "show", "w", "--store", "x.db"]) == 0
    assert f'"store": "{os.getcwd()}/x.db"' in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_what_is_waited_for_is_told_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    run(["inner", "show", "waits", *arguments])
    quiet = capsys.readouterr()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(["inner", "show", "waits", *arguments])
    told = capsys.readouterr()
    assert (quiet.err, told.err) == ("", "waiting: github.issue.create: not there\\x1b yet\n")
    assert told.out == quiet.out != ""


def test_a_warning_of_several_lines_is_told_on_lines_that_no_other_line_is_taken_for(
    capsys: pytest.CaptureFixture[str],
):
    run(["inner", "show", "warns"])
    assert capsys.readouterr().err == "warning: it is left out:\n    a\\x1b\n    b\n"


@pytest.mark.parametrize("store", [":memory:", "sqlite:///x.db", "postgresql://host/db"])
def test_only_paths_are_anchored(capsys: pytest.CaptureFixture[str], store: str):
    run(["inner", "show", "w", "--store", store])
    assert f"'store': '{store}'" in capsys.readouterr().out


def test_async_commands_and_no_answer(capsys: pytest.CaptureFixture[str]):
    assert run(["-v", "inner", "wait"]) == 0
    assert capsys.readouterr().out == ""


def test_errors_end_here(capsys: pytest.CaptureFixture[str]):
    assert run(["inner", "show", "breaks"]) == 7
    assert capsys.readouterr().err == "error: no disk\nnext: Run `interlock doctor`.\n"
    assert run(["inner", "show", "surprises"]) == 1
    assert capsys.readouterr().err.startswith("error: ValueError: a \\x1b\n")


@pytest.mark.parametrize(
    ("word", "step"), [("stops", "What the command had begun was ended with it."), ("stops half-way", "Go on there.")]
)
def test_an_interrupt_says_what_is_left(capsys: pytest.CaptureFixture[str], word: str, step: str):
    assert run(["inner", "show", word]) == 130
    assert capsys.readouterr().err == f"error: interrupted\nnext: {step}\n"


def test_help_keeps_the_lines_of_an_example(capsys: pytest.CaptureFixture[str]):
    run(["inner", "show", "--help"])
    assert "  Example:\n    inner show x\n" in capsys.readouterr().out
    run(["inner"])
    assert "Inner." in capsys.readouterr().out


def test_no_list_of_commands_cuts_a_sentence_off(capsys: pytest.CaptureFixture[str]):
    """An ellipsis stands only where a command line goes on."""

    def groups(under: tuple[str, ...], command: typer.core.TyperGroup) -> None:
        tree.main([*under, "--help"], prog_name="x", standalone_mode=False)
        told = capsys.readouterr().out
        _, _, listed = told.partition("Commands:\n")
        assert listed.partition("\n\n")[0].count("...") == 0, told
        for name, each in command.commands.items():
            if isinstance(each, typer.core.TyperGroup):
                groups((*under, name), each)

    tree = typer.main.get_command(commands.tree())
    assert isinstance(tree, typer.core.TyperGroup)
    groups((), tree)
