"""`Rows` over dictionaries: plain enough to be what every storage is held against."""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from interlock.memory.queries import Order
from interlock.memory.ranking import Found, bm25, ordered, rarity
from interlock.memory.records import Key, Record
from interlock.memory.results import HistoryEntry
from interlock.memory.rows import Filter, Link, searchable
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
    def key(self) -> Key:
        """Of which record."""
        return Key(self.entry.record_id, self.scope)

    @property
    def record(self) -> Record:
        assert self.entry.record is not None
        return self.entry.record


class DictRows:
    """`Rows`: the revisions that a scope covers. What it hands out is the caller's own."""

    def __init__(self, kept: dict[Key, tuple[Kept, ...]], scope: Scope) -> None:
        self._kept = kept
        self._scope = scope

    def is_known(self) -> bool:
        return any(self._scope.covers(key.scope) for key in self._kept)

    def list_scopes(self, scope: Scope, record_id: str, *, limit: int) -> Sequence[Scope]:
        there = [
            key
            for key in self._kept
            if key.record_id == record_id and self._scope.covers(key.scope) and scope.covers(key.scope)
        ]
        return [key.scope for key in sorted(there, key=lambda key: key.order)[:limit]]

    def find_last(self, key: Key) -> Record | None:
        last = self._last(key)
        return None if last is None else copy.deepcopy(last.record)

    def fetch_lasts(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        return {key: last for key in keys if (last := self.find_last(key)) is not None}

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
        revisions = self._kept.get(record.key, ())
        if vector is None and revisions:
            vector = revisions[-1].vector
        entry = entry.model_copy(update={"record": record})
        self._kept[record.key] = (*revisions, Kept(record.scope, entry, vector))

    def end(self, key: Key, revision: int, *, at: datetime, by: str | None) -> None:
        def ended(kept: Kept) -> Kept:
            if kept.entry.revision != revision:
                return kept
            record = kept.record.model_copy(update={"superseded_at": at, "superseded_by": by})
            return replace(kept, entry=kept.entry.model_copy(update={"record": record}))

        self._kept[key] = tuple(ended(kept) for kept in self._revisions(key))

    def list_keys(self, *, after: str | None, limit: int, now: datetime) -> Sequence[Key]:
        there = [
            last.key
            for last in self._lasts()
            if (last.record.expires_at is None or last.record.expires_at > now)
            and last.record.record_id > (after or "")
        ]
        ids = set(sorted({key.record_id for key in there})[:limit])
        return sorted((key for key in there if key.record_id in ids), key=lambda key: key.order)

    def list_history(self, key: Key) -> Sequence[HistoryEntry]:
        return [copy.deepcopy(kept.entry) for kept in self._revisions(key)]

    def list_changed(self, change_id: str) -> Sequence[HistoryEntry]:
        return [copy.deepcopy(kept.entry) for kept in self._all() if kept.entry.change_id == change_id]

    def list_derived(self, record_ids: Iterable[str], *, ever: bool = False) -> Sequence[Link]:
        sources = set(record_ids)
        told = [kept for kept in self._all() if kept.entry.record is not None] if ever else self._lasts()
        links = (Link(kept.key, each) for kept in told for each in dict.fromkeys(kept.record.provenance.derived_from))
        return sorted((link for link in links if link.names in sources), key=lambda link: (link.key.order, link.names))

    def list_replaced(self, record_ids: Iterable[str]) -> Sequence[Record]:
        by = set(record_ids)
        return [copy.deepcopy(last.record) for last in self._lasts() if last.record.superseded_by in by]

    def list_expired(self, *, now: datetime, limit: int) -> Sequence[Key]:
        expired = (
            last.key for last in self._lasts() if last.record.expires_at is not None and last.record.expires_at <= now
        )
        return sorted(expired, key=lambda key: key.order)[:limit]

    def erase(self, tombs: Mapping[Key, HistoryEntry]) -> int:
        count = 0
        for key, tomb in tombs.items():
            count += len(self._revisions(key))
            self._kept[key] = (Kept(key.scope, tomb),)
        return count

    def count_left(self, keys: Iterable[Key]) -> int:
        return sum(kept.entry.record is not None for key in keys for kept in self._revisions(key))

    def list_page(
        self, seen: Filter, order: Order, *, after: tuple[datetime, Key] | None, limit: int
    ) -> Sequence[Record]:
        newest = order is Order.NEWEST
        begin = None if after is None else (after[0], after[1].order)
        places = [((kept.record.observed_at, kept.key.order), kept.record) for kept in self._seen(seen)]
        places.sort(key=lambda each: each[0], reverse=newest)
        behind = [record for place, record in places if begin is None or (place < begin if newest else place > begin)]
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
                found.append(Found(key=kept.key, score=score, terms=tuple(held)))
        return ordered(found)[:limit]

    def rank_vectors(self, seen: Filter, vector: Sequence[float], *, limit: int) -> Sequence[Found]:
        found = [
            Found(key=kept.key, score=_cosine(kept.vector, vector))
            for kept in self._seen(seen)
            if kept.vector is not None and any(kept.vector)
        ]
        return ordered(found)[:limit]

    def fetch_seen(self, seen: Filter, keys: Iterable[Key]) -> Mapping[Key, Record]:
        there = (kept for key in set(keys) for kept in self._revisions(key) if kept.entry.record is not None)
        return {kept.key: copy.deepcopy(kept.record) for kept in there if seen.holds(kept.record)}

    # -- the parts

    def _revisions(self, key: Key) -> tuple[Kept, ...]:
        return self._kept.get(key, ()) if self._scope.covers(key.scope) else ()

    def _all(self) -> list[Kept]:
        return [kept for key in self._kept for kept in self._revisions(key)]

    def _last(self, key: Key) -> Kept | None:
        revisions = self._revisions(key)
        return revisions[-1] if revisions and revisions[-1].entry.record is not None else None

    def _lasts(self) -> list[Kept]:
        return [last for key in self._kept if (last := self._last(key)) is not None]

    def _seen(self, seen: Filter) -> list[Kept]:
        return [kept for kept in self._all() if kept.entry.record is not None and seen.holds(kept.record)]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors of length 1."""
    return sum(map(float.__mul__, one, other))
