"""The provider `memory`: records of this process, gone with it. Plain enough to be what the others are held against."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from interlock import memory
from interlock.kernel import Clock, IdSource

T = TypeVar("T")


class InProcess(memory.Keeper):
    """Records in dictionaries."""

    name: ClassVar[str] = "memory"
    description: ClassVar[str] = "in this process, gone with it; for tests, scripts and trying things out"

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        del config  # it has none
        return cls(_Shelf(), memory.HashedEmbedder(), clock=clock, ids=ids)

    @property
    def guarantees(self) -> memory.Guarantees:
        return memory.Guarantees(
            durable=False,
            atomic_batch=True,
            read_your_writes=True,
            search_modes=frozenset(memory.SearchMode),
            isolation="query",
            vector_dimensions=None if self._embedder is None else self._embedder.dimensions,
            chosen_ids=True,
        )


class _Shelf:
    """All revisions, by the key of the record. One transaction at a time; one that fails is taken back."""

    def __init__(self) -> None:
        self._kept: dict[memory.Key, tuple[memory.Kept, ...]] = {}
        self._lock = threading.Lock()

    async def write(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        with self._lock:
            before = dict(self._kept)
            try:
                return act(memory.DictRows(self._kept, scope))
            except BaseException:
                self._kept.clear()
                self._kept.update(before)
                raise

    async def read(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        with self._lock:
            return act(memory.DictRows(self._kept, scope))

    async def health(self) -> memory.Health:
        return memory.Health(ok=True, detail=f"{len(self._kept)} records")

    async def close(self) -> None:
        self._kept.clear()
