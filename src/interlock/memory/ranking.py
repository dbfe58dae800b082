"""From what each signal found to one ranking, and the reason of each place in it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, TypeVar

from interlock.memory.queries import Query, SearchMode
from interlock.memory.records import Key, Record
from interlock.memory.results import Signal

FUSION_K: Final = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

BM25_K1: Final = 1.2
BM25_B: Final = 0.75
"""As most engines have them."""


class Found(NamedTuple):
    """What one signal says of one record."""

    key: Key
    score: float
    terms: tuple[str, ...] = ()


class Ranked(NamedTuple):
    """A record with its place's reason."""

    key: Key
    score: float
    says: Sequence[tuple[str, int, Found, float]]
    """Of each signal its name, the rank, what it found, and the contribution."""

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The same as values, which few of those that are ranked need."""
        return tuple(
            Signal.model_construct(name=name, rank=rank, score=hit.score, contribution=part)
            for name, rank, hit, part in self.says
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """The words of the query that are in it."""
        return next((hit.terms for _, _, hit, _ in self.says if hit.terms), ())


_Scored = TypeVar("_Scored", Found, Ranked)
_score: Final = attrgetter("score")


def bm25(frequencies: Mapping[str, int], length: int, *, mean: float, rarity: Mapping[str, float]) -> float:
    """The score of a text of so many words, in which the terms occur that often, among texts of that mean length."""
    norm = BM25_K1 * (1 - BM25_B + BM25_B * (length / mean if mean else 1.0))
    return math.fsum(
        [rarity[term] * count * (BM25_K1 + 1) / (count + norm) for term, count in frequencies.items() if count]
    )


def rarity(total: int, holding: int) -> float:
    """What a term counts that is in so many of all texts; more than 0 even if it is in each."""
    return math.log(1 + (total - holding + 0.5) / (holding + 0.5))


def ordered(found: Iterable[_Scored]) -> list[_Scored]:
    """Best first; of equals the smaller key."""
    ranked: list[_Scored] = []
    for _, equals in groupby(sorted(found, key=_score, reverse=True), _score):
        same = list(equals)
        ranked += same if len(same) == 1 else sorted(same, key=lambda each: each.key.order)
    return ranked


def fuse(query: Query, found: Mapping[str, Sequence[Found]], records: Mapping[Key, Record]) -> list[Ranked]:
    """One ranking of the union of what the signals found. In the mode hybrid, or where age or importance counts, by reciprocal
    rank fusion, as a share of the best that could be; else by the one signal's own score. The records are those that were
    found, where `reads_records`; else they may be left out."""
    weights = _weights(query)
    lists = {name: list(each) for name, each in found.items() if name in weights}
    lists |= {name: _own(name, records) for name in ("recency", "importance") if weights.get(name)}
    fused = query.mode is SearchMode.HYBRID or len(lists) > 1
    best = math.fsum(weights[name] for name in lists) / (FUSION_K + 1)
    says: dict[Key, list[tuple[str, int, Found, float]]] = {}
    for name, hits in lists.items():
        for rank, hit in enumerate(hits, start=1):
            part = weights[name] / (FUSION_K + rank) / best if fused and best else hit.score
            says.setdefault(hit.key, []).append((name, rank, hit, part))
    return ordered(Ranked(key, math.fsum([each[3] for each in said]), said) for key, said in says.items())


def reads_records(query: Query) -> bool:
    """Whether what the records say themselves counts: age or importance."""
    return not _weights(query).keys().isdisjoint(("recency", "importance"))


def rule(query: Query) -> str:
    """The fusion in words."""
    weights = _weights(query)
    if query.mode is SearchMode.HYBRID or len(weights) > 1:
        parts = " + ".join(f"{weight:g}/({FUSION_K}+rank by {name})" for name, weight in weights.items())
        return f"reciprocal rank fusion: {parts}, as a share of the best that could be"
    return "BM25" if "text" in weights else "cosine"


def tokens(text: str | None) -> int:
    """About how many tokens a text has: one for each four characters that have begun."""
    return -(-len(text or "") // 4)


def _weights(query: Query) -> dict[str, float]:
    """What each signal counts that takes part."""
    given: dict[str, float] = dict((query.weights or {}).items())
    modes = {
        SearchMode.TEXT: ("text",),
        SearchMode.SEMANTIC: ("semantic",),
        SearchMode.HYBRID: ("text", "semantic") if query.text is not None else ("semantic",),
    }
    searched = {name: given.get(name, 1.0) for name in modes[query.mode or SearchMode.TEXT]}
    return searched | {name: given[name] for name in ("recency", "importance") if given.get(name)}


def _own(name: str, records: Mapping[Key, Record]) -> list[Found]:
    """What the records themselves say."""
    return ordered(
        Found(
            key=key,
            score=record.importance if name == "importance" else record.observed_at.timestamp(),
        )
        for key, record in records.items()
    )
