"""What happens to the revisions of records: they are superseded, restored, forgotten."""

from collections.abc import Sequence
from datetime import datetime

from interlock.memory.errors import RecordConflict
from interlock.memory.records import Key, Record
from interlock.memory.results import Change, Forgotten, HistoryEntry
from interlock.memory.rows import Link, Rows
from interlock.memory.scope import Scope


def named(rows: Rows, scope: Scope, record_id: str, *, first: Scope | None = None) -> Key | None:
    """Which record an id names: the one in the scope `first`, if there is or was one; else the one in the scope itself; else the
    only one in a narrower scope. Raises RecordConflict for one of several."""
    if first is not None and is_taken(rows, key := Key(record_id, first)):
        return key
    there = rows.list_scopes(scope, record_id, limit=2)
    if len(there) > 1 and there[0] != scope:
        raise RecordConflict(
            f"several records in narrower scopes have the id {record_id[:100]}",
            next_step="Narrow the memory to the user, the agent or the session whose record is meant.",
        )
    return Key(record_id, there[0]) if there else None


def is_taken(rows: Rows, key: Key) -> bool:
    """Whether there is or was such a record, at the same price however often it was revised."""
    return key.scope in rows.list_scopes(key.scope, key.record_id, limit=1)


def forget(rows: Rows, scope: Scope, record_id: str, now: datetime) -> Forgotten:
    """Remove a record and all that was made of it; what they had taken the place of is the last word again. Raises
    RecordConflict."""
    key = named(rows, scope, record_id)
    if key is None or rows.find_last(key) is None:
        return Forgotten(record_ids=())
    gone, front = [key], [key]
    while front := [
        each for each in dict.fromkeys((*_made_of(rows, front), *_merged(rows, front))) if each not in gone
    ]:
        gone += front
    restored = [record for record in _replaced(rows, gone) if record.key not in gone]
    for record in restored:
        restore(rows, record, now)
    revisions = rows.erase(tombs(rows, gone, Change.FORGOTTEN, now))
    left = rows.count_left(gone) + len(_made_of(rows, gone, ever=True)) + len(_replaced(rows, gone))
    return Forgotten(
        record_ids=tuple(each.record_id for each in gone),
        derived_ids=tuple(each.record_id for each in gone[1:]),
        restored_ids=tuple(record.record_id for record in restored),
        revisions=revisions,
        traces=left,
    )


def _made_of(rows: Rows, keys: Sequence[Key], *, ever: bool = False) -> list[Key]:
    links = rows.list_derived({key.record_id for key in keys}, ever=ever)
    return [link.key for link in links if _means(rows, link, keys)]


def _replaced(rows: Rows, keys: Sequence[Key]) -> list[Record]:
    """The last revisions whose place one of these took."""
    there = rows.list_replaced({key.record_id for key in keys})
    return [each for each in there if _means(rows, Link(each.key, each.superseded_by or ""), keys)]


def _merged(rows: Rows, keys: Sequence[Key]) -> list[Key]:
    """What a consolidation made these of: they say the same, and go together."""
    return [record.key for record in _replaced(rows, keys) if record.change_id is not None]


def _means(rows: Rows, link: Link, keys: Sequence[Key]) -> bool:
    """Whether what a record names is one of these: what it sees itself under that id, and only if there is none, any other."""
    scope = link.key.scope
    if any(key.record_id == link.names and scope.covers(key.scope) for key in keys):
        return True
    return not rows.list_scopes(scope, link.names, limit=1)


def supersede(rows: Rows, old: Record, new: Record, now: datetime) -> None:
    """The old record is no longer so since the new one is: its validity ends, and where it had none before, it ends itself."""
    began = new.valid_from
    if began is None or (old.valid_from is not None and began <= old.valid_from):
        rows.end(old.key, old.revision, at=now, by=new.record_id)
        return
    ended = began if old.valid_to is None else min(began, old.valid_to)
    rows.end(old.key, old.revision, at=now, by=None)
    revision = old.changed(valid_to=ended, revision=old.revision + 1, recorded_at=now, superseded_by=new.record_id)
    rows.add(entry_of(revision, Change.SUPERSEDED), None)


def restore(rows: Rows, record: Record, now: datetime) -> None:
    """A record says again what it said before something took its place."""
    before = record
    if record.is_current:  # only its validity was ended, by the revision that is its last
        history = rows.list_history(record.key)
        before = next(each.record for each in reversed(history[:-1]) if each.record is not None)
        rows.end(record.key, record.revision, at=now, by=None)
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


def tombs(rows: Rows, keys: Sequence[Key], change: Change, now: datetime) -> dict[Key, HistoryEntry]:
    """What is left of these records, when they are erased."""
    lasts = rows.fetch_lasts(keys)
    return {
        key: HistoryEntry(
            record_id=key.record_id, revision=lasts[key].revision + 1, change=change, at=now, digest=lasts[key].digest
        )
        for key in keys
    }
