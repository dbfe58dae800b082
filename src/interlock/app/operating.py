"""What the operator's own program, the installed connectors and this installation offer to agents."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from interlock.app import provided
from interlock.app.settings import Settings
from interlock.app.tooling import Toolboxes

if TYPE_CHECKING:
    from interlock import agents, catalog
    from interlock.app.assembly import Parts


def collect_operations(
    settings: Settings,
    parts: "Parts | None" = None,
    *,
    operations: Iterable[Callable[..., Any]] = (),
    controls: Iterable[Callable[..., Any]] = (),
) -> "agents.Registry":
    """What agents' specs may name: the operations and controls that are given and those of the modules that the settings name,
    the capabilities of connectors, the agent's own memory, and the tools of MCP servers. Without `parts`, those of an open
    Interlock, what needs them is described and not done. Raises ModuleNotLoaded, InvalidSpec."""
    from interlock import agents
    from interlock.adapters import handlers

    @cache
    def known() -> "catalog.Catalog":
        return provided.read_catalog(settings)[1] if parts is None else parts.wiring.catalog

    sources: list[agents.OperationSource] = [
        agents.Capabilities(known, _asking(parts)),
        agents.Remembering(None if parts is None else parts.memories.at),
        agents.McpTools(_servers(settings, parts), None if parts is None else parts.wiring.policy),
    ]
    modules = handlers.load_modules(settings.app.modules, folder=settings.folder)
    return agents.Registry(operations, controls=controls, modules=modules, sources=sources)


def _servers(settings: Settings, parts: "Parts | None") -> Toolboxes:
    return Toolboxes(settings, () if parts is None else (parts.evidence,))


def _asking(parts: "Parts | None") -> "agents.Asking | None":
    from interlock import agents

    if parts is None:
        return None
    doors = parts.wiring.actions.doors
    assert doors is not None
    return agents.Asking(doors=doors, reading=parts.reading)
