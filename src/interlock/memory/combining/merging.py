"""One result of what several providers answer, by the ranking and the pages that each of them has."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from interlock.memory.finding import Search
from interlock.memory.queries import DEFAULT_LIMIT, MAX_LIMIT, Order, Query, SearchMode
from interlock.memory.ranking import Found, ordered
from interlock.memory.records import Record
from interlock.memory.results import RetrieveResult

Ask = Callable[[Query], Awaitable[RetrieveResult]]
"""One of the providers, for one scope."""

_SIGNALS: Final = {"text": "rank_words", "semantic": "rank_vectors"}


async def merged(search: Search, query: Query, asks: Sequence[Ask], *, near_misses: int) -> RetrieveResult:
    """Each record once, as the first provider has it that has it. What words and likeness found is ranked by the scores that the
    providers gave, which each counts by its own texts; of each provider at most the best 1,000 take part."""
    answers = [await (_ranked if query.is_search else _listed)(search, query, ask) for ask in asks]
    records: dict[str, Record] = {}
    found: dict[str, dict[str, Found]] = {name: {} for name in _SIGNALS}
    for answer in answers:
        for hit in (hit for result in answer for hit in result.hits):
            record_id = hit.record.record_id
            if records.setdefault(record_id, hit.record) is not hit.record:
                continue
            for signal in hit.signals:
                if signal.name in found:
                    terms = hit.matched_terms if signal.name == "text" else ()
                    found[signal.name][record_id] = Found(record_id=record_id, score=signal.score, terms=terms)
    total = await _total(query, asks) if query.exact_total else 0
    known = any(result.scope_known for answer in answers for result in answer)
    gathered: Any = _Gathered(records, found, known=known, total=total)
    by_likeness = query.mode in (SearchMode.SEMANTIC, SearchMode.HYBRID)
    return search.carry_out(gathered, (1.0,) if by_likeness else None, near_misses=near_misses)


class _Gathered:
    """The part of `Rows` that a search reads, of what was answered."""

    def __init__(
        self, records: Mapping[str, Record], found: Mapping[str, Mapping[str, Found]], *, known: bool, total: int
    ) -> None:
        self._records = records
        self._found = found
        self._known = known
        self._total = total

    def is_known(self) -> bool:
        return self._known

    def count(self, *_: object) -> int:
        return self._total

    def list_page(self, _: object, order: Order, *, after: tuple[Any, str] | None, limit: int) -> Sequence[Record]:
        newest = order is Order.NEWEST
        places = [((record.observed_at, record.record_id), record) for record in self._records.values()]
        behind = [each for each in places if after is None or (each[0] < after if newest else each[0] > after)]
        return [record for _, record in sorted(behind, key=lambda each: each[0], reverse=newest)[:limit]]

    def rank_words(self, *_: object, limit: int) -> Sequence[Found]:
        return ordered(self._found["text"].values())[:limit]

    def rank_vectors(self, *_: object, limit: int) -> Sequence[Found]:
        return ordered(self._found["semantic"].values())[:limit]

    def fetch_seen(self, _: object, record_ids: Iterable[str]) -> Mapping[str, Record]:
        return {record_id: self._records[record_id] for record_id in record_ids}


async def _ranked(search: Search, query: Query, ask: Ask) -> list[RetrieveResult]:
    return [await ask(_whole(query, min(MAX_LIMIT, search.most)))]


async def _listed(search: Search, query: Query, ask: Ask) -> list[RetrieveResult]:
    """As many pages as it takes to have one behind the place where this one begins."""
    wanted = (query.limit or DEFAULT_LIMIT) + 1
    asked, after = _whole(query, min(MAX_LIMIT, wanted)), search.after
    if after is not None:
        asked = asked.changed(**{"until" if query.order is Order.NEWEST else "since": after[0]})
    pages: list[RetrieveResult] = []
    behind = 0
    while True:
        pages.append(page := await ask(asked))
        behind += sum(after is None or _is_behind(record, after, query.order) for record in page.records)
        if page.cursor is None or behind >= wanted:
            return pages
        asked = asked.changed(cursor=page.cursor)


async def _total(query: Query, asks: Sequence[Ask]) -> int:
    """Exact also where providers have the same records: then all of them are looked at."""
    counted = _whole(query, 1).changed(exact_total=True)
    totals = [(await ask(counted)).total or 0 for ask in asks]
    if sum(map(bool, totals)) <= 1:
        return sum(totals)
    ids: set[str] = set()
    by_likeness = query.mode in (SearchMode.SEMANTIC, SearchMode.HYBRID)
    all_of_it = _whole(query, MAX_LIMIT)
    if by_likeness:  # then all that the filters let through has a place in the ranking
        all_of_it = all_of_it.changed(text=None, vector=None, mode=None)
    for ask in asks:
        page = await ask(all_of_it)
        ids |= {record.record_id for record in page.records}
        while page.cursor is not None:
            page = await ask(all_of_it.changed(cursor=page.cursor))
            ids |= {record.record_id for record in page.records}
    return len(ids)


def _whole(query: Query, limit: int) -> Query:
    """What each is asked: nothing is cut but by all together."""
    return query.changed(limit=limit, cursor=None, min_score=None, token_budget=None, exact_total=False)


def _is_behind(record: Record, after: tuple[Any, str], order: Order) -> bool:
    place = (record.observed_at, record.record_id)
    return place < after if order is Order.NEWEST else place > after
