"""From the shell's arguments to an exit code."""

import io
import sys
from collections.abc import Sequence

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer with its exit code; `interlock --help` lists them."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    import typer

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
        return _misused(error, as_json="--json" in given)
    except typer.Abort:
        return 130
    return code if isinstance(code, int) else 0


def _misused(error: Exception, *, as_json: bool) -> int:
    from interlock.cli.complaint import complain
    from interlock.cli.errors import Usage

    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "interlock"
    message = str(getattr(error, "format_message", lambda: error)())
    complain(Usage(message, next_step=f"`{path} --help` shows how it is used."), as_json=as_json)
    return _USAGE
