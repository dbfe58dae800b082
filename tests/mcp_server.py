"""A server written with the `mcp` library, run as a child process by the tests."""

import os
import sys

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("tests")


@server.tool()
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@server.tool()
def environment() -> list[str]:
    """The names of the variables that this process was given."""
    print("asked for the environment", file=sys.stderr)
    return sorted(os.environ)


@server.tool()
async def count(ctx: Context, to: int) -> str:
    """Tells its progress."""
    for step in range(to):
        await ctx.report_progress(step + 1, to)
    return "done"


@server.tool()
def die() -> None:
    """Ends this process in the middle of a call."""
    os._exit(3)


server.run("stdio")
