"""From the shell's arguments to an exit code."""

import io
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.cli.frame import Group


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer with its exit code; `interlock --help` lists them."""
    _open_closed()
    given = list(sys.argv[1:] if arguments is None else arguments)
    import typer

    from interlock.cli.frame import misused, unwritten

    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot show is written as its code, and does not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _group().main(args=given or ["--help"], prog_name="interlock", standalone_mode=False)
    except typer.TyperException as error:
        return misused(error, as_json="--json" in given, on_a_line="--stream" in given)
    except typer.Abort:
        return 130
    except OSError as error:  # of help; commands end their own
        return unwritten(error)
    return code if isinstance(code, int) else 0


@cache
def _group() -> "Group":
    """All commands. To put them together takes longer than to run most of them."""
    import typer

    from interlock.cli.frame import Group
    from interlock.cli.tree import tree

    group = typer.main.get_command(tree())
    assert isinstance(group, Group)
    return group


def _open_closed() -> None:
    """A stream that the shell closed leads nowhere, so that its number is not given to a file of ours."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for as long as the process lives
