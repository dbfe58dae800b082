"""The provider `cached`: what was read is not read again, until something is written or time has passed."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, ClassVar, NamedTuple, Self, TypeVar

from pydantic import AfterValidator, Field

from interlock.kernel import Clock
from interlock.memory.combining.wrapper import Wrapper
from interlock.memory.provider import Provider
from interlock.memory.queries import Query
from interlock.memory.records import Draft, Record
from interlock.memory.results import (
    ConsolidationPlan,
    ConsolidationResult,
    Forgotten,
    HistoryEntry,
    IngestRequest,
    IngestResult,
    RetrieveResult,
)
from interlock.memory.scope import Scope
from interlock.memory.value import Value, finite

V = TypeVar("V", Record, RetrieveResult)


class Settings(Value):
    """How much is kept, and for how long. What others write to the provider inside, and validity that begins, is seen after at
    most so many `seconds`."""

    seconds: Annotated[float, AfterValidator(finite), Field(gt=0, le=86_400)] = 30.0
    max_bytes: Annotated[int, Field(ge=0, le=2**34)] = 16 * 1_048_576


class _Key(NamedTuple):
    scope: Scope
    asked: str


class _Kept(NamedTuple):
    answer: bytes
    until: float
    """By the monotonic clock."""
    over_at: datetime | None
    """When something in it expires or is no longer so."""


class Cached(Wrapper):
    """A read-through cache in this process, of records and of results. Whatever is written through it drops all that it has of
    that tenant, so a memory sees its own writes at once."""

    name: ClassVar[str] = "cached"
    description: ClassVar[str] = "around another provider: reads are kept for a while, and dropped by writes"
    settings: ClassVar[type[Value]] = Settings

    def __init__(
        self, inner: Provider, *, clock: Clock, seconds: float = 30.0, max_bytes: int = 16 * 1_048_576
    ) -> None:
        """See Settings."""
        super().__init__(inner)
        self._clock = clock
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._bytes = 0
        self._writes = 0

    @classmethod
    def around(cls, inner: Provider, settings: Settings, clock: Clock) -> Self:
        return cls(inner, clock=clock, seconds=settings.seconds, max_bytes=settings.max_bytes)

    async def close(self) -> None:
        self._drop(list(self._kept))
        await super().close()

    # -- reading

    async def get(self, scope: Scope, record_id: str) -> Record:
        key = _Key(scope, f"get {record_id}")
        return await self._read(key, Record, lambda: self._inner.get(scope, record_id), lambda record: [record])

    async def retrieve(self, scope: Scope, query: Query) -> RetrieveResult:
        key = _Key(scope, query.model_dump_json())
        return self._named(
            await self._read(key, RetrieveResult, lambda: self._inner.retrieve(scope, query), lambda it: it.records)
        )

    async def _read(
        self,
        key: _Key,
        kind: type[V],
        ask: Callable[[], Awaitable[V]],
        records: Callable[[V], Iterable[Record]],
    ) -> V:
        """What is kept, as the caller's own; or what the provider says, which is then kept, unless it may be from before a
        write that has ended since."""
        kept = self._kept.get(key)
        if kept is not None and self._is_good(kept):
            self._kept.move_to_end(key)
            return kind.model_validate_json(kept.answer)
        writes = self._writes
        answer = await ask()
        if writes == self._writes:
            self._keep(key, answer.model_dump_json().encode(), _over_at(records(answer), self._clock.now()))
        return answer

    def _is_good(self, kept: _Kept) -> bool:
        return self._clock.monotonic() < kept.until and (kept.over_at is None or self._clock.now() < kept.over_at)

    def _keep(self, key: _Key, answer: bytes, over_at: datetime | None) -> None:
        self._drop([key])
        self._kept[key] = _Kept(answer, self._clock.monotonic() + self._seconds, over_at)
        self._bytes += _size(key, answer)
        while self._bytes > self._max_bytes:
            self._drop([next(iter(self._kept))])

    def _drop(self, keys: Iterable[_Key]) -> None:
        for key in keys:
            kept = self._kept.pop(key, None)
            if kept is not None:
                self._bytes -= _size(key, kept.answer)

    # -- writing

    @asynccontextmanager
    async def _writing(self, scope: Scope) -> AsyncGenerator[None]:
        try:
            yield
        finally:  # also what failed may have been written
            self._writes += 1
            self._drop([key for key in self._kept if key.scope.tenant == scope.tenant])

    async def remember(self, scope: Scope, draft: Draft) -> Record:
        async with self._writing(scope):
            return await super().remember(scope, draft)

    async def ingest(self, scope: Scope, request: IngestRequest) -> IngestResult:
        async with self._writing(scope):
            return await super().ingest(scope, request)

    async def forget(self, scope: Scope, record_id: str) -> Forgotten:
        async with self._writing(scope):
            return await super().forget(scope, record_id)

    async def prune(self, scope: Scope) -> int:
        async with self._writing(scope):
            return await super().prune(scope)

    async def apply_consolidation(self, scope: Scope, plan: ConsolidationPlan) -> ConsolidationResult:
        async with self._writing(scope):
            return await super().apply_consolidation(scope, plan)

    async def undo_consolidation(self, scope: Scope, change_id: str) -> ConsolidationResult:
        async with self._writing(scope):
            return await super().undo_consolidation(scope, change_id)

    async def take_over(self, scope: Scope, entries: Sequence[HistoryEntry]) -> IngestResult:
        async with self._writing(scope):
            return await super().take_over(scope, entries)

    async def after_turn(self, scope: Scope, request: IngestRequest) -> IngestResult:
        async with self._writing(scope):
            return await super().after_turn(scope, request)


def _size(key: _Key, answer: bytes) -> int:
    return len(answer) + len(key.asked) + 500  # and what Python adds


def _over_at(records: Iterable[Record], now: datetime) -> datetime | None:
    ends = [end for record in records for end in (record.expires_at, record.valid_to) if end is not None and end > now]
    return min(ends, default=None)
