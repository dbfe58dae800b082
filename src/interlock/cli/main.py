"""From the shell's arguments to an exit code."""

import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer with its exit code; `interlock --help` lists them."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    import typer

    from interlock.cli.frame import misused
    from interlock.cli.tree import tree

    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot show is written as its code, and does not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = typer.main.get_command(tree()).main(
            args=given or ["--help"], prog_name="interlock", standalone_mode=False
        )
    except typer.TyperException as error:
        return misused(error, as_json="--json" in given)
    except typer.Abort:
        return 130
    return code if isinstance(code, int) else 0
