"""The command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.demo.telling import FOLDER, serve, tell
from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk


def register(tree: typer.Typer) -> None:
    """Add `interlock demo`."""
    command(tree, "demo")(demo)


def demo(
    desk: "Desk",
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the demo's store goes.")] = Path(FOLDER),
    *,
    service_only: Annotated[bool, typer.Option("--serve", help="Only run the GitHub-shaped service.")] = False,
) -> "Answer | None":
    """See everything once, on this machine: about ten seconds, no account needed.

    A GitHub-shaped service is started on loopback and an agent asks for effects on it: allowed, denied, approved, cut off,
    killed half-way, and proven afterwards. The store stays in .interlock-demo, to look around in; your own settings and
    store are not touched. A later run begins afresh.

    Example: interlock demo
    """
    paper = None if desk.options.as_json else desk.paper()
    return serve(folder=folder, paper=paper) if service_only else tell(folder=folder, paper=paper)
