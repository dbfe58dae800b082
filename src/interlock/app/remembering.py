"""Agents' memory, as the settings say."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from interlock.app.settings import Settings

if TYPE_CHECKING:
    from interlock import memory

_FILE: Final = ".interlock/memory.db"


def memory_reference(settings: Settings) -> "memory.ProviderRef":
    """The provider of memory that the settings name. `sqlite` keeps a file of its own, by default `.interlock/memory.db`; a
    relative path starts at the settings' folder."""
    from interlock import memory

    told = settings.memory
    config: Mapping[str, Any] = told.config
    if told.provider == "sqlite" and isinstance(path := config.get("path", _FILE), str):
        is_relative = path and not path.startswith("~")
        config = {**config, "path": str(settings.folder / path) if is_relative else path}
    return memory.ProviderRef(name=told.provider, config=config, options=memory.Options(timeout=told.timeout))
