"""Agents' memory, as the settings say."""

from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio

from interlock.app.settings import Settings, is_memory
from interlock.kernel import Clock

if TYPE_CHECKING:
    from interlock import connections, memory

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


def names_endpoint(reference: "memory.ProviderRef") -> bool:
    """Whether a provider, or one within it, has its vectors from an endpoint. Nothing is opened."""
    from interlock import memory
    from interlock.adapters import memory as adapter

    named: list[memory.Endpoint] = []

    def note(endpoint: memory.Endpoint) -> memory.Transport:
        named.append(endpoint)
        return adapter.HttpTransport(endpoint)

    with memory.carried_by(note), suppress(memory.MemoryFault):  # whoever opens it says what is wrong with it
        memory.Registry().fetch(reference.name).validate_config(reference.config)
    return bool(named)


class Holder:
    """The provider of memory of one open Interlock, opened when it is first needed."""

    def __init__(self, settings: Settings, clock: Clock, errands: "connections.Errands") -> None:
        """`errands` carry the requests to an endpoint for embeddings, where the settings name one."""
        self._settings = settings
        self._errands = errands
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
                opening = memory.Memory.open(reference, scope=scope, clock=self._clock, transport=self.transport)
                self._provider = (await stack.enter_async_context(opening)).provider
                self._opening = stack
            return memory.Memory(self._provider, scope, given=reference.options, clock=self._clock)

    def transport(self, endpoint: "memory.Endpoint") -> "memory.Transport":
        """The way to an endpoint for embeddings: through the plane. Raises InvalidConfig."""
        from interlock.app.embedding import Carried  # with what the endpoint's protocol needs, for those who name one

        return Carried(endpoint, self._errands)

    async def aclose(self) -> None:
        """Close it, if it was opened."""
        async with self._lock:
            self._closed = True
            if self._opening is not None:
                await self._opening.aclose()
