"""Providers over somebody else's store, which keeps documents and knows nothing of revisions: what a scope has is read, worked on
by the rules of the room, and what has changed is written back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from interlock.kernel import JSON, Clock, IdSource
from interlock.memory.dictionaries import DictRows, Kept
from interlock.memory.embedding import Vector
from interlock.memory.errors import InvalidInput, ProviderUnavailable
from interlock.memory.finding import Search
from interlock.memory.keeping import Keeper
from interlock.memory.queries import Query, SearchMode
from interlock.memory.ranking import Found, ordered
from interlock.memory.records import Key
from interlock.memory.results import Health, HistoryEntry, RetrieveResult
from interlock.memory.rows import Filter, Rows, searchable
from interlock.memory.scope import Scope
from interlock.memory.words import words

T = TypeVar("T")

CONTRACT: Final = "interlock.memory-item/v1"
MOST: Final = 20_000
"""Records of a scope that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A record as such a store keeps it: all its revisions, or what is left of it."""

    record_id: str
    scope: Scope
    text: str
    """What it is searched by; empty for what is forgotten."""
    document: Mapping[str, JSON]
    """All of it, as JSON."""

    @classmethod
    def of(cls, revisions: Sequence[Kept]) -> "Document":
        """What is kept of a record."""
        last = revisions[-1]
        document: dict[str, JSON] = {
            "contract": CONTRACT,
            "record_id": last.entry.record_id,
            "scope": last.scope.to_json(),
            "revisions": [kept.entry.to_json() for kept in revisions],
        }
        text = "" if last.entry.record is None else searchable(last.entry.record)
        return cls(record_id=last.entry.record_id, scope=last.scope, text=text, document=document)


class DocumentStore(ABC):
    """A store that keeps documents by their ids. Derive from it, and hand it to a `DocumentKeeper`."""

    likens: bool = False
    """Whether it searches by likeness."""

    @abstractmethod
    async def load(self, scope: Scope, limit: int) -> Sequence[Mapping[str, Any]]:
        """The documents of all that the scope covers, up to the limit. Others may be among them: they are left out."""

    @abstractmethod
    async def save(self, documents: Sequence[Document]) -> None:
        """Keep these, each in the place of what is there under its `record_id` in exactly its `scope`."""

    async def nearest(self, scope: Scope, text: str, limit: int) -> Mapping[Key, float]:
        """How like the text each record is, by the store's own index (cosine); of records that it knows."""
        del scope, text, limit
        return {}

    async def health(self) -> Health:
        """How it is."""
        return Health(ok=True)

    async def close(self) -> None:  # noqa: B027 - most have something to let go of, and some nothing
        """Let go of it."""


class DocumentKeeper(Keeper):
    """A provider whose storage is a `DocumentStore`. Every operation reads the whole scope, of at most MOST records. One write at
    a time, of this process: the store has no way to tell that another one wrote in between. Likeness is by the store's own
    index, of each record's last text."""

    def __init__(self, store: DocumentStore, *, clock: Clock, ids: IdSource) -> None:
        self._store = store
        super().__init__(_DocumentShelf(store), None, clock=clock, ids=ids)

    @property
    def modes(self) -> frozenset[SearchMode]:
        """By what is searched."""
        return frozenset(SearchMode if self._store.likens else [SearchMode.TEXT])

    async def _search(self, scope: Scope, query: Query, *, near_misses: int) -> RetrieveResult:
        if query.mode in (None, SearchMode.TEXT):
            return await super()._search(scope, query, near_misses=near_misses)
        if query.text is None or query.vector is not None:
            raise InvalidInput(f"{self.name} makes its own vectors, of texts, and takes none")
        search = Search(self.name, scope, query, now=self._clock.now(), embedder=None)
        likeness: Mapping[Key, float] = {}
        if _has_words(query.text):
            likeness = await self._store.nearest(scope, query.text, MOST)

        def act(rows: Rows) -> RetrieveResult:
            cast("_DocumentRows", rows).likeness = likeness
            return search.carry_out(rows, (1.0,), near_misses=near_misses)

        return await self._shelf.read(scope, act)


class _DocumentShelf:
    """`Shelf`: dictionaries of what was read."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        from anyio import Lock  # here, as all of anyio in this room

        self._lock = Lock()

    async def write(self, scope: Scope, act: Callable[[Rows], T]) -> T:
        async with self._lock:
            before = await self._read(scope)
            kept = dict(before)
            result = act(_DocumentRows(kept, scope))
            changed = [revisions for key, revisions in kept.items() if revisions is not before.get(key)]
            if changed:
                await self._store.save([Document.of(revisions) for revisions in changed])
            return result

    async def read(self, scope: Scope, act: Callable[[Rows], T]) -> T:
        return act(_DocumentRows(await self._read(scope), scope))

    async def health(self) -> Health:
        return await self._store.health()

    async def close(self) -> None:
        await self._store.close()

    async def _read(self, scope: Scope) -> dict[Key, tuple[Kept, ...]]:
        documents = await self._store.load(scope, MOST + 1)
        if len(documents) > MOST:
            raise ProviderUnavailable(
                f"this scope has more than {MOST:,} records, which are all read for each operation",
                next_step="Open it for narrower scopes, or move to a provider that has indexes of its own: sqlite, postgres.",
            )
        # Of a record that is there twice, since somebody was stopped between writing and removing, the last word counts.
        found = sorted(map(_read, documents), key=lambda revisions: revisions[-1].entry.revision)
        return {revisions[0].key: revisions for revisions in found if scope.covers(revisions[0].scope)}


class _DocumentRows(DictRows):
    """`Rows`, which are near a text as the store says."""

    likeness: Mapping[Key, float] = {}

    def rank_vectors(self, seen: Filter, vector: Vector, *, limit: int) -> Sequence[Found]:
        there = {kept.key: kept.record for kept in self._seen(seen)}
        found = [
            Found(key=each, score=score)
            for each, score in self.likeness.items()
            if each in there and _has_words(searchable(there[each]))  # a store may liken anything to anything
        ]
        return ordered(found)[:limit]


def _has_words(text: str) -> bool:
    return next(words(text), None) is not None


def _read(document: Mapping[str, Any]) -> tuple[Kept, ...]:
    """Raises ProviderUnavailable for what is none of ours."""
    try:
        if document["contract"] != CONTRACT:
            raise ValueError(document["contract"])
        scope = Scope.from_json(document["scope"])
        entries = [HistoryEntry.from_json(each) for each in document["revisions"]]
        if not entries or any(entry.record is not None and entry.record.scope != scope for entry in entries):
            raise ValueError("revisions of another scope")
    except (KeyError, TypeError, ValueError, InvalidInput) as error:
        raise ProviderUnavailable(
            f"what the store has under the name of a record is none: {type(error).__name__}",
            next_step="Give Interlock a namespace, or a collection, that nobody else writes to.",
        ) from error
    return tuple(Kept(scope, entry) for entry in entries)
