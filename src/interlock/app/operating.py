"""What the operator's own program offers to agents."""

from typing import TYPE_CHECKING

from interlock.app.settings import Settings

if TYPE_CHECKING:
    from interlock import agents


def collect_operations(settings: Settings) -> "agents.Registry":
    """What agents' specs may name: the operations and controls of the modules that the settings name. Raises ModuleNotLoaded,
    InvalidSpec."""
    from interlock import agents
    from interlock.adapters import handlers

    return agents.Registry(modules=handlers.load_modules(settings.app.modules, folder=settings.folder))
