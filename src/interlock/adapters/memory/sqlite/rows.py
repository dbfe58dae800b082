"""`memory.Rows` in a SQLite file."""

import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from interlock import memory
from interlock.adapters.memory.clauses import WHOSE, Clauses, Parameter, filtered, within
from interlock.adapters.memory.rows import COLUMNS, TableRows, columns, key_of
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
_LISTED: Final = "(SELECT value FROM json_each(?))"
"""A list in one parameter, so that the statement is the same for each length, and is prepared once."""
_FIRST: Final = 2
"""Times the limit that are taken from the best of the whole file, before they are filtered. If too few of them remain, all is
filtered first, and then ranked: the answer is the same."""
_FEW: Final = 200
"""Vectors that are compared one by one rather than with all of the file."""


class SqliteRows(TableRows):
    """One transaction over the revisions that a scope covers."""

    mark: ClassVar[str] = "?"
    told: ClassVar[str] = "r.record"
    by_number: ClassVar[str] = "revisions r NOT INDEXED"
    """The planner would rather take an index of the tenant, and read all of it; here and below."""
    by_id: ClassVar[str] = "revisions r INDEXED BY revisions_by_record"
    by_successor: ClassVar[str | None] = "revisions r INDEXED BY revisions_by_successor"

    def __init__(self, connection: sqlite3.Connection, scope: memory.Scope, matrix: Matrix) -> None:
        super().__init__(scope, places=_PLACES)
        self._connection = connection
        self._matrix = matrix

    def add(self, entry: memory.HistoryEntry, vector: Sequence[float] | None) -> None:
        record = entry.record
        assert record is not None
        clauses = self._of(record.key)
        clauses.add("r.is_last")
        before = self._select("r.revision_id", clauses)
        self._execute(f"UPDATE revisions AS r SET is_last = 0 WHERE {clauses.text}", clauses.parameters)
        found = memory.searchable(record)
        made = self._insert(entry, record.scope, record.model_dump_json(), found.casefold())
        words = list(memory.words(found))
        tenant = self._tenant(record.scope) or self._new_tenant(record.scope)
        held = " ".join(_token(tenant, word) for word in words)
        self._execute("INSERT INTO words (rowid, held) VALUES (?, ?)", (made, held))
        self._count_in_scope(record.scope, 1, len(words))
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

    def erase(self, tombs: Mapping[memory.Key, memory.HistoryEntry]) -> int:
        count = 0
        for key, tomb in tombs.items():
            gone = [row[0] for row in self._select("r.revision_id", self._of(key))]
            self._count_in_scope(key.scope, -len(gone), -sum(map(len, self._held(gone).values())))
            for statement in ("DELETE FROM words WHERE rowid = ?", "DELETE FROM revisions WHERE revision_id = ?"):
                self._many(statement, [(each,) for each in gone])  # the rest goes with its revision
            self._insert(tomb, key.scope, None, None)
            self._matrix.drop(gone)
            self._erased += gone
            count += len(gone)
        return count

    def rank_words(self, seen: memory.Filter, terms: Sequence[str], *, limit: int) -> Sequence[memory.Found]:
        tenant = self._tenant(self._scope)
        if tenant is None:
            return ()
        tokens = {_token(tenant, term): term for term in terms}
        best = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        most = _FIRST * limit
        found = [row[0] for row in self._execute(best, (_any_of(tokens), most))]
        there = self._visible(seen, found, limit)
        if len(there) < limit and len(found) == most:  # the best of the tenant are of others in it, or filtered out
            clauses = self._seen(seen)
            query = f"""SELECT r.revision_id, r.record_id, {WHOSE} FROM words
                JOIN revisions r ON r.revision_id = words.rowid WHERE words MATCH ? AND {clauses.text}
                ORDER BY bm25(words), r.record_id LIMIT {limit:d}"""
            there = _keyed(self._execute(query, (_any_of(tokens), *clauses.parameters)))
            found = list(there)
        best_of = [each for each in found if each in there][:limit]
        return memory.ordered(self._scored({each: there[each] for each in best_of}, tokens))

    def rank_vectors(self, seen: memory.Filter, vector: Sequence[float], *, limit: int) -> Sequence[memory.Found]:
        wanted, clauses = f"r.revision_id, r.record_id, {WHOSE}", self._seen(seen)
        if not self._select("1", clauses, f"LIMIT 1 OFFSET {_FEW:d}"):
            return self._nearest(self._select(wanted, clauses), vector, limit)
        nearest, complete = self._matrix.nearest_of_all(self._connection, vector, _FIRST * limit)
        found = sorted(nearest, key=nearest.__getitem__, reverse=True)
        equals = sum(nearest[each] == nearest[found[limit - 1]] for each in found[limit:])
        there = self._visible(seen, found, limit + equals)
        if len(there) < limit and not complete:  # as above
            return self._nearest(self._select(wanted, clauses), vector, limit)
        return memory.ordered(memory.Found(key, nearest[each]) for each, key in there.items())[:limit]

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

    def _with_ids(self, clauses: Clauses, record_ids: Sequence[str]) -> list[memory.Record]:
        clauses.add_list("r.revision_id IN (SELECT revision_id FROM revisions WHERE record_id IN (…))", record_ids)
        return self._records(clauses, source=self.by_number)

    def _nearest(self, rows: Sequence[Any], vector: Sequence[float], limit: int) -> Sequence[memory.Found]:
        """The best of these, one by one."""
        best = self._matrix.nearest(self._connection, [row[0] for row in rows], vector, limit=limit)
        return memory.ordered(memory.Found(key=key_of(*rows[at][1:]), score=score) for at, score in best)

    def _visible(self, seen: memory.Filter, revision_ids: Sequence[int], enough: int) -> dict[int, memory.Key]:
        """Which of these the filter lets through, with their records. If it does all of the first so many, they are enough."""
        found: dict[int, memory.Key] = {}
        for part in (revision_ids[:enough], revision_ids[enough:]):
            if part and len(found) < enough:
                clauses = self._seen(seen)
                clauses.add(f"r.revision_id IN {_LISTED}", _numbers(part))
                found |= _keyed(self._select(f"r.revision_id, r.record_id, {WHOSE}", clauses, source=self.by_number))
        return found

    def _scored(self, there: Mapping[int, memory.Key], tokens: Mapping[str, str]) -> Iterable[memory.Found]:
        """These revisions by BM25, with what their own scope says of words: how long its texts are, and how many hold each."""
        texts, words = self._counted(self._scope)
        mean = words / texts if texts else 0.0
        is_all = self._counted(memory.Scope(tenant=self._scope.tenant))[0] == texts
        rarity = {token: memory.rarity(texts, self._holders(token, is_all=is_all)) for token in tokens}
        for revision_id, held in self._held(list(there)).items():
            counts = {token: count for token in tokens if (count := held.count(token))}
            score = memory.bm25(counts, len(held), mean=mean, rarity=rarity)
            yield memory.Found(there[revision_id], score, tuple([tokens[token] for token in counts]))

    def _holders(self, token: str, *, is_all: bool) -> int:
        """How many texts of the scope have this word; the scope may have all texts of the tenant, as the index counts."""
        if is_all:
            return next((row[0] for row in self._execute("SELECT doc FROM holding WHERE term = ?", (token,))), 0)
        clauses = self._mine()
        query = f"""SELECT count(*) FROM words JOIN revisions r ON r.revision_id = words.rowid
            WHERE words MATCH ? AND {clauses.text}"""
        return self._execute(query, (_any_of([token]), *clauses.parameters))[0][0]

    def _counted(self, scope: memory.Scope) -> tuple[int, int]:
        """How many texts there are in a scope, and how many words."""
        clauses = within(Clauses(self.mark), scope)
        query = f"SELECT coalesce(sum(texts), 0), coalesce(sum(words), 0) FROM counts r WHERE {clauses.text}"
        ((texts, words),) = self._execute(query, clauses.parameters)
        return texts, words

    def _count_in_scope(self, scope: memory.Scope, texts: int, words: int) -> None:
        added = "texts = texts + excluded.texts, words = words + excluded.words"
        self._execute(
            f"INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {added}",
            (*(part or "" for part in scope.parts), texts, words),
        )

    def _tenant(self, scope: memory.Scope) -> int | None:
        rows = self._execute("SELECT number FROM tenants WHERE tenant = ?", (scope.tenant,))
        return rows[0][0] if rows else None

    def _new_tenant(self, scope: memory.Scope) -> int:
        return self._execute("INSERT INTO tenants (tenant) VALUES (?) RETURNING number", (scope.tenant,))[0][0]

    def _held(self, revision_ids: Sequence[int]) -> dict[int, list[str]]:
        """The words of these, as they are indexed."""
        there = self._execute(f"SELECT rowid, held FROM words WHERE rowid IN {_LISTED}", (_numbers(revision_ids),))
        return {revision_id: held.split() for revision_id, held in there}

    def _holding(self, clauses: Clauses, terms: Sequence[str]) -> Clauses:
        tokens = [_token(self._tenant(self._scope) or 0, term) for term in terms]
        clauses.add("r.revision_id IN (SELECT rowid FROM words WHERE words MATCH ?)", _any_of(tokens))
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


def _keyed(rows: Sequence[Sequence[Any]]) -> dict[int, memory.Key]:
    """The records of revisions."""
    return {row[0]: key_of(*row[1:]) for row in rows}


def _token(tenant: int, word: str) -> str:
    """A word of a tenant, as it is indexed."""
    return f"{tenant}g{word.encode().hex()}"


def _any_of(tokens: Iterable[str]) -> str:
    """Any of them, in the index's language: what is hexadecimal has no meaning in it."""
    return " OR ".join(f'"{token}"' for token in tokens)


def _numbers(values: Sequence[int]) -> str:
    """These for `_LISTED`."""
    return f"[{','.join(map(str, values))}]"
