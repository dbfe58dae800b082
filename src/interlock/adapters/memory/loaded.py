"""Providers over somebody else's store, which keeps documents and knows nothing of revisions: what a scope has is read, worked on
by the rules of the room, and what has changed is written back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

import anyio

from interlock import memory
from interlock.adapters.memory.inprocess import DictRows, Kept
from interlock.kernel import JSON, Clock, IdSource

T = TypeVar("T")

CONTRACT: Final = "interlock.memory-item/v1"
MOST: Final = 20_000
"""Records of a scope that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A record as such a store keeps it: all its revisions, or what is left of it."""

    record_id: str
    scope: memory.Scope
    text: str
    """What it is searched by; empty for what is forgotten."""
    document: Mapping[str, JSON]
    """All of it, as JSON."""

    @classmethod
    def of(cls, revisions: Sequence[Kept]) -> "Item":
        """What is kept of a record."""
        last = revisions[-1]
        document: dict[str, JSON] = {
            "contract": CONTRACT,
            "record_id": last.entry.record_id,
            "scope": last.scope.to_json(),
            "revisions": [kept.entry.to_json() for kept in revisions],
        }
        text = "" if last.entry.record is None else memory.searchable(last.entry.record)
        return cls(record_id=last.entry.record_id, scope=last.scope, text=text, document=document)


class Items(Protocol):
    """The store."""

    async def load(self, scope: memory.Scope, limit: int) -> Sequence[Mapping[str, Any]]:
        """The documents of all that the scope covers, up to the limit."""
        ...

    async def save(self, items: Sequence[Item]) -> None:
        """Keep these, in the place of what was there."""
        ...

    async def nearest(self, scope: memory.Scope, text: str, limit: int) -> Mapping[str, float]:
        """How like the text each record is, by the store's own index; of records that it knows."""
        ...

    async def health(self) -> memory.Health:
        """How it is."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Loaded(memory.Keeper):
    """Every operation reads the whole scope, of at most MOST records. One write at a time, of this process: the store has no
    way to tell that another one wrote in between. Likeness is by the store's own index, of each record's last text."""

    def __init__(self, items: Items, *, indexed: bool, clock: Clock, ids: IdSource) -> None:
        """`indexed` is whether the store searches by likeness."""
        self._items = items
        self._indexed = indexed
        super().__init__(_LoadedShelf(items), None, clock=clock, ids=ids)

    @property
    def modes(self) -> frozenset[memory.SearchMode]:
        """By what is searched."""
        return frozenset(memory.SearchMode if self._indexed else [memory.SearchMode.TEXT])

    async def _search(self, scope: memory.Scope, query: memory.Query, *, near_misses: int) -> memory.RetrieveResult:
        if query.mode in (None, memory.SearchMode.TEXT):
            return await super()._search(scope, query, near_misses=near_misses)
        if query.text is None or query.vector is not None:
            raise memory.InvalidInput(f"{self.name} makes its own vectors, of texts, and takes none")
        search = memory.Search(self.name, scope, query, now=self._clock.now(), embedder=None)
        likeness: Mapping[str, float] = {}
        if _has_words(query.text):
            likeness = await self._items.nearest(scope, query.text, MOST)

        def act(rows: memory.Rows) -> memory.RetrieveResult:
            cast("_LoadedRows", rows).likeness = likeness
            return search.carry_out(rows, (1.0,), near_misses=near_misses)

        return await self._shelf.read(scope, act)


class _LoadedShelf:
    """`memory.Shelf`: dictionaries of what was read."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._lock = anyio.Lock()

    async def write(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        async with self._lock:
            before = await self._read(scope)
            kept = dict(before)
            result = act(_LoadedRows(kept, scope))
            changed = [revisions for record_id, revisions in kept.items() if revisions is not before.get(record_id)]
            if changed:
                await self._items.save([Item.of(revisions) for revisions in changed])
            return result

    async def read(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        return act(_LoadedRows(await self._read(scope), scope))

    async def health(self) -> memory.Health:
        return await self._items.health()

    async def close(self) -> None:
        await self._items.close()

    async def _read(self, scope: memory.Scope) -> dict[str, tuple[Kept, ...]]:
        documents = await self._items.load(scope, MOST + 1)
        if len(documents) > MOST:
            raise memory.ProviderUnavailable(
                f"this scope has more than {MOST:,} records, which are all read for each operation",
                next_step="Open it for narrower scopes, or move to a provider that has indexes of its own: sqlite, postgres.",
            )
        # Of a record that is there twice, since somebody was stopped between writing and removing, the last word counts.
        found = sorted(map(_read, documents), key=lambda revisions: revisions[-1].entry.revision)
        return {revisions[0].entry.record_id: revisions for revisions in found if scope.covers(revisions[0].scope)}


class _LoadedRows(DictRows):
    """`memory.Rows`, which are near a text as the store says."""

    likeness: Mapping[str, float] = {}

    def rank_vectors(self, seen: memory.Filter, vector: Sequence[float], *, limit: int) -> Sequence[memory.Found]:
        there = {kept.entry.record_id: kept.record for kept in self._seen(seen)}
        found = [
            memory.Found(record_id=each, score=score)
            for each, score in self.likeness.items()
            if each in there and _has_words(memory.searchable(there[each]))  # a store may liken anything to anything
        ]
        return memory.ordered(found)[:limit]


def _has_words(text: str) -> bool:
    return next(memory.words(text), None) is not None


def _read(document: Mapping[str, Any]) -> tuple[Kept, ...]:
    """Raises ProviderUnavailable for what is none of ours."""
    try:
        if document["contract"] != CONTRACT:
            raise ValueError(document["contract"])
        scope = memory.Scope.from_json(document["scope"])
        entries = [memory.HistoryEntry.from_json(each) for each in document["revisions"]]
        if not entries or any(entry.record is not None and entry.record.scope != scope for entry in entries):
            raise ValueError("revisions of another scope")
    except (KeyError, TypeError, ValueError, memory.InvalidInput) as error:
        raise memory.ProviderUnavailable(
            f"what the store has under the name of a record is none: {type(error).__name__}",
            next_step="Give Interlock a namespace, or a collection, that nobody else writes to.",
        ) from error
    return tuple(Kept(scope, entry) for entry in entries)
