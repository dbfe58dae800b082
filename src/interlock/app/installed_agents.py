"""The agents that the settings name."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from interlock.app import provided
from interlock.app.settings import Settings
from interlock.kernel import no_such

if TYPE_CHECKING:  # and late in the functions: whoever asks no agent needs none of it
    from interlock import agents


class InstalledAgents:
    """The specs of `[app.agents]`, by the names under which others ask them. A file that has changed is read anew."""

    def __init__(self, settings: Settings, registry: "Callable[[], agents.Registry]") -> None:
        self._settings = settings
        self._registry = registry
        self._read: dict[str, tuple[str, agents.Registry, agents.Spec]] = {}

    def names(self) -> Sequence[str]:
        """Of all of them."""
        return sorted(self._settings.app.agents)

    def fetch(self, name: str) -> "agents.Spec":
        """The spec of that name. Raises AgentNotFound, and FileUnreadable, InvalidSpec, ModuleNotLoaded for what its owner has
        to mend."""
        from interlock import agents

        if (address := self._settings.app.agents.get(name)) is None:
            raise agents.AgentNotFound(no_such("installed agent", name, self.names()))
        path = self._settings.folder / address
        text, registry = provided.read_text(path, "spec"), self._registry()
        known = self._read.get(name)
        if known is None or known[0] != text or known[1] is not registry:
            spec = agents.read_spec(text, source=str(path), registry=registry, complete=True)
            known = self._read[name] = text, registry, spec
        return known[2]
