"""`memory.Rows` in a SQLite file."""

import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from interlock import memory
from interlock.adapters.memory.clauses import Clauses, Parameter, exactly, filtered, micros, within
from interlock.adapters.memory.vectors import Matrix
from interlock.kernel import canonical, from_micros, to_micros

_COLUMNS: Final = (
    "record_id", "revision", "tenant", "user", "agent", "session", "change", "change_id", "at", "digest", "is_last", "record",
    "class", "kind", "source", "importance", "observed_at", "recorded_at", "superseded_at", "superseded_by", "valid_from",
    "valid_to", "expires_at", "idempotency_key", "folded",
)  # fmt: skip
_INSERT: Final = f"INSERT INTO revisions ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_ENTRY: Final = (
    "r.record, r.superseded_at, r.superseded_by, r.record_id, r.revision, r.change, r.at, r.digest, r.change_id"
)
_PLACES: Final = (
    ("words", "rowid"),
    *((table, "revision_id") for table in ("tags", "metadata", "sources", "vectors", "revisions")),
)
_MOST: Final = 500
"""Parameters of one list."""


class SqliteRows:
    """One transaction over the revisions that a scope covers."""

    def __init__(self, connection: sqlite3.Connection, scope: memory.Scope, matrix: Matrix) -> None:
        self._connection = connection
        self._scope = scope
        self._matrix = matrix
        self._erased: list[int] = []

    def is_known(self) -> bool:
        return bool(self._select("1", self._mine(), "LIMIT 1"))

    def is_free(self, record_id: str) -> bool:
        taken = self._execute("SELECT 1 FROM revisions WHERE record_id = ? LIMIT 1", (record_id,))
        return taken.fetchone() is None

    def find_last(self, record_id: str) -> memory.Record | None:
        clauses = self._lasts()
        clauses.add("r.record_id = ?", record_id)
        return self._first(clauses)

    def find_key(self, scope: memory.Scope, idempotency_key: str) -> memory.Record | None:
        clauses = exactly(self._lasts(), scope)
        clauses.add("r.idempotency_key = ?", idempotency_key)
        return self._first(clauses)

    def find_digest(self, scope: memory.Scope, digest: str, *, now: datetime) -> memory.Record | None:
        clauses = filtered(exactly(self._lasts(), scope), memory.Filter(now=now))
        clauses.add("r.digest = ?", digest)
        return self._first(clauses, "ORDER BY r.record_id")

    def add(self, entry: memory.HistoryEntry, vector: Sequence[float] | None) -> None:
        record = entry.record
        assert record is not None
        before = self._execute(
            "SELECT revision_id FROM revisions WHERE record_id = ? AND is_last", (record.record_id,)
        ).fetchone()
        self._execute("UPDATE revisions SET is_last = 0 WHERE record_id = ? AND is_last", (record.record_id,))
        found = memory.searchable(record)
        made = self._insert(entry, record.scope, (
            record.model_dump_json(), record.memory_class.value, record.kind, record.source, record.importance,
            to_micros(record.observed_at), to_micros(record.recorded_at), micros(record.superseded_at), record.superseded_by,
            micros(record.valid_from), micros(record.valid_to), micros(record.expires_at), record.idempotency_key,
            found.casefold(),
        ))  # fmt: skip
        words = " ".join(word.encode().hex() for word in memory.words(found))
        self._execute("INSERT INTO words (rowid, held) VALUES (?, ?)", (made, words))
        self._many("INSERT INTO tags (tag, revision_id) VALUES (?, ?)", [(tag, made) for tag in record.tags])
        facts = [(made, name, canonical(value).decode()) for name, value in record.metadata.items()]
        self._many("INSERT INTO metadata (revision_id, name, value) VALUES (?, ?, ?)", facts)
        sources = [(source, made) for source in dict.fromkeys(record.provenance.derived_from)]
        self._many("INSERT INTO sources (source_id, revision_id) VALUES (?, ?)", sources)
        if vector is not None:
            self._execute("INSERT INTO vectors VALUES (?, ?)", (made, array("f", vector).tobytes()))
        elif before is not None:
            copied = "INSERT INTO vectors SELECT ?, vector FROM vectors WHERE revision_id = ?"
            self._execute(copied, (made, before[0]))

    def end(self, record_id: str, revision: int, *, at: datetime, by: str | None) -> None:
        clauses = self._mine()
        clauses.add("r.record_id = ? AND r.revision = ?", record_id, revision)
        update = f"UPDATE revisions AS r SET superseded_at = ?, superseded_by = ? WHERE {clauses.text}"
        self._execute(update, (to_micros(at), by, *clauses.parameters))

    def list_history(self, record_id: str) -> Sequence[memory.HistoryEntry]:
        clauses = self._mine()
        clauses.add("r.record_id = ?", record_id)
        return [_entry(row) for row in self._select(_ENTRY, clauses, "ORDER BY r.revision")]

    def list_changed(self, change_id: str) -> Sequence[memory.HistoryEntry]:
        clauses = self._mine()
        clauses.add("r.change_id = ?", change_id)
        return [_entry(row) for row in self._select(_ENTRY, clauses, "ORDER BY r.record_id, r.revision")]

    def list_derived(self, record_ids: Iterable[str]) -> Sequence[str]:
        made_of = "EXISTS (SELECT 1 FROM sources s WHERE s.revision_id = r.revision_id AND s.source_id IN (…))"
        return sorted({row[0] for part in _parts(record_ids) for row in self._among("r.record_id", made_of, part)})

    def list_replaced(self, record_ids: Iterable[str]) -> Sequence[memory.Record]:
        columns = "r.record, r.superseded_at, r.superseded_by"
        return [
            _record(row) for part in _parts(record_ids) for row in self._among(columns, "r.superseded_by IN (…)", part)
        ]

    def list_expired(self, *, now: datetime, limit: int) -> Sequence[str]:
        clauses = self._lasts()
        clauses.add("r.expires_at <= ?", to_micros(now))
        return [row[0] for row in self._select("r.record_id", clauses, f"ORDER BY r.record_id LIMIT {limit:d}")]

    def erase(self, tombs: Sequence[memory.HistoryEntry]) -> int:
        count = 0
        for tomb in tombs:
            clauses = self._mine()
            clauses.add("r.record_id = ?", tomb.record_id)
            gone = [row[0] for row in self._select("r.revision_id", clauses)]
            last = self.find_last(tomb.record_id)
            for statement in ("DELETE FROM words WHERE rowid = ?", "DELETE FROM revisions WHERE revision_id = ?"):
                self._many(statement, [(each,) for each in gone])  # the rest goes with its revision
            if last is not None:
                self._insert(tomb, last.scope, (None,) * 14)
            self._matrix.drop(gone)
            self._erased += gone
            count += len(gone)
        return count

    def count_traces(self, record_ids: Iterable[str]) -> int:
        gone = list(record_ids)
        found = 0
        for part in _parts(gone):
            found += len(self._among("1", "r.record_id IN (…)", part))
            found += len(self._among("1", "r.superseded_by IN (…)", part))
            marks = ", ".join("?" * len(part))
            found += len(self._execute(f"SELECT 1 FROM sources WHERE source_id IN ({marks})", part).fetchall())
        for table, column in _PLACES:
            statement = f"SELECT 1 FROM {table} WHERE {column} = ?"
            found += sum(len(self._execute(statement, (each,)).fetchall()) for each in self._erased)
        return found

    def list_page(
        self, seen: memory.Filter, order: memory.Order, *, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[memory.Record]:
        newest = order is memory.Order.NEWEST
        clauses = self._seen(seen)
        if after is not None:
            sign = "<" if newest else ">"
            clauses.add(f"(r.observed_at, r.record_id) {sign} (?, ?)", to_micros(after[0]), after[1])
        way = "DESC" if newest else "ASC"
        rest = f"ORDER BY r.observed_at {way}, r.record_id {way} LIMIT {limit:d}"
        return [_record(row) for row in self._select("r.record, r.superseded_at, r.superseded_by", clauses, rest)]

    def count(self, seen: memory.Filter, terms: Sequence[str] | None) -> int:
        clauses = self._seen(seen)
        if terms is not None:
            clauses.add("r.revision_id IN (SELECT rowid FROM words WHERE words MATCH ?)", _match(terms))
        return self._select("count(*)", clauses)[0][0]

    def rank_words(self, seen: memory.Filter, terms: Sequence[str], *, limit: int) -> Sequence[memory.Found]:
        clauses = self._seen(seen)
        query = f"""SELECT r.record_id, -bm25(words) AS score, words.held FROM words
            JOIN revisions r ON r.revision_id = words.rowid WHERE words MATCH ? AND {clauses.text}
            ORDER BY score DESC, r.record_id LIMIT {limit:d}"""
        rows = self._execute(query, (_match(terms), *clauses.parameters)).fetchall()
        hexed = {term.encode().hex(): term for term in terms}
        return [
            memory.Found(
                record_id=record_id,
                score=score,
                terms=tuple(hexed[each] for each in hexed if each in set(words.split())),
            )
            for record_id, score, words in rows
        ]

    def rank_vectors(self, seen: memory.Filter, vector: Sequence[float], *, limit: int) -> Sequence[memory.Found]:
        rows = self._select("r.revision_id, r.record_id", self._seen(seen))
        return self._matrix.nearest(self._connection, rows, vector, limit=limit)

    def fetch_seen(self, seen: memory.Filter, record_ids: Iterable[str]) -> Mapping[str, memory.Record]:
        found: dict[str, memory.Record] = {}
        for part in _parts(record_ids):
            clauses = self._seen(seen)
            clauses.add_list("r.record_id IN (…)", part)
            for row in self._select("r.record, r.superseded_at, r.superseded_by", clauses):
                record = _record(row)
                found[record.record_id] = record
        return found

    # -- the parts

    def _mine(self) -> Clauses:
        return within(Clauses("?"), self._scope)

    def _lasts(self) -> Clauses:
        clauses = self._mine()
        clauses.add("r.is_last AND r.record IS NOT NULL")
        return clauses

    def _seen(self, seen: memory.Filter) -> Clauses:
        clauses = filtered(self._mine(), seen)
        if seen.text_contains is not None:
            clauses.add("instr(r.folded, ?) > 0", seen.text_contains)
        return clauses

    def _among(self, columns: str, condition: str, values: Sequence[str]) -> list[Any]:
        clauses = self._lasts()
        clauses.add_list(condition, values)
        return self._select(columns, clauses, "ORDER BY r.record_id")

    def _first(self, clauses: Clauses, rest: str = "") -> memory.Record | None:
        rows = self._select("r.record, r.superseded_at, r.superseded_by", clauses, f"{rest} LIMIT 1")
        return _record(rows[0]) if rows else None

    def _select(self, columns: str, clauses: Clauses, rest: str = "") -> list[Any]:
        query = f"SELECT {columns} FROM revisions r WHERE {clauses.text} {rest}"
        return self._execute(query, clauses.parameters).fetchall()

    def _insert(self, entry: memory.HistoryEntry, scope: memory.Scope, rest: Sequence[Parameter]) -> int:
        """A row; its number."""
        at = to_micros(entry.at)
        row = (
            entry.record_id,
            entry.revision,
            *scope.parts,
            entry.change.value,
            entry.change_id,
            at,
            entry.digest,
            1,
            *rest,
        )
        made = self._execute(_INSERT, row).lastrowid
        assert made is not None
        return made

    def _execute(self, statement: str, parameters: Sequence[Parameter]) -> sqlite3.Cursor:
        return self._connection.execute(statement, parameters)

    def _many(self, statement: str, rows: Sequence[Sequence[Parameter]]) -> None:
        self._connection.executemany(statement, rows)


def _record(row: Sequence[Any]) -> memory.Record:
    told, at, by = row[:3]
    record = memory.Record.from_json(told)
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


def _match(terms: Sequence[str]) -> str:
    """Any of the terms, in the index's language: what is hexadecimal has no meaning in it."""
    return " OR ".join(f'"{term.encode().hex()}"' for term in terms)


def _parts(values: Iterable[str]) -> Iterable[Sequence[str]]:
    listed = list(dict.fromkeys(values))
    return (listed[at : at + _MOST] for at in range(0, len(listed), _MOST))
