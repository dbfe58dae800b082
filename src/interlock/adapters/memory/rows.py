"""`memory.Rows` over a table of revisions: what is the same in each database that has one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

from interlock import memory
from interlock.adapters.memory.clauses import (
    PLACES,
    WHOSE,
    Clauses,
    Parameter,
    exactly,
    filtered,
    micros,
    place,
    text,
    within,
)
from interlock.kernel import from_micros, to_micros

COLUMNS: Final = (
    "record_id", "revision", "tenant", '"user"', "agent", "session", "change", "change_id", "at", "digest", "is_last",
    "class", "kind", "source", "importance", "observed_at", "recorded_at", "superseded_at", "superseded_by", "valid_from",
    "valid_to", "expires_at", "idempotency_key",
)  # fmt: skip
"""What each database has of a revision, in the order of `columns`. Of what was forgotten the last twelve are NULL."""

_MOST: Final = 500
"""Values of one list."""


class TableRows(ABC):
    """One transaction over the revisions that a scope covers. A subclass knows how its database keeps and searches words, tags
    and vectors."""

    mark: ClassVar[str]
    """How a parameter is written."""
    told: ClassVar[str]
    """The record as JSON, in `source`."""
    source: ClassVar[str] = "revisions r"
    """Revisions with what they say."""
    by_number: ClassVar[str] = "revisions r"
    """Revisions whose numbers are known."""
    by_id: ClassVar[str] = "revisions r"
    """Revisions in the order of their records' ids."""
    by_successor: ClassVar[str | None] = None
    """Revisions whose successors are known, with what they say; None: `source`."""

    def __init__(self, scope: memory.Scope, *, places: Sequence[tuple[str, str]]) -> None:
        """`places` are where anything of a revision is kept: tables, and their columns with its number."""
        self._scope = scope
        self._places = places
        self._erased: list[int] = []

    @abstractmethod
    def _execute(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """The rows that the database answers."""

    @abstractmethod
    def _seen(self, seen: memory.Filter) -> Clauses:
        """Only what the scope covers and the filter lets through."""

    @abstractmethod
    def _holding(self, clauses: Clauses, terms: Sequence[str]) -> Clauses:
        """Only what has at least one of these words."""

    def is_known(self) -> bool:
        return bool(self._select("1", self._mine(), "LIMIT 1"))

    def list_scopes(self, scope: memory.Scope, record_id: str, *, limit: int) -> Sequence[memory.Scope]:
        clauses = within(self._mine(), scope)
        clauses.add("r.record_id = ? AND r.is_last", text(record_id))
        found = self._select(WHOSE, clauses, f"ORDER BY {', '.join(PLACES)} LIMIT {limit:d}")
        return [scope_of(*row) for row in found]

    def find_last(self, key: memory.Key) -> memory.Record | None:
        clauses = self._of(key)
        clauses.add("r.is_last AND r.recorded_at IS NOT NULL")
        return self._first(clauses)

    def fetch_lasts(self, keys: Iterable[memory.Key]) -> Mapping[memory.Key, memory.Record]:
        return self._fetched(keys, self._lasts)

    def find_key(self, scope: memory.Scope, idempotency_key: str) -> memory.Record | None:
        clauses = exactly(self._lasts(), scope)
        clauses.add("r.idempotency_key = ?", idempotency_key)
        return self._first(clauses)

    def find_digest(self, scope: memory.Scope, digest: str, *, now: datetime) -> memory.Record | None:
        clauses = filtered(exactly(self._lasts(), scope), memory.Filter(now=now))
        clauses.add("r.digest = ?", digest)
        return self._first(clauses, "ORDER BY r.record_id")

    def end(self, key: memory.Key, revision: int, *, at: datetime, by: str | None) -> None:
        clauses = self._of(key)
        clauses.add("r.revision = ?", revision)
        update = f"UPDATE revisions AS r SET superseded_at = {self.mark}, superseded_by = {self.mark}"
        self._execute(f"{update} WHERE {clauses.text}", (to_micros(at), by, *clauses.parameters))

    def list_keys(self, *, after: str | None, limit: int, now: datetime) -> Sequence[memory.Key]:
        clauses = self._lasts()
        clauses.add("(r.expires_at IS NULL OR r.expires_at > ?)", to_micros(now))
        clauses.add("r.record_id > ?", after or "")
        rest = f"ORDER BY r.record_id LIMIT {limit:d}"
        ids = self._select("DISTINCT r.record_id", clauses, rest, source=self.by_id)
        if not ids:
            return []
        clauses.add("r.record_id <= ?", ids[-1][0])
        rest = f"ORDER BY {', '.join(PLACES)}"
        return [key_of(*row) for row in self._select(f"r.record_id, {WHOSE}", clauses, rest, source=self.by_id)]

    def list_history(self, key: memory.Key) -> Sequence[memory.HistoryEntry]:
        return self._entries(self._of(key), "ORDER BY r.revision")

    def list_changed(self, change_id: str) -> Sequence[memory.HistoryEntry]:
        clauses = self._mine()
        clauses.add("r.change_id = ?", text(change_id))
        return self._entries(clauses, f"ORDER BY {', '.join(PLACES)}, r.revision")

    def list_derived(self, record_ids: Iterable[str], *, ever: bool = False) -> Sequence[memory.Link]:
        found: list[memory.Link] = []
        for part in _parts(record_ids):
            clauses = self._mine() if ever else self._lasts()
            clauses.add_list("s.source_id IN (…)", part)
            joined = f"{self.by_number} JOIN sources s ON s.revision_id = r.revision_id"
            order = f"ORDER BY {', '.join(PLACES)}, s.source_id, r.revision"
            rows = self._select(f"s.source_id, r.record_id, {WHOSE}", clauses, order, source=joined)
            found += [memory.Link(key_of(*row[1:]), row[0]) for row in rows]
        return found

    def list_replaced(self, record_ids: Iterable[str]) -> Sequence[memory.Record]:
        found: list[memory.Record] = []
        for part in _parts(record_ids):
            clauses = self._lasts()
            clauses.add_list("r.superseded_by IN (…)", part)
            found += self._records(clauses, f"ORDER BY {', '.join(PLACES)}", source=self.by_successor)
        return found

    def list_expired(self, *, now: datetime, limit: int) -> Sequence[memory.Key]:
        clauses = self._lasts()
        clauses.add("r.expires_at <= ?", to_micros(now))
        order = f"ORDER BY {', '.join(PLACES)} LIMIT {limit:d}"
        return [key_of(*row) for row in self._select(f"r.record_id, {WHOSE}", clauses, order)]

    def count_left(self, keys: Iterable[memory.Key]) -> int:
        wanted, found = set(keys), 0
        for part in _parts(key.record_id for key in wanted):
            clauses = self._mine()
            clauses.add("r.recorded_at IS NOT NULL")
            clauses.add_list("r.record_id IN (…)", part)
            found += sum(key_of(*row) in wanted for row in self._select(f"r.record_id, {WHOSE}", clauses))
        for part in _parts(self._erased):
            found += sum(self._count_in(table, column, part) for table, column in self._places)
        return found

    def list_page(
        self, seen: memory.Filter, order: memory.Order, *, after: tuple[datetime, memory.Key] | None, limit: int
    ) -> Sequence[memory.Record]:
        newest = order is memory.Order.NEWEST
        clauses = self._seen(seen)
        if after is not None:
            names, marks = ", ".join(("r.observed_at", *PLACES)), ", ".join("?" * (1 + len(PLACES)))
            clauses.add(f"({names}) {'<' if newest else '>'} ({marks})", to_micros(after[0]), *place(after[1]))
        way = "DESC" if newest else "ASC"
        places = ", ".join(f"{name} {way}" for name in ("r.observed_at", *PLACES))
        return self._records(clauses, f"ORDER BY {places} LIMIT {limit:d}")

    def count(self, seen: memory.Filter, terms: Sequence[str] | None) -> int:
        clauses = self._seen(seen)
        return self._select("count(*)", clauses if terms is None else self._holding(clauses, terms))[0][0]

    def fetch_seen(self, seen: memory.Filter, keys: Iterable[memory.Key]) -> Mapping[memory.Key, memory.Record]:
        return self._fetched(keys, lambda: self._seen(seen))

    # -- the parts

    @property
    def _record(self) -> str:
        return f"{self.told}, r.superseded_at, r.superseded_by"

    def _mine(self) -> Clauses:
        return within(Clauses(self.mark), self._scope)

    def _lasts(self) -> Clauses:
        clauses = self._mine()
        clauses.add("r.is_last AND r.recorded_at IS NOT NULL")
        return clauses

    def _select(self, columns: str, clauses: Clauses, rest: str = "", *, source: str = "revisions r") -> list[Any]:
        return self._execute(f"SELECT {columns} FROM {source} WHERE {clauses.text} {rest}", clauses.parameters)

    def _of(self, key: memory.Key) -> Clauses:
        """Only this record's."""
        clauses = exactly(self._mine(), key.scope)
        clauses.add("r.record_id = ?", text(key.record_id))
        return clauses

    def _fetched(self, keys: Iterable[memory.Key], clauses: Callable[[], Clauses]) -> dict[memory.Key, memory.Record]:
        """Of these records what the clauses let through."""
        wanted, found = set(keys), dict[memory.Key, memory.Record]()
        for part in _parts(text(key.record_id) for key in wanted):
            there = self._with_ids(clauses(), part)
            found |= {record.key: record for record in there if record.key in wanted}
        return found

    def _with_ids(self, clauses: Clauses, record_ids: Sequence[str]) -> list[memory.Record]:
        clauses.add_list("r.record_id IN (…)", record_ids)
        return self._records(clauses)

    def _count_in(self, table: str, column: str, values: Sequence[Parameter]) -> int:
        marks = ", ".join([self.mark] * len(values))
        return self._execute(f"SELECT count(*) FROM {table} WHERE {column} IN ({marks})", values)[0][0]

    def _first(self, clauses: Clauses, rest: str = "") -> memory.Record | None:
        found = self._records(clauses, f"{rest} LIMIT 1")
        return found[0] if found else None

    def _records(self, clauses: Clauses, rest: str = "", *, source: str | None = None) -> list[memory.Record]:
        return [_record(row) for row in self._select(self._record, clauses, rest, source=source or self.source)]

    def _entries(self, clauses: Clauses, rest: str) -> list[memory.HistoryEntry]:
        columns = f"{self._record}, r.record_id, r.revision, r.change, r.at, r.digest, r.change_id"
        return [_entry(row) for row in self._select(columns, clauses, rest, source=self.source)]


def columns(entry: memory.HistoryEntry, scope: memory.Scope) -> Sequence[Parameter | bool]:
    """The values of COLUMNS for the last revision of a record."""
    record = entry.record
    about = (entry.record_id, entry.revision, *scope.parts, entry.change.value, entry.change_id)
    kept = (*about, to_micros(entry.at), entry.digest, True)
    if record is None:
        return (*kept, *(None,) * 12)
    return (
        *kept, record.memory_class.value, record.kind, record.source, record.importance, to_micros(record.observed_at),
        to_micros(record.recorded_at), micros(record.superseded_at), record.superseded_by, micros(record.valid_from),
        micros(record.valid_to), micros(record.expires_at), record.idempotency_key,
    )  # fmt: skip


def _record(row: Sequence[Any]) -> memory.Record:
    told, at, by = row[:3]
    try:
        record = memory.Record.read_back(told)
    except memory.InvalidInput as error:
        step = "Restore the storage from a copy; `interlock memory export` tells what can be read."
        raise memory.ProviderUnavailable(
            f"the storage is damaged: a record in it is none: {error.message}", next_step=step
        ) from error
    if at is None and by == record.superseded_by:
        return record
    return record.changed(superseded_at=None if at is None else from_micros(at), superseded_by=by)


def _entry(row: Sequence[Any]) -> memory.HistoryEntry:
    _, _, _, record_id, revision, change, at, digest, change_id = row
    return memory.HistoryEntry(
        record_id=record_id,
        revision=revision,
        change=memory.Change(change),
        at=from_micros(at),
        digest=digest,
        record=None if row[0] is None else _record(row),
        change_id=change_id,
    )


@lru_cache(maxsize=4_096)
def scope_of(tenant: str, *parts: str | None) -> memory.Scope:
    """A scope of its parts, as a row has them."""
    return memory.Scope(tenant=tenant, **dict(zip(memory.DIMENSIONS[1:], parts, strict=True)))


def key_of(record_id: str, tenant: str, *parts: str | None) -> memory.Key:
    """Which record a row is of."""
    return memory.Key(record_id, scope_of(tenant, *parts))


def _parts(values: Iterable[Parameter]) -> Iterable[Sequence[Any]]:
    listed = list(dict.fromkeys(values))
    return (listed[at : at + _MOST] for at in range(0, len(listed), _MOST))
