"""Specs of agents that commands are given."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock import agents
    from interlock.cli.desk import Desk


def read(
    desk: "Desk", file: str, *, complete: bool = False, registry: "agents.Registry | None" = None
) -> "agents.Spec":
    """The spec in a file (`-`: stdin). Raises InvalidSpec, FileRefused."""
    from interlock import agents, app
    from interlock.cli import files

    content = files.read(file, "spec", limit=agents.LIMITS.max_bytes)
    source = "stdin" if file == "-" else file
    known = registry or app.collect_operations(desk.settings())
    return agents.read_spec(content, source=source, registry=known, complete=complete)
