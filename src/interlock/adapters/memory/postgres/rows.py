"""`memory.Rows` in a Postgres database. Row-level security holds below all of it; the scope stands in each statement, too."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson

from interlock import memory
from interlock.adapters.memory.clauses import WHOSE, Clauses, exactly, filtered
from interlock.adapters.memory.postgres.links import Link
from interlock.adapters.memory.postgres.schema import scoped
from interlock.adapters.memory.rows import COLUMNS, TableRows, columns, key_of
from interlock.kernel import JSON, canonical

_INSERTED: Final = (*COLUMNS, "tags", "metadata", "words", "length")
_VALUES: Final = f"({', '.join(['%s'] * len(_INSERTED))})"
_INSERT: Final = f"INSERT INTO revisions ({', '.join(_INSERTED)}) VALUES {_VALUES}"
_ROWS: Final = 500
"""Of one statement: fewer values than Postgres takes."""
_SCOPE: Final = 'tenant, "user", agent, session'
_ADD: Final = f"""WITH made AS ({_INSERT} RETURNING revision_id, {_SCOPE}),
    told AS (INSERT INTO texts (revision_id, {_SCOPE}, record, folded) SELECT *, %s, %s FROM made)"""
_SOURCED: Final = f"""INSERT INTO sources (revision_id, {_SCOPE}, source_id)
    SELECT made.*, source_id FROM made, unnest(%s::text[]) AS source_id"""
_GIVEN: Final = f"INSERT INTO vectors (revision_id, {_SCOPE}, embedding) SELECT *, %s::vector FROM made"
_COPIED: Final = f"""INSERT INTO vectors (revision_id, {_SCOPE}, embedding)
    SELECT made.*, v.embedding FROM made, vectors v WHERE v.revision_id = %s"""


class PostgresRows(TableRows):
    """One transaction over the revisions that a scope covers."""

    mark: ClassVar[str] = "%s"
    told: ClassVar[str] = "t.record"
    source: ClassVar[str] = "revisions r LEFT JOIN texts t ON t.revision_id = r.revision_id"

    def __init__(self, link: Link, scope: memory.Scope, *, has_vectors: bool) -> None:
        super().__init__(scope, places=[(table, "revision_id") for table in scoped(has_vectors)])
        self._link = link
        self._has_vectors = has_vectors

    def add(self, entry: memory.HistoryEntry, vector: Sequence[float] | None) -> None:
        record = entry.record
        assert record is not None
        before = None
        if record.revision > 1:
            clauses = self._of(record.key)
            clauses.add("r.is_last")
            replaced = f"UPDATE revisions AS r SET is_last = FALSE WHERE {clauses.text} RETURNING r.revision_id"
            ((before,),) = self._execute(replaced, clauses.parameters)
        found = memory.searchable(record)
        words = Counter(memory.words(found))
        indexed = [list(record.tags), _facts(record.metadata), orjson.dumps(words).decode(), words.total()]
        parameters = [*columns(entry, record.scope), *indexed, record.model_dump_json(), found.casefold()]
        statement = _ADD
        if sources := list(dict.fromkeys(record.provenance.derived_from)):
            statement += f", sourced AS ({_SOURCED})"
            parameters.append(sources)
        if vector is None and before is not None and self._has_vectors:
            self._execute(f"{statement} {_COPIED}", [*parameters, before])
        elif vector is not None and any(vector):
            self._execute(f"{statement} {_GIVEN}", [*parameters, _vector(vector)])
        else:
            self._execute(f"{statement} SELECT 1 FROM made", parameters)

    def erase(self, tombs: Mapping[memory.Key, memory.HistoryEntry]) -> int:
        of_scopes: defaultdict[memory.Scope, list[str]] = defaultdict(list)
        for key in tombs:
            of_scopes[key.scope].append(key.record_id)
        gone: list[int] = []
        for scope, record_ids in of_scopes.items():
            clauses = exactly(self._mine(), scope)
            clauses.add("r.record_id = ANY(?)", record_ids)
            erased = f"DELETE FROM revisions r WHERE {clauses.text} RETURNING r.revision_id"
            gone += [row[0] for row in self._execute(erased, clauses.parameters)]  # the rest goes with its revision
        left = [[*columns(tomb, key.scope), *(None,) * 4] for key, tomb in tombs.items()]
        for at in range(0, len(left), _ROWS):
            rows = left[at : at + _ROWS]
            more = f", {_VALUES}" * (len(rows) - 1)
            self._execute(f"{_INSERT}{more}", [value for row in rows for value in row])
        self._erased += gone
        return len(gone)

    def rank_words(self, seen: memory.Filter, terms: Sequence[str], *, limit: int) -> Sequence[memory.Found]:
        clauses = self._seen(seen)
        counts = ", ".join(["count(r.words -> %s::text)"] * len(terms))
        query = f"SELECT count(*), avg(r.length)::float8, {counts} FROM revisions r WHERE {clauses.text}"
        total, mean, *holding = self._execute(query, [*terms, *clauses.parameters])[0]
        rarity = {term: memory.rarity(total, count) for term, count in zip(terms, holding, strict=True) if count}
        if not rarity:
            return ()
        self._holding(clauses, list(rarity))
        score = _bm25(rarity.values(), mean)
        query = f"""SELECT best.record_id, {WHOSE}, best.score,
                ARRAY(SELECT term FROM unnest(%s::text[]) AS term WHERE jsonb_exists(r.words, term))
            FROM ({_best(f"SELECT r.revision_id, r.record_id, {score} AS score FROM revisions r", clauses, limit)}) AS best
            JOIN revisions r ON r.revision_id = best.revision_id"""
        rows = self._execute(query, [list(rarity), *rarity, *clauses.parameters])
        return memory.ordered(
            memory.Found(key=key_of(*key), score=score, terms=tuple(held)) for *key, score, held in rows
        )

    def rank_vectors(self, seen: memory.Filter, vector: Sequence[float], *, limit: int) -> Sequence[memory.Found]:
        clauses = self._seen(seen)
        compared = """SELECT r.revision_id, r.record_id, -(v.embedding <#> %s::vector) AS score
            FROM revisions r JOIN vectors v ON v.revision_id = r.revision_id"""
        query = f"""SELECT best.record_id, {WHOSE}, best.score FROM ({_best(compared, clauses, limit)}) AS best
            JOIN revisions r ON r.revision_id = best.revision_id"""
        rows = self._execute(query, [_vector(vector), *clauses.parameters])
        return memory.ordered(memory.Found(key=key_of(*key), score=score) for *key, score in rows)

    # -- the parts

    def _seen(self, seen: memory.Filter) -> Clauses:
        clauses = filtered(self._mine(), seen)
        if seen.tags_any:
            clauses.add("r.tags && ?::text[]", list(seen.tags_any))
        if seen.tags_all:
            clauses.add("r.tags @> ?::text[]", list(seen.tags_all))
        if seen.metadata:
            clauses.add("r.metadata @> ?::jsonb", _facts(seen.metadata))
        if seen.text_contains is not None:
            said = "SELECT 1 FROM texts s WHERE s.revision_id = r.revision_id AND strpos(s.folded, ?) > 0"
            clauses.add(f"EXISTS ({said})", seen.text_contains)
        return clauses

    def _holding(self, clauses: Clauses, terms: Sequence[str]) -> Clauses:
        clauses.add("jsonb_exists_any(r.words, ?::text[])", list(terms))
        return clauses

    def _execute(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return self._link.rows(statement, parameters)


def _best(scored: str, clauses: Clauses, limit: int) -> str:
    """The best of those that the clauses let through. They are sorted by what was computed, and carry nothing else along."""
    narrow = f"{scored} WHERE {clauses.text} OFFSET 0"
    return f"SELECT * FROM ({narrow}) AS scored ORDER BY score DESC, record_id LIMIT {limit:d}"


def _bm25(rarities: Iterable[float], mean: float) -> str:
    """`memory.bm25` in SQL; each term is a parameter."""
    k1, b = memory.BM25_K1, memory.BM25_B
    norm = f"({k1 * (1 - b)!r}::float8 + {k1 * b / (mean or 1)!r}::float8 * r.length)"
    best = ((k1 + 1) * rarity for rarity in rarities)
    return " + ".join(
        f"coalesce({score!r}::float8 / (1 + {norm} / (r.words -> %s::text)::float8), 0)" for score in best
    )


def _vector(vector: Sequence[float]) -> str:
    """A vector as its type is written; what is smaller than a number of four bytes is 0."""
    return f"[{','.join(map(repr, array('f', vector)))}]"


def _facts(metadata: Mapping[str, JSON]) -> str:
    """Of each member its canonical JSON: two that look alike to the database, like 1 and 1.0, differ or not by our rule."""
    return orjson.dumps({name: canonical(value).decode() for name, value in metadata.items()}).decode()
