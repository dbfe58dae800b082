"""What takes agents' turns in one open Interlock, put together when it is first needed."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interlock.app.conversations import furnish
from interlock.app.installed_agents import InstalledAgents
from interlock.app.operating import collect_operations

if TYPE_CHECKING:
    from interlock import agents
    from interlock.app.assembly import Parts


class Holder:
    """The harness, and what the program offers to agents besides the modules of its settings."""

    def __init__(self, parts: "Parts") -> None:
        self._parts = parts
        self._operations: list[Callable[..., Any]] = []
        self._controls: list[Callable[..., Any]] = []
        self._harness: agents.harness.Harness | None = None
        self.installed = InstalledAgents(parts.settings, lambda: self.harness.means.registry)
        """The agents that the settings name."""

    def offer(self, operations: Iterable[Callable[..., Any]], controls: Iterable[Callable[..., Any]]) -> None:
        """Functions that specs may name from now on. Raises InvalidSpec if a name has two, and ModuleNotLoaded."""
        more, checks = [*self._operations, *operations], [*self._controls, *controls]
        registry = self._registry(more, checks)
        self._operations, self._controls = more, checks
        harness = self.harness
        harness.means = replace(
            harness.means, registry=registry, judging=replace(harness.means.judging, registry=registry)
        )

    def _registry(
        self, operations: Iterable[Callable[..., Any]], controls: Iterable[Callable[..., Any]]
    ) -> "agents.Registry":
        parts = self._parts
        return collect_operations(
            parts.settings, parts, operations=operations, controls=controls, harness=lambda: self.harness
        )

    @property
    def harness(self) -> "agents.harness.Harness":
        """What takes turns. Raises ModuleNotLoaded, InvalidSpec."""
        if self._harness is None:
            from interlock import agents

            parts = self._parts
            registry = self._registry(self._operations, self._controls)
            means = agents.harness.Means(
                wiring=parts.wiring,
                tasks=parts.workshop.tasks,
                reading=parts.reading,
                inference=parts.inference,
                registry=registry,
                judging=agents.Judging(registry=registry),
                sessions=furnish(parts.wiring),
            )
            self._harness = agents.harness.Harness(means, parts.workshop.docket)
        return self._harness

    async def watch(self, *, every: float) -> None:
        """Hear for ever of turns of this process that somebody wants stopped; there is nothing to hear before the first."""
        while self._harness is None:
            await self._parts.wiring.clock.sleep(every)
        await self._harness.stopping.watch()
