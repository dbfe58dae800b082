"""Agents' memory, as the settings say."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import anyio

from interlock.app.settings import Settings, is_memory
from interlock.kernel import Clock

if TYPE_CHECKING:
    from interlock import memory

_FILE: Final = ".interlock/memory.db"


def memory_reference(settings: Settings) -> "memory.ProviderRef":
    """The provider of memory that the settings name. `sqlite` keeps a file of its own, by default `.interlock/memory.db`; a
    relative path starts at the settings' folder. Beside a store in memory, a file that nobody named is none: it is the provider
    `memory`."""
    from interlock import memory

    told = settings.memory
    config: Mapping[str, Any] = told.config
    options = memory.Options(timeout=told.timeout)
    if told.provider == "sqlite" and "path" not in config and is_memory(settings.store):
        return memory.ProviderRef(name="memory", config=config, options=options)
    if told.provider == "sqlite" and isinstance(path := config.get("path", _FILE), str):
        is_relative = path and not path.startswith("~")
        config = {**config, "path": str(settings.folder / path) if is_relative else path}
    return memory.ProviderRef(name=told.provider, config=config, options=options)


class Holder:
    """The provider of memory of one open Interlock, opened when it is first needed."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._opening: AsyncExitStack | None = None
        self._provider: memory.Provider | None = None
        self._closed = False
        self._lock = anyio.Lock()

    async def at(self, scope: "memory.Scope") -> "memory.Memory | None":
        """The memory of that scope; None once all is closed. Raises as `memory.Memory.open`."""
        from interlock import memory

        async with self._lock:
            if self._closed:
                return None
            reference = memory_reference(self._settings)
            if self._provider is None:
                stack = AsyncExitStack()
                opening = memory.Memory.open(reference, scope=scope, clock=self._clock)
                self._provider = (await stack.enter_async_context(opening)).provider
                self._opening = stack
            return memory.Memory(self._provider, scope, given=reference.options, clock=self._clock)

    async def aclose(self) -> None:
        """Close it, if it was opened."""
        async with self._lock:
            self._closed = True
            if self._opening is not None:
                await self._opening.aclose()
