"""A memory as lines of JSON, and back: all of it, piece by piece."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Final, Literal

import orjson
from pydantic import Field

from interlock.kernel import JSON, Clock, InvalidJson, JsonLimits, SystemClock, parse_json
from interlock.memory.errors import InvalidInput, MemoryFault
from interlock.memory.memories import Memory
from interlock.memory.records import Draft, Key, Record, stated
from interlock.memory.results import Change, HistoryEntry, Ingested, IngestStatus
from interlock.memory.revisions import entry_of
from interlock.memory.scope import DIMENSIONS, Scope
from interlock.memory.value import Moment, Name, Value

MAX_LINE: Final = 4_194_304
"""Bytes of one line: more than any record has."""

MOST_TOLD: Final = 100
"""Lines that were not taken and are told one by one; the others are counted."""

_PAGE: Final = 50
_BATCH: Final = 200
_BYTES: Final = 4_194_304
_LIMITS: Final = JsonLimits(max_bytes=MAX_LINE, max_depth=64, max_nodes=100_000)
_MADE_ANEW: Final = "embeddings: they are made anew where it is imported"


class ExportHead(Value):
    """The first line of an export. `lost` is what the provider could not hand over."""

    contract: Literal["interlock.memory-export/v1"] = "interlock.memory-export/v1"
    scope: Scope
    provider: Name
    exported_at: Moment
    exact: bool
    """Whether every revision is in it, as it was kept."""
    lost: tuple[str, ...] = ()


class ExportedRevision(Value):
    """Any other line but the last: a revision. Those of one record follow each other, oldest first."""

    change: Annotated[Change, Field(strict=False)]
    record: Record


class ExportEnd(Value):
    """The last line, without which the export is not whole."""

    contract: Literal["interlock.memory-export-end/v1"] = "interlock.memory-export-end/v1"
    records: Annotated[int, Field(ge=0)]
    revisions: Annotated[int, Field(ge=0)]


async def exported(
    mem: Memory, *, clock: Clock | None = None
) -> AsyncGenerator[ExportHead | ExportedRevision | ExportEnd]:
    """All that the memory's scope covers: from the provider itself if it has `transfer`, else as far as a search shows it. What
    was forgotten or has expired is left out."""
    has = mem.capabilities()
    exact = has.supports("transfer")
    lost = (_MADE_ANEW,) if exact else _lost_on_the_way_out(mem)
    now = (clock or SystemClock()).now()
    yield ExportHead(scope=mem.scope, provider=has.provider, exported_at=now, exact=exact, lost=lost)
    last: Key | None = None
    records, revisions = 0, 0
    async with aclosing(_handed(mem) if exact else _seen(mem)) as entries:
        async for entry in entries:
            assert entry.record is not None
            records += entry.record.key != last
            last, revisions = entry.record.key, revisions + 1
            yield ExportedRevision(change=entry.change, record=entry.record)
    yield ExportEnd(records=records, revisions=revisions)


def line_of(value: Value) -> bytes:
    """A value as a line."""
    return orjson.dumps(value.to_json(), option=orjson.OPT_APPEND_NEWLINE)


class Import:
    """Takes an export line by line into a memory that is open. What cannot be taken is told by the number of its line, and holds
    up nothing else; done again, it changes nothing."""

    def __init__(self, mem: Memory, *, on_rejected: Callable[[int, str], None] | None = None) -> None:
        """`on_rejected` is told the number of each line that is not taken, and why."""
        self._mem = mem
        self._on_rejected = on_rejected
        self._exact = mem.capabilities().supports("transfer")
        self._waiting: list[tuple[int, HistoryEntry]] = []
        self._bytes = 0
        self.head: ExportHead | None = None
        self.end: ExportEnd | None = None
        self.accepted = 0
        self.duplicates = 0
        self.rejected = 0
        self.problems: list[tuple[int, str]] = []
        """The first MOST_TOLD lines that were not taken, and why."""

    @property
    def lost(self) -> tuple[str, ...]:
        """What the provider cannot take over, and what the export did not have."""
        had = () if self.head is None else tuple(each for each in self.head.lost if each != _MADE_ANEW)
        return (*had, _MADE_ANEW, *(() if self._exact else _lost_on_the_way_in(self._mem)))

    @property
    def waits(self) -> bool:
        """Whether there are lines of which it is not known yet what becomes of them."""
        return bool(self._waiting)

    async def feed(self, number: int, line: bytes) -> None:
        """The next line. Raises InvalidInput and ScopeDenied for a first line that is none of ours, and MemoryFault."""
        if self.head is None:
            self.head = self._begun(line)
            return
        if not line.strip():
            return
        try:
            if self.end is not None:
                raise InvalidInput("it comes after the last line of the export")
            entry = self._read(line)
        except MemoryFault as error:
            self._reject(number, error.message)
            return
        if entry is not None:
            self._waiting.append((number, entry))
            self._bytes += len(line)
            if len(self._waiting) >= _BATCH or self._bytes >= _BYTES:
                await self._flush(whole=False)

    async def finish(self) -> None:
        """Take what is left. Raises InvalidInput for an export without a first line, and MemoryFault."""
        if self.head is None:
            raise InvalidInput("there is nothing in it: not even the first line of an export")
        await self._flush(whole=True)

    def refuse(self, number: int, why: str) -> None:
        """A line that could not even be read."""
        if self.head is None:
            raise InvalidInput(f"this is no export of a memory: its first line {why}")
        self._reject(number, why)

    def _begun(self, line: bytes) -> ExportHead:
        try:
            head = ExportHead.from_json(_object(line))
        except MemoryFault as error:
            message = f"this is no export of a memory: its first line does not fit: {error.message}"
            raise InvalidInput(message, next_step="`interlock memory export` makes one.") from error
        self._mem.scope.within(head.scope)
        return head

    def _read(self, line: bytes) -> HistoryEntry | None:
        told = _object(line)
        if told.get("contract") == "interlock.memory-export-end/v1":
            self.end = ExportEnd.from_json(told)
            return None
        revision = ExportedRevision.from_json(told)
        self._mem.scope.within(revision.record.scope)
        return entry_of(revision.record, revision.change)

    async def _flush(self, *, whole: bool) -> None:
        """Those that wait; of a record that may go on, the revisions stay together where only its last one is kept."""
        ready = self._waiting
        if not self._exact and not whole:
            last = _key(ready[-1][1])
            ready = [each for each in ready if _key(each[1]) != last]
        left = self._waiting[len(ready) :]
        self._waiting, self._bytes = left, 0
        if not ready:
            return
        items = await self._taken(ready) if self._exact else await self._remembered(ready)
        for (number, _), item in zip(ready, items, strict=True):
            self.accepted += item.status is IngestStatus.ACCEPTED
            self.duplicates += item.status is IngestStatus.DUPLICATE
            if item.status is IngestStatus.REJECTED:
                self._reject(number, item.reason or "the provider did not say why")

    async def _taken(self, ready: list[tuple[int, HistoryEntry]]) -> tuple[Ingested, ...]:
        return (await self._mem.take_over([entry for _, entry in ready])).items

    async def _remembered(self, ready: list[tuple[int, HistoryEntry]]) -> list[Ingested]:
        """The last revision of each record, as something new."""
        lasts = {_key(entry): entry for _, entry in ready}
        items: list[Ingested] = []
        for _, entry in ready:
            record = entry.record
            assert record is not None
            status = IngestStatus.DUPLICATE
            if lasts[record.key] is entry and record.is_current:
                status = await self._kept(record)
            items.append(status if isinstance(status, Ingested) else Ingested(status=status))
        return items

    async def _kept(self, record: Record) -> Ingested:
        guarantees = self._mem.capabilities().guarantees
        own: dict[str, object] = {"idempotency_key": record.idempotency_key or record.record_id}
        if guarantees.chosen_ids:
            own = {"record_id": record.record_id, "if_revision": 0}
        try:
            said = {**stated(record), "provenance": record.provenance.changed(derived_from=())}
            kept = await self._mem.remember(Draft.of(**said, scope=record.scope, observed_at=record.observed_at, **own))
        except MemoryFault as error:
            if error.retryable:
                raise
            status = IngestStatus.DUPLICATE if error.code == "memory_conflict" else IngestStatus.REJECTED
            return Ingested(status=status, code=error.code, reason=error.message)
        return Ingested(status=IngestStatus.ACCEPTED, record_id=kept.record_id)

    def _reject(self, number: int, why: str) -> None:
        self.rejected += 1
        if self._on_rejected is not None:
            self._on_rejected(number, why)
        if len(self.problems) < MOST_TOLD:
            self.problems.append((number, why))


def _object(line: bytes) -> dict[str, JSON]:
    try:
        told = parse_json(line, limits=_LIMITS, what="line", unique=True)
    except InvalidJson as error:
        raise InvalidInput(error.message) from None
    if not isinstance(told, dict):
        raise InvalidInput("it is no JSON object")
    return told


def _key(entry: HistoryEntry) -> Key:
    assert entry.record is not None
    return entry.record.key


async def _handed(mem: Memory) -> AsyncGenerator[HistoryEntry]:
    after: str | None = None
    while entries := await mem.hand_over(after=after, limit=_PAGE):
        for entry in entries:
            yield entry
        after = entries[-1].record_id


async def _seen(mem: Memory) -> AsyncGenerator[HistoryEntry]:
    has = mem.capabilities()
    asked: dict[str, object] = {"limit": _PAGE, "order": "oldest"}
    if has.supports("temporal"):
        asked["as_of"] = "any"
    cursor: str | None = None
    while True:
        found = await mem.retrieve(None, **asked, cursor=cursor)
        for record in found.records:
            if has.supports("history"):
                parts = dict(zip(DIMENSIONS[1:], record.scope.parts[1:], strict=True))
                for entry in await mem.narrowed(**parts).history(record.record_id):
                    if entry.record is not None:
                        yield entry
            else:
                yield entry_of(record, Change.REMEMBERED)
        cursor = found.cursor
        if cursor is None:
            return


def _lost_on_the_way_out(mem: Memory) -> tuple[str, ...]:
    has = mem.capabilities()
    lost = [_MADE_ANEW, "records that something has taken the place of"]
    if not has.supports("temporal"):
        lost.append("records that are not so now")
    if not has.supports("history"):
        lost.append("revisions before the last")
    return tuple(lost)


def _lost_on_the_way_in(mem: Memory) -> tuple[str, ...]:
    lost = [
        "revisions before the last, and when they were recorded",
        "what took the place of what, and was made of what",
    ]
    if not mem.capabilities().guarantees.chosen_ids:
        lost.append("the ids of records")
    return tuple(lost)
