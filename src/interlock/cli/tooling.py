"""`interlock mcp`: servers whose tools agents may use."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command, group
from interlock.cli.text import seen

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    servers = group(tree, "mcp", "MCP servers, whose tools agents may use.")
    command(servers, "tools")(tools)


async def tools(
    desk: "Desk",
    name: Annotated[str, typer.Argument(metavar="SERVER", help="The server's name in the settings.")],
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write them down there.")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer":
    """Ask an MCP server what it offers.

    Specs are made of what was written down, and a tool that has become another since is not called. Read it before: what is
    `read_only`, `idempotent` or `destructive` is the server's own word.

    Example:
      interlock mcp tools calculator -o calculator.tools.json
    """
    from interlock import app
    from interlock.cli import files
    from interlock.cli.desk import Answer

    settings = desk.settings()
    known = settings.mcp.get(name)
    if known is not None and known.connection is not None:
        async with desk.open_here() as il:
            found = await il.agents.mcp_tools(name)
    else:  # which needs no store
        servers = app.Toolboxes(settings)
        async with servers.open(name, caller=settings.caller, run_id="run_tools", seconds=60) as session:
            found = await session.list_tools()
    document: dict[str, JSON] = app.written_tools(name, found)
    if output is not None:
        text = seen(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True)) + "\n"
        files.write(output, text.encode(), "list of tools", force=force)

    def show(paper: "Paper") -> None:
        if output is not None and output != "-":
            paper.line(f"{output}: {len(found)} tools of {name}")
            return
        rows = [(each.name, each.idempotency.value, each.description.partition("\n")[0]) for each in found]
        paper.table(("tool", "a second time", "description"), rows)

    return Answer(document=document, show=show)
