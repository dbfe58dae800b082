"""What the operator's own program, the installed connectors and this installation offer to agents."""

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from interlock import sdk
from interlock.app import provided
from interlock.app.settings import Settings
from interlock.app.tooling import Toolboxes
from interlock.kernel import read_written

if TYPE_CHECKING:
    from interlock import agents, catalog
    from interlock.app.assembly import Parts


def collect_operations(
    settings: Settings,
    parts: "Parts | None" = None,
    *,
    operations: Iterable[Callable[..., Any]] = (),
    controls: Iterable[Callable[..., Any]] = (),
    harness: "Callable[[], agents.harness.Harness] | None" = None,
) -> "agents.Registry":
    """What agents' specs may name: the operations and controls that are given and those of the modules that the settings name,
    the capabilities of connectors, the agent's own memory, other agents, workflows, the tools of MCP servers, and what sources
    of the modules offer. Without `parts`, those of an open Interlock, and the `harness`, what needs them is described and not
    done. Raises ModuleNotLoaded, InvalidSpec."""
    from interlock import agents
    from interlock.adapters import handlers

    @cache
    def known() -> "catalog.Catalog":
        return provided.read_catalog(settings)[1] if parts is None else parts.wiring.catalog

    def load(name: str) -> "agents.Spec":
        path = settings.folder / settings.app.agents[name]
        return agents.read_spec(provided.read_text(path, "spec"), source=str(path), registry=registry)

    def find_source(kind: str) -> "agents.OperationSource | None":
        return registry.find_source(kind)

    workflows = agents.Workflows(settings.app.workflows, partial(_read_workflow, settings), find_source)
    sources: list[agents.OperationSource] = [
        agents.Capabilities(known, _asking(parts)),
        agents.Remembering(None if parts is None else parts.memories.at),
        agents.Subagents(settings.app.agents, load, harness, workflows.within),
        workflows,
        agents.McpTools(_servers(settings, parts), None if parts is None else parts.wiring.policy),
    ]
    modules = handlers.load_modules(settings.app.modules, folder=settings.folder)
    registry: agents.Registry = agents.Registry(operations, controls=controls, modules=modules, sources=sources)
    return registry


def _read_workflow(settings: Settings, name: str) -> "agents.Workflow":
    """Raises FileUnreadable, InvalidOptions."""
    from interlock import agents

    path = settings.folder / settings.app.workflows[name]
    try:
        raw = read_written(provided.read_text(path, "workflow"), limits=agents.LIMITS, what="workflow").value
    except ValueError as error:
        raise agents.InvalidOptions(f"{path}: {error}") from error
    problems: list[sdk.Problem] = []
    given = {"contract": "interlock.workflow/v1", **cast("dict[str, Any]", raw)} if isinstance(raw, dict) else raw
    found = sdk.read_part(agents.Workflow, given, "", problems)
    if found is None:
        raise agents.InvalidOptions(f"{path} is no workflow: {'; '.join(map(str, problems[:20]))}")
    return found


def _servers(settings: Settings, parts: "Parts | None") -> Toolboxes:
    return Toolboxes(settings) if parts is None else Toolboxes(settings, (parts.evidence,), parts.leases)


def _asking(parts: "Parts | None") -> "agents.Asking | None":
    from interlock import agents

    if parts is None:
        return None
    doors = parts.wiring.actions.doors
    assert doors is not None
    return agents.Asking(doors=doors, reading=parts.reading)
