"""Revisions out of one storage and into another, exactly as they are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from interlock.memory.embedding import Vector
from interlock.memory.errors import InvalidInput, MemoryFault, RecordConflict
from interlock.memory.records import Record
from interlock.memory.results import HistoryEntry, Ingested, IngestStatus
from interlock.memory.revisions import entry_of, is_taken
from interlock.memory.rows import Rows
from interlock.memory.scope import Scope

_AFTERWARDS: Final[Mapping[str, Any]] = {"superseded_at": None, "superseded_by": None}
"""What a revision is told after it was made."""


PAGE_BYTES: Final = 8_388_608
"""Of JSON, after which a page takes no further record."""


def page(rows: Rows, *, after: str | None, limit: int, now: datetime) -> list[HistoryEntry]:
    """Every revision of the next records by id that are neither forgotten nor expired: of those with the first id, and of as many
    others as fit."""
    told: list[HistoryEntry] = []
    size = 0
    for key in rows.list_keys(after=after, limit=limit, now=now):
        if size > PAGE_BYTES and key.record_id != told[-1].record_id:  # a page ends where an id does
            break
        for entry in rows.list_history(key):
            told.append(entry)
            size += len(entry.model_dump_json())
    return told


def take(rows: Rows, scope: Scope, entry: HistoryEntry, vector: Vector | None) -> Ingested:
    """Put one revision here, after those before it. Done again, it changes nothing."""
    record = entry.record
    try:
        if record is None or entry != entry_of(record, entry.change):
            raise InvalidInput("it does not say of itself what its record says")
        scope.within(record.scope)
        status = _taken(rows, entry, record, vector)
    except MemoryFault as error:  # before anything of it was written
        return Ingested(status=IngestStatus.REJECTED, record_id=entry.record_id, code=error.code, reason=error.message)
    return Ingested(status=status, record_id=entry.record_id)


def _taken(rows: Rows, entry: HistoryEntry, record: Record, vector: Vector | None) -> IngestStatus:
    """Raises RecordConflict."""
    last = rows.find_last(record.key)
    if last is None and is_taken(rows, record.key):
        raise RecordConflict("a record with this id was forgotten here, and stays so")
    count = 0 if last is None else last.revision
    if record.revision <= count:
        return _again(rows, rows.list_history(record.key)[record.revision - 1].record, record)
    if record.revision != count + 1:
        raise RecordConflict(f"revision {count + 1} is missing before it")
    key = record.idempotency_key
    if key is not None and (other := rows.find_key(record.scope, key)) and other.record_id != record.record_id:
        raise RecordConflict(f"its idempotency key is that of {other.record_id} here")
    rows.add(entry, vector)
    return IngestStatus.ACCEPTED


def _again(rows: Rows, ours: Record | None, theirs: Record) -> IngestStatus:
    """A revision that is here already, and may have been replaced since. Raises RecordConflict."""
    if ours is None or ours.model_copy(update=_AFTERWARDS) != theirs.model_copy(update=_AFTERWARDS):
        raise RecordConflict("there is another record with this id, which says something else")
    if ours.superseded_at is None and theirs.superseded_at is not None:
        rows.end(theirs.key, theirs.revision, at=theirs.superseded_at, by=theirs.superseded_by)
        return IngestStatus.ACCEPTED
    return IngestStatus.DUPLICATE
