"""What happens to the revisions of records: they are superseded, restored, forgotten."""

from collections.abc import Sequence
from datetime import datetime

from interlock.memory.records import Record
from interlock.memory.results import Change, Forgotten, HistoryEntry
from interlock.memory.rows import Rows


def forget(rows: Rows, record_id: str, now: datetime) -> Forgotten:
    """Remove a record and all that was made of it; what they had taken the place of is the last word again."""
    if rows.find_last(record_id) is None:
        return Forgotten(record_ids=())
    gone, front = [record_id], [record_id]
    while front := [each for each in (*rows.list_derived(front), *_merged(rows, front)) if each not in gone]:
        gone += dict.fromkeys(front)
    restored = [record for record in rows.list_replaced(gone) if record.record_id not in gone]
    for record in restored:
        restore(rows, record, now)
    revisions = rows.erase([tomb(rows, each, Change.FORGOTTEN, now) for each in gone])
    return Forgotten(
        record_ids=tuple(gone),
        derived_ids=tuple(gone[1:]),
        restored_ids=tuple(record.record_id for record in restored),
        revisions=revisions,
        traces=rows.count_traces(gone),
    )


def _merged(rows: Rows, record_ids: Sequence[str]) -> list[str]:
    """What a consolidation made these of: they say the same, and go together."""
    return [record.record_id for record in rows.list_replaced(record_ids) if record.change_id is not None]


def supersede(rows: Rows, old: Record, new: Record, now: datetime) -> None:
    """The old record is no longer so since the new one is: its validity ends, and where it had none before, it ends itself."""
    began = new.valid_from
    if began is None or (old.valid_from is not None and began <= old.valid_from):
        rows.end(old.record_id, old.revision, at=now, by=new.record_id)
        return
    ended = began if old.valid_to is None else min(began, old.valid_to)
    rows.end(old.record_id, old.revision, at=now, by=None)
    revision = old.changed(valid_to=ended, revision=old.revision + 1, recorded_at=now, superseded_by=new.record_id)
    rows.add(entry_of(revision, Change.SUPERSEDED), None)


def restore(rows: Rows, record: Record, now: datetime) -> None:
    """A record says again what it said before something took its place."""
    before = record
    if record.is_current:  # only its validity was ended, by the revision that is its last
        history = rows.list_history(record.record_id)
        before = next(each.record for each in reversed(history[:-1]) if each.record is not None)
        rows.end(record.record_id, record.revision, at=now, by=None)
    fields = {"revision": record.revision + 1, "recorded_at": now, "superseded_at": None, "superseded_by": None}
    rows.add(entry_of(before.changed(**fields, change_id=None), Change.RESTORED), None)


def entry_of(record: Record, change: Change) -> HistoryEntry:
    """A revision as history keeps it."""
    return HistoryEntry(
        record_id=record.record_id,
        revision=record.revision,
        change=change,
        at=record.recorded_at,
        digest=record.digest,
        record=record,
        change_id=record.change_id,
    )


def tomb(rows: Rows, record_id: str, change: Change, now: datetime) -> HistoryEntry:
    last = rows.find_last(record_id)
    assert last is not None
    return HistoryEntry(record_id=record_id, revision=last.revision + 1, change=change, at=now, digest=last.digest)
