"""`Rows` over dictionaries: plain enough to be what every storage is held against."""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from interlock.memory.queries import Order
from interlock.memory.ranking import Found, bm25, ordered, rarity
from interlock.memory.records import Record
from interlock.memory.results import HistoryEntry
from interlock.memory.rows import Filter, searchable
from interlock.memory.scope import Scope
from interlock.memory.words import words


@dataclass(frozen=True)
class Kept:
    """A revision, or what is left of one."""

    scope: Scope
    entry: HistoryEntry
    vector: Sequence[float] | None = None

    @cached_property
    def words(self) -> Counter[str]:
        """What it is searched by."""
        return Counter(words(searchable(self.record)))

    @property
    def record(self) -> Record:
        assert self.entry.record is not None
        return self.entry.record


class DictRows:
    """`Rows`: the revisions that a scope covers. What it hands out is the caller's own."""

    def __init__(self, kept: dict[str, tuple[Kept, ...]], scope: Scope) -> None:
        self._kept = kept
        self._scope = scope

    def is_known(self) -> bool:
        return any(self._scope.covers(revisions[0].scope) for revisions in self._kept.values())

    def is_free(self, record_id: str) -> bool:
        return record_id not in self._kept

    def find_last(self, record_id: str) -> Record | None:
        last = self._last(record_id)
        return None if last is None else copy.deepcopy(last.record)

    def find_key(self, scope: Scope, idempotency_key: str) -> Record | None:
        for last in self._lasts():
            if last.scope == scope and last.record.idempotency_key == idempotency_key:
                return copy.deepcopy(last.record)
        return None

    def find_digest(self, scope: Scope, digest: str, *, now: datetime) -> Record | None:
        seen = Filter(now=now)
        same = [
            last.record
            for last in self._lasts()
            if last.scope == scope and last.entry.digest == digest and seen.holds(last.record)
        ]
        return copy.deepcopy(min(same, key=lambda record: record.record_id)) if same else None

    def add(self, entry: HistoryEntry, vector: Sequence[float] | None) -> None:
        record = copy.deepcopy(entry.record)
        assert record is not None
        assert self._scope.covers(record.scope)
        revisions = self._kept.get(record.record_id, ())
        if vector is None and revisions:
            vector = revisions[-1].vector
        entry = entry.model_copy(update={"record": record})
        self._kept[record.record_id] = (*revisions, Kept(record.scope, entry, vector))

    def end(self, record_id: str, revision: int, *, at: datetime, by: str | None) -> None:
        def ended(kept: Kept) -> Kept:
            if kept.entry.revision != revision:
                return kept
            record = kept.record.model_copy(update={"superseded_at": at, "superseded_by": by})
            return replace(kept, entry=kept.entry.model_copy(update={"record": record}))

        self._kept[record_id] = tuple(ended(kept) for kept in self._revisions(record_id))

    def list_ids(self, *, after: str | None, limit: int, now: datetime) -> Sequence[str]:
        there = (
            last.record.record_id
            for last in self._lasts()
            if last.record.expires_at is None or last.record.expires_at > now
        )
        return sorted(each for each in there if each > (after or ""))[:limit]

    def list_history(self, record_id: str) -> Sequence[HistoryEntry]:
        return [copy.deepcopy(kept.entry) for kept in self._revisions(record_id)]

    def list_changed(self, change_id: str) -> Sequence[HistoryEntry]:
        return [copy.deepcopy(kept.entry) for kept in self._all() if kept.entry.change_id == change_id]

    def list_derived(self, record_ids: Iterable[str]) -> Sequence[str]:
        sources = set(record_ids)
        return sorted(
            last.record.record_id
            for last in self._lasts()
            if not sources.isdisjoint(last.record.provenance.derived_from)
        )

    def list_replaced(self, record_ids: Iterable[str]) -> Sequence[Record]:
        by = set(record_ids)
        return [copy.deepcopy(last.record) for last in self._lasts() if last.record.superseded_by in by]

    def list_expired(self, *, now: datetime, limit: int) -> Sequence[str]:
        expired = (
            last.record.record_id
            for last in self._lasts()
            if last.record.expires_at is not None and last.record.expires_at <= now
        )
        return sorted(expired)[:limit]

    def erase(self, tombs: Sequence[HistoryEntry]) -> int:
        count = 0
        for tomb in tombs:
            revisions = self._revisions(tomb.record_id)
            count += len(revisions)
            self._kept[tomb.record_id] = (Kept(revisions[-1].scope, tomb),)
        return count

    def count_traces(self, record_ids: Iterable[str]) -> int:
        gone = set(record_ids)
        return sum(
            (kept.entry.record is not None and kept.entry.record_id in gone)
            or (kept.entry.record is not None and not gone.isdisjoint(kept.record.provenance.derived_from))
            for kept in self._all()
        )

    def list_page(
        self, seen: Filter, order: Order, *, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Record]:
        newest = order is Order.NEWEST
        places = [((kept.record.observed_at, kept.record.record_id), kept.record) for kept in self._seen(seen)]
        places.sort(key=lambda each: each[0], reverse=newest)
        behind = [record for place, record in places if after is None or (place < after if newest else place > after)]
        return copy.deepcopy(behind[:limit])

    def count(self, seen: Filter, terms: Sequence[str] | None) -> int:
        return sum(terms is None or any(term in kept.words for term in terms) for kept in self._seen(seen))

    def rank_words(self, seen: Filter, terms: Sequence[str], *, limit: int) -> Sequence[Found]:
        there = self._seen(seen)
        mean = sum(kept.words.total() for kept in there) / len(there) if there else 0.0
        rare = {term: rarity(len(there), sum(term in kept.words for kept in there)) for term in terms}
        found: list[Found] = []
        for kept in there:
            held = {term: kept.words[term] for term in terms if term in kept.words}
            if held:
                score = bm25(held, kept.words.total(), mean=mean, rarity=rare)
                found.append(Found(record_id=kept.entry.record_id, score=score, terms=tuple(held)))
        return ordered(found)[:limit]

    def rank_vectors(self, seen: Filter, vector: Sequence[float], *, limit: int) -> Sequence[Found]:
        found = [
            Found(record_id=kept.entry.record_id, score=_cosine(kept.vector, vector))
            for kept in self._seen(seen)
            if kept.vector is not None and any(kept.vector)
        ]
        return ordered(found)[:limit]

    def fetch_seen(self, seen: Filter, record_ids: Iterable[str]) -> Mapping[str, Record]:
        wanted = set(record_ids)
        there = (kept for record_id in wanted for kept in self._revisions(record_id) if kept.entry.record is not None)
        return {kept.entry.record_id: copy.deepcopy(kept.record) for kept in there if seen.holds(kept.record)}

    # -- the parts

    def _revisions(self, record_id: str) -> tuple[Kept, ...]:
        revisions = self._kept.get(record_id, ())
        return revisions if revisions and self._scope.covers(revisions[0].scope) else ()

    def _all(self) -> list[Kept]:
        return [kept for record_id in self._kept for kept in self._revisions(record_id)]

    def _last(self, record_id: str) -> Kept | None:
        revisions = self._revisions(record_id)
        return revisions[-1] if revisions and revisions[-1].entry.record is not None else None

    def _lasts(self) -> list[Kept]:
        return [last for record_id in self._kept if (last := self._last(record_id)) is not None]

    def _seen(self, seen: Filter) -> list[Kept]:
        return [kept for kept in self._all() if kept.entry.record is not None and seen.holds(kept.record)]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors of length 1."""
    return sum(map(float.__mul__, one, other))
