"""A store that wakes who waits for something to be written."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from interlock import runs
from interlock.adapters.sql.store import SqlStore
from interlock.kernel import StoreError, Tx

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class RingingStore:
    """Implements `SqlStore` over another one. Whoever waits in this event loop is woken by each commit of this process; what
    others write has to be looked for."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._next: anyio.Event | None = None
        self.failed_writes = 0
        """How many writes of work in a row (what comes, and what becomes of it) have failed; a beat or a setting is none."""

    def next_write(self) -> anyio.Event:
        """Set at the next commit after this call. Who looks between this call and waiting misses nothing."""
        if self._next is None:
            self._next = anyio.Event()
        return self._next

    def _ring(self) -> None:
        if self._next is not None:
            rung, self._next = self._next, None
            rung.set()

    @property
    def refusal(self) -> StoreError | None:
        return self._store.refusal

    async def read(self, fn: Callable[[Tx], T]) -> T:
        return await self._store.read(fn)

    async def write(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> T:
        answer = await self._store.write(fn, urgent=urgent)
        self._ring()
        return answer

    async def write_together(self, fn: Callable[[Tx, Sequence[Item]], Sequence[Answer]], item: Item) -> Answer:
        return await self._counted(self._store.write_together(fn, item))

    async def admit(self, admission: runs.Admission) -> runs.Admitted:
        return await self._counted(self._store.admit(admission))

    async def apply(self, change: runs.Change) -> bool:
        return await self._counted(self._store.apply(change))

    async def _counted(self, write: Awaitable[T]) -> T:
        try:
            answer = await write
        except StoreError:
            self.failed_writes += 1
            raise
        self.failed_writes = 0
        self._ring()
        return answer

    def admit_in(self, tx: Tx, admissions: Sequence[runs.Admission]) -> Sequence[runs.Admitted]:
        return self._store.admit_in(tx, admissions)

    def apply_in(self, tx: Tx, changes: Sequence[runs.Change]) -> Sequence[bool]:
        return self._store.apply_in(tx, changes)

    def close(self) -> None:
        self._store.close()
