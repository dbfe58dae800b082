"""`memory.Rows` in a SQLite file."""

import sqlite3
from array import array
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from interlock import memory
from interlock.adapters.memory.clauses import Clauses, Parameter, filtered
from interlock.adapters.memory.rows import COLUMNS, TableRows, columns
from interlock.adapters.memory.vectors import Matrix
from interlock.kernel import canonical

_INSERT: Final = (
    f"INSERT INTO revisions ({', '.join(COLUMNS)}, record, folded) VALUES ({', '.join('?' * len(COLUMNS))}, ?, ?)"
)
_PLACES: Final = (
    ("words", "rowid"),
    *((table, "revision_id") for table in ("tags", "metadata", "sources", "vectors", "revisions")),
)
_TAGGED: Final = "SELECT 1 FROM tags t WHERE t.revision_id = r.revision_id AND t.tag"


class SqliteRows(TableRows):
    """One transaction over the revisions that a scope covers."""

    mark: ClassVar[str] = "?"
    told: ClassVar[str] = "r.record"

    def __init__(self, connection: sqlite3.Connection, scope: memory.Scope, matrix: Matrix) -> None:
        super().__init__(scope, places=_PLACES)
        self._connection = connection
        self._matrix = matrix

    def is_free(self, record_id: str) -> bool:
        return not self._execute("SELECT 1 FROM revisions WHERE record_id = ? LIMIT 1", (record_id,))

    def add(self, entry: memory.HistoryEntry, vector: Sequence[float] | None) -> None:
        record = entry.record
        assert record is not None
        before = self._execute("SELECT revision_id FROM revisions WHERE record_id = ? AND is_last", (record.record_id,))
        self._execute("UPDATE revisions SET is_last = 0 WHERE record_id = ? AND is_last", (record.record_id,))
        found = memory.searchable(record)
        made = self._insert(entry, record.scope, record.model_dump_json(), found.casefold())
        words = " ".join(word.encode().hex() for word in memory.words(found))
        self._execute("INSERT INTO words (rowid, held) VALUES (?, ?)", (made, words))
        self._many("INSERT INTO tags (tag, revision_id) VALUES (?, ?)", [(tag, made) for tag in record.tags])
        facts = [(made, name, canonical(value).decode()) for name, value in record.metadata.items()]
        self._many("INSERT INTO metadata (revision_id, name, value) VALUES (?, ?, ?)", facts)
        sources = [(source, made) for source in dict.fromkeys(record.provenance.derived_from)]
        self._many("INSERT INTO sources (source_id, revision_id) VALUES (?, ?)", sources)
        if vector is not None:
            self._execute("INSERT INTO vectors VALUES (?, ?)", (made, array("f", vector).tobytes()))
        elif before:
            copied = "INSERT INTO vectors SELECT ?, vector FROM vectors WHERE revision_id = ?"
            self._execute(copied, (made, before[0][0]))

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
                self._insert(tomb, last.scope, None, None)
            self._matrix.drop(gone)
            self._erased += gone
            count += len(gone)
        return count

    def rank_words(self, seen: memory.Filter, terms: Sequence[str], *, limit: int) -> Sequence[memory.Found]:
        clauses = self._seen(seen)
        query = f"""SELECT r.record_id, -bm25(words) AS score, words.held FROM words
            JOIN revisions r ON r.revision_id = words.rowid WHERE words MATCH ? AND {clauses.text}
            ORDER BY score DESC, r.record_id LIMIT {limit:d}"""
        rows = self._execute(query, (_match(terms), *clauses.parameters))
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

    # -- the parts

    def _seen(self, seen: memory.Filter) -> Clauses:
        clauses = filtered(self._mine(), seen)
        if seen.tags_any:
            clauses.add_list(f"EXISTS ({_TAGGED} IN (…))", seen.tags_any)
        for tag in seen.tags_all:
            clauses.add(f"EXISTS ({_TAGGED} = ?)", tag)
        for name, value in (seen.metadata or {}).items():
            clauses.add(
                "EXISTS (SELECT 1 FROM metadata m WHERE m.revision_id = r.revision_id AND m.name = ? AND m.value = ?)",
                name,
                canonical(value).decode(),
            )
        if seen.text_contains is not None:
            clauses.add("instr(r.folded, ?) > 0", seen.text_contains)
        return clauses

    def _holding(self, clauses: Clauses, terms: Sequence[str]) -> Clauses:
        clauses.add("r.revision_id IN (SELECT rowid FROM words WHERE words MATCH ?)", _match(terms))
        return clauses

    def _insert(self, entry: memory.HistoryEntry, scope: memory.Scope, told: str | None, folded: str | None) -> int:
        """A row; its number."""
        made = self._connection.execute(_INSERT, (*columns(entry, scope), told, folded)).lastrowid
        assert made is not None
        return made

    def _execute(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return self._connection.execute(statement, parameters).fetchall()

    def _many(self, statement: str, rows: Sequence[Sequence[Parameter]]) -> None:
        self._connection.executemany(statement, rows)


def _match(terms: Sequence[str]) -> str:
    """Any of the terms, in the index's language: what is hexadecimal has no meaning in it."""
    return " OR ".join(f'"{term.encode().hex()}"' for term in terms)
