"""One result of what several providers answer, by the ranking and the pages that each of them has."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from interlock.memory.finding import Search
from interlock.memory.queries import DEFAULT_LIMIT, MAX_LIMIT, Order, Query, SearchMode
from interlock.memory.ranking import Found, ordered
from interlock.memory.records import Key, Record
from interlock.memory.results import RetrieveResult

Ask = Callable[[Query], Awaitable[RetrieveResult]]
"""One of the providers, for one scope."""

_After: TypeAlias = tuple[datetime, Key]

_SIGNALS: Final = {"text": "rank_words", "semantic": "rank_vectors"}


async def merged(search: Search, query: Query, asks: Sequence[Ask], *, near_misses: int) -> RetrieveResult:
    """Each record once, as the first provider has it that has it. What words and likeness found is ranked by the scores that the
    providers gave, which each counts by its own texts; of each provider at most the best 1,000 take part."""
    answers = [await (_ranked if query.is_search else _listed)(search, query, ask) for ask in asks]
    records: dict[Key, Record] = {}
    found: dict[str, dict[Key, Found]] = {name: {} for name in _SIGNALS}
    for answer in answers:
        for hit in (hit for result in answer for hit in result.hits):
            key = hit.record.key
            if records.setdefault(key, hit.record) is not hit.record:
                continue
            for signal in hit.signals:
                if signal.name in found:
                    terms = hit.matched_terms if signal.name == "text" else ()
                    found[signal.name][key] = Found(key=key, score=signal.score, terms=terms)
    total = await _total(query, asks) if query.exact_total else 0
    known = any(result.scope_known for answer in answers for result in answer)
    gathered: Any = _Gathered(records, found, known=known, total=total)
    by_likeness = query.mode in (SearchMode.SEMANTIC, SearchMode.HYBRID)
    return search.carry_out(gathered, (1.0,) if by_likeness else None, near_misses=near_misses)


class _Gathered:
    """The part of `Rows` that a search reads, of what was answered."""

    def __init__(
        self, records: Mapping[Key, Record], found: Mapping[str, Mapping[Key, Found]], *, known: bool, total: int
    ) -> None:
        self._records = records
        self._found = found
        self._known = known
        self._total = total

    def is_known(self) -> bool:
        return self._known

    def count(self, *_: object) -> int:
        return self._total

    def list_page(self, _: object, order: Order, *, after: _After | None, limit: int) -> Sequence[Record]:
        newest = order is Order.NEWEST
        behind = [each for each in self._records.values() if after is None or _is_behind(each, after, order)]
        return sorted(behind, key=lambda each: (each.observed_at, each.key.order), reverse=newest)[:limit]

    def rank_words(self, *_: object, limit: int) -> Sequence[Found]:
        return ordered(self._found["text"].values())[:limit]

    def rank_vectors(self, *_: object, limit: int) -> Sequence[Found]:
        return ordered(self._found["semantic"].values())[:limit]

    def fetch_seen(self, _: object, keys: Iterable[Key]) -> Mapping[Key, Record]:
        return {key: self._records[key] for key in keys}


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
    keys: set[Key] = set()
    by_likeness = query.mode in (SearchMode.SEMANTIC, SearchMode.HYBRID)
    all_of_it = _whole(query, MAX_LIMIT)
    if by_likeness:  # then all that the filters let through has a place in the ranking
        all_of_it = all_of_it.changed(text=None, vector=None, mode=None)
    for ask in asks:
        page = await ask(all_of_it)
        keys |= {record.key for record in page.records}
        while page.cursor is not None:
            page = await ask(all_of_it.changed(cursor=page.cursor))
            keys |= {record.key for record in page.records}
    return len(keys)


def _whole(query: Query, limit: int) -> Query:
    """What each is asked: nothing is cut but by all together."""
    return query.changed(limit=limit, cursor=None, min_score=None, token_budget=None, exact_total=False)


def _is_behind(record: Record, after: _After, order: Order) -> bool:
    place, begin = (record.observed_at, record.key.order), (after[0], after[1].order)
    return place < begin if order is Order.NEWEST else place > begin
