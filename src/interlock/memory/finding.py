"""Carrying out a query on the rows of one scope, and saying how."""

import base64
import binascii
import math
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Final, Literal, NamedTuple

import orjson

from interlock.kernel import digest, from_micros, to_micros
from interlock.memory import ranking
from interlock.memory.embedding import Embedder, Vector, checked, given
from interlock.memory.errors import InvalidInput
from interlock.memory.queries import DEFAULT_LIMIT, Query, SearchMode
from interlock.memory.ranking import Found, Ranked
from interlock.memory.records import Key, Record
from interlock.memory.results import Explanation, Hit, NearMiss, RetrieveResult
from interlock.memory.rows import Filter, Rows
from interlock.memory.scope import DIMENSIONS, Scope
from interlock.memory.words import sought

FEWEST: Final = 100
"""Candidates that each signal is asked for at least."""

UNLIKE: Final = 0.05
"""The cosine up to which two texts are not alike at all. Where ranks are fused, the nearest of what is far would be told as half
of the best that could be."""

DEEPEST: Final = 10_000
"""The last rank that pages lead to."""

_OF_A_PAGE: Final = {"cursor", "limit", "exact_total", "token_budget"}

_Cut = Literal["min_score", "limit", "token_budget"]


class _Place(NamedTuple):
    """Where a page begins: behind so many hits, or behind a record."""

    offset: int = 0
    after: tuple[datetime, Key] | None = None


class Search:
    """One query, with every option filled in."""

    def __init__(self, provider: str, scope: Scope, query: Query, *, now: datetime, embedder: Embedder | None) -> None:
        """Raises InvalidInput for a cursor that is none of this query."""
        self._provider = provider
        self._scope = scope
        self._query = query
        self._embedder = embedder
        self._limit = query.limit or DEFAULT_LIMIT
        self._terms = sought(query.text or "") if query.mode is not SearchMode.SEMANTIC else ()
        self.seen = Filter.of(query, now)
        self._place = self._begin()

    @property
    def most(self) -> int:
        """How many candidates each signal is asked for."""
        return max(FEWEST, 4 * (self._place.offset + self._limit))

    @property
    def after(self) -> tuple[datetime, Key] | None:
        """Behind which record a list goes on."""
        return self._place.after

    async def vector(self) -> Vector | None:
        """What is searched by, where vectors are. Raises InvalidInput."""
        if self._query.mode in (None, SearchMode.TEXT):
            return None
        if self._embedder is None:
            raise InvalidInput("this memory was opened without embeddings; search in the mode text")
        if self._query.vector is not None:
            return given(self._query.vector, self._embedder)
        return checked(await self._embedder.embed([self._query.text or ""]), self._embedder, 1)[0]

    def carry_out(self, rows: Rows, vector: Vector | None, *, near_misses: int) -> RetrieveResult:
        """The result, in one transaction."""
        if self._query.mode is None:
            return self._list(rows)
        return self._rank(rows, vector, near_misses)

    def _list(self, rows: Rows) -> RetrieveResult:
        after, limit = self._place.after, self._limit
        page = list(rows.list_page(self.seen, self._query.order, after=after, limit=limit + 1))
        kept = page[: min(limit, _fitting(page, self._query))]
        first = self._place.offset + 1
        hits = [Hit(record=record, rank=first + at) for at, record in enumerate(kept)]
        more = len(kept) < len(page) and bool(kept)
        cursor = self._cursor(self._place.offset + len(kept), kept[-1]) if more else None
        return self._result(rows, hits, Explanation(mode=None, filters=self.seen.words(self._scope)), cursor, None)

    def _rank(self, rows: Rows, vector: Vector | None, near_misses: int) -> RetrieveResult:
        most = self.most
        found: dict[str, Sequence[Found]] = {}
        if self._query.mode is not SearchMode.SEMANTIC and self._query.text is not None:
            found["text"] = rows.rank_words(self.seen, self._terms, limit=most) if self._terms else ()
        if vector is not None:
            near = rows.rank_vectors(self.seen, vector, limit=most) if any(vector) else ()
            fused = self._query.mode is SearchMode.HYBRID
            found["semantic"] = [hit for hit in near if hit.score > UNLIKE] if fused else near
        records: dict[Key, Record] = {}
        if ranking.reads_records(self._query):
            records.update(rows.fetch_seen(self.seen, {hit.key for hits in found.values() for hit in hits}))
        good, bad = _split(ranking.fuse(self._query, found, records), self._query.min_score)
        page, rest = _cut(good, self._place.offset, self._limit)
        records.update(rows.fetch_seen(self.seen, {each.key for each in page} - records.keys()))
        kept = page[: _fitting([records[each.key] for each in page], self._query)]
        dear, rest = ([*page[len(kept) :], *rest], []) if len(kept) < len(page) else ([], rest)
        first = self._place.offset + 1
        hits = [
            Hit(
                record=records[each.key],
                rank=first + at,
                score=each.score,
                signals=each.signals,
                matched_terms=each.terms,
            )
            for at, each in enumerate(kept)
        ]
        cuts: list[tuple[_Cut, list[Ranked]]] = [("limit", rest), ("token_budget", dear), ("min_score", bad)]
        missed = (
            NearMiss(record_id=each.key.record_id, score=each.score, reason=reason)
            for reason, cut in cuts
            for each in cut
        )
        explanation = Explanation(
            mode=self._query.mode,
            terms=self._terms,
            filters=self.seen.words(self._scope),
            candidates={name: len(hits) for name, hits in found.items()},
            fusion=ranking.rule(self._query),
            near_misses=tuple(islice(missed, near_misses)),
        )
        end = self._place.offset + len(kept)
        cursor = self._cursor(end, None) if (rest or dear) and kept and end < DEEPEST else None
        return self._result(rows, hits, explanation, cursor, self._terms if vector is None else None)

    def _result(
        self,
        rows: Rows,
        hits: Sequence[Hit],
        explanation: Explanation,
        cursor: str | None,
        counted: Sequence[str] | None,
    ) -> RetrieveResult:
        return RetrieveResult(
            hits=tuple(hits),
            query=self._query,
            scope=self._scope,
            provider=self._provider,
            explanation=explanation,
            scope_known=bool(hits) or rows.is_known(),
            cursor=cursor,
            total=rows.count(self.seen, counted) if self._query.exact_total else None,
        )

    # -- pages

    def _about(self) -> str:
        """What makes it the same query, whatever the page and its size."""
        same = self._query.model_dump(mode="json", exclude=_OF_A_PAGE, exclude_defaults=True)
        return digest([same, *self._scope.parts])[7:23]

    def _cursor(self, offset: int, last: Record | None) -> str:
        place = [] if last is None else [to_micros(last.observed_at), last.record_id, *last.scope.parts]
        return base64.urlsafe_b64encode(orjson.dumps([self._about(), offset, *place])).decode().rstrip("=")

    def _begin(self) -> _Place:
        if self._query.cursor is None:
            return _Place()
        try:
            raw = base64.urlsafe_b64decode(self._query.cursor + "=" * (-len(self._query.cursor) % 4))
            about, offset, *place = orjson.loads(raw)
            if about == self._about() and isinstance(offset, int) and 0 < offset <= DEEPEST * 1_000:
                if not place and self._query.mode is not None and offset < DEEPEST:
                    return _Place(offset)
                if self._query.mode is None:
                    micros, record_id, *parts = place
                    scope = Scope.of(**dict(zip(DIMENSIONS, parts, strict=True)))
                    return _Place(offset, (from_micros(micros), Key(str(record_id), scope)))
        except (InvalidInput, ValueError, TypeError, OverflowError, binascii.Error):
            pass
        raise InvalidInput(
            "the cursor is not one of this query", next_step="Repeat the query without it; its pages begin anew."
        )


def _split(ranked: list[Ranked], least: float | None) -> tuple[list[Ranked], list[Ranked]]:
    if least is None:
        return ranked, []
    return [each for each in ranked if each.score >= least], [each for each in ranked if each.score < least]


def _cut(ranked: list[Ranked], offset: int, limit: int) -> tuple[list[Ranked], list[Ranked]]:
    return ranked[offset : offset + limit], ranked[offset + limit :]


def _fitting(records: Sequence[Record], query: Query) -> int:
    """How many of these have texts that fit into the budget, up to the first that does not."""
    left = math.inf if query.token_budget is None else query.token_budget
    for at, record in enumerate(records):
        left -= ranking.tokens(record.text)
        if left < 0:
            return at
    return len(records)
