"""Memory, whose methods wait: by itself, and as a room of the facade."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from interlock import app, memory
from interlock.sync.door import Face, through_door, waiting


class Memory(Face[memory.Memory]):
    """As `memory.Memory`, for programs without an event loop. Its methods may be called from any thread.

    with Memory.open("sqlite", {"path": "notes.db"}, scope=memory.Scope(tenant="acme", user="ana")) as mem:
        mem.remember("Ana prefers short answers", kind="preference")
    """

    remember = waiting(memory.Memory.remember)
    get = waiting(memory.Memory.get)
    retrieve = waiting(memory.Memory.retrieve)
    forget = waiting(memory.Memory.forget)
    prune = waiting(memory.Memory.prune)
    health = waiting(memory.Memory.health)
    ingest = waiting(memory.Memory.ingest)
    explain = waiting(memory.Memory.explain)
    history = waiting(memory.Memory.history)
    hand_over = waiting(memory.Memory.hand_over)
    take_over = waiting(memory.Memory.take_over)
    before_turn = waiting(memory.Memory.before_turn)
    after_turn = waiting(memory.Memory.after_turn)
    plan_consolidation = waiting(memory.Memory.plan_consolidation)
    apply_consolidation = waiting(memory.Memory.apply_consolidation)
    undo_consolidation = waiting(memory.Memory.undo_consolidation)

    @classmethod
    @contextmanager
    def open(cls, provider: str | memory.ProviderRef, *args: Any, **options: Any) -> Generator["Memory"]:
        """As `memory.Memory.open`, with the same arguments and errors."""
        opening = through_door("this memory", lambda: memory.Memory.open(provider, *args, **options))
        with opening as (door, room):
            yield cls(door, room)

    def narrowed(self, *, user: str | None = None, agent: str | None = None, session: str | None = None) -> "Memory":
        """The same memory, for less. Raises ScopeDenied."""
        return Memory(self._door, self._room.narrowed(user=user, agent=agent, session=session))

    def using(self, **options: Any) -> "Memory":
        """The same memory with these options for each call. Raises InvalidInput."""
        return Memory(self._door, self._room.using(**options))

    @property
    def scope(self) -> memory.Scope:
        """Whose memory it is."""
        return self._room.scope

    def info(self) -> memory.ProviderInfo:
        """Who the provider is, and what it offers."""
        return self._room.info()

    def capabilities(self) -> memory.CapabilitySet:
        """What the provider can do."""
        return self._room.capabilities()


class Memories(Face[app.Memories]):
    """As `app.Memories`: `il.memory(user="ana")`."""

    def __call__(self, *, user: str | None = None, agent: str | None = None, session: str | None = None) -> Memory:
        """As `app.Memories`. Raises as that."""
        room = self._room
        return Memory(self._door, self._door.call(lambda: room(user=user, agent=agent, session=session)))
