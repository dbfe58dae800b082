"""What a provider's storage has to do, so that all that is above it is the same for each: the ports `Shelf` and `Rows`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar, cast

from interlock.kernel import JSON, canonical, to_rfc3339
from interlock.memory.embedding import Vector
from interlock.memory.queries import Order, Query
from interlock.memory.ranking import Found
from interlock.memory.records import Fields, Key, MemoryClass, Record
from interlock.memory.results import Health, HistoryEntry
from interlock.memory.scope import DIMENSIONS, Scope
from interlock.memory.value import is_blank

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What must hold for a revision to be seen at all. The scope is no part of it: rows know theirs."""

    now: datetime
    known_at: datetime | None = None
    as_of: datetime | None = None
    """None: whatever the time of its validity."""
    classes: tuple[MemoryClass, ...] = ()
    kinds: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    tags_all: tuple[str, ...] = ()
    source: str | None = None
    text_contains: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_importance: float | None = None
    metadata: Mapping[str, JSON] | None = None

    @classmethod
    def of(cls, query: Query, now: datetime) -> "Filter":
        """What a query demands."""
        same = ("known_at", "classes", "kinds", "tags_any", "tags_all", "source", "since", "until", "min_importance")
        return cls(
            now=now,
            as_of=None if query.as_of == "any" else query.as_of or query.known_at or now,
            text_contains=None if query.text_contains is None else query.text_contains.casefold(),
            metadata=query.metadata or None,
            **{name: getattr(query, name) for name in same},
        )

    def holds(self, record: Record) -> bool:
        """Whether a revision is seen: the rule that each storage's own language has to repeat."""
        return self._in_time(record) and self._fits(record)

    def _in_time(self, record: Record) -> bool:
        ended, known = record.superseded_at, self.known_at
        there = ended is None if known is None else record.recorded_at <= known and (ended is None or known < ended)
        lives = record.expires_at is None or record.expires_at > self.now
        at = self.as_of
        return (
            there
            and lives
            and (at is None or record.valid_from is None or record.valid_from <= at)
            and (at is None or record.valid_to is None or at < record.valid_to)
            and (self.since is None or record.observed_at >= self.since)
            and (self.until is None or record.observed_at <= self.until)
        )

    def _fits(self, record: Record) -> bool:
        tags = set(record.tags)
        return (
            (not self.classes or record.memory_class in self.classes)
            and (not self.kinds or record.kind in self.kinds)
            and (not self.tags_any or not tags.isdisjoint(self.tags_any))
            and tags.issuperset(self.tags_all)
            and (self.source is None or record.source == self.source)
            and (self.min_importance is None or record.importance >= self.min_importance)
            and (self.text_contains is None or self.text_contains in searchable(record).casefold())
            and all(
                name in record.metadata and canonical(record.metadata[name]) == canonical(value)
                for name, value in (self.metadata or {}).items()
            )
        )

    def words(self, scope: Scope) -> tuple[str, ...]:
        """The same for people."""
        told = [f"{name} = {part}" for name, part in zip(DIMENSIONS, scope.parts, strict=True) if part is not None]
        told.append("recorded and not replaced" if self.known_at is None else f"known at {to_rfc3339(self.known_at)}")
        told.append("not expired")
        if self.as_of is not None:
            told.append(f"valid at {to_rfc3339(self.as_of)}")
        lists = {"class": self.classes, "kind": self.kinds, "any tag of": self.tags_any, "every tag of": self.tags_all}
        told += [f"{name} {', '.join(each)}" for name, each in lists.items() if each]
        singles = {"source =": self.source, "importance at least": self.min_importance}
        told += [f"{name} {each}" for name, each in singles.items() if each is not None]
        moments = {"observed since": self.since, "observed until": self.until}
        told += [f"{name} {to_rfc3339(each)}" for name, each in moments.items() if each is not None]
        if self.text_contains is not None:
            told.append("text contains the given text")
        told += [f"metadata.{name} is as given" for name in self.metadata or ()]
        return tuple(told)


class Link(NamedTuple):
    """A record that names another one."""

    key: Key
    names: str
    """The id."""


class Rows(Protocol):
    """One transaction over the revisions of one scope: no method sees or changes what the scope does not cover. A record's
    last revision is the one with the highest number."""

    def is_known(self) -> bool:
        """Whether anything was ever kept in this scope."""
        ...

    def list_scopes(self, scope: Scope, record_id: str, *, limit: int) -> Sequence[Scope]:
        """Of the scopes that this one covers those with a record that has or had this id: the widest first, and of these the
        scope itself."""
        ...

    def find_last(self, key: Key) -> Record | None:
        """The last revision of a record."""
        ...

    def fetch_lasts(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        """The last revisions of these records, as far as they are there."""
        ...

    def find_key(self, scope: Scope, idempotency_key: str) -> Record | None:
        """The last revision of the record that was remembered with this key in exactly that scope."""
        ...

    def find_digest(self, scope: Scope, digest: str, *, now: datetime) -> Record | None:
        """The current, unexpired record in exactly that scope that says this; of several the oldest."""
        ...

    def add(self, entry: HistoryEntry, vector: Vector | None) -> None:
        """A new revision; `entry.record` is there. Without a vector it has that of the revision before."""
        ...

    def end(self, key: Key, revision: int, *, at: datetime, by: str | None) -> None:
        """A revision is no longer the last word."""
        ...

    def list_keys(self, *, after: str | None, limit: int, now: datetime) -> Sequence[Key]:
        """The records that are neither forgotten nor expired, whether they are the last word or not, with the next so many ids,
        in the order of their keys."""
        ...

    def list_history(self, key: Key) -> Sequence[HistoryEntry]:
        """The revisions of a record, or what is left of them, oldest first."""
        ...

    def list_changed(self, change_id: str) -> Sequence[HistoryEntry]:
        """The revisions that a consolidation made or ended."""
        ...

    def list_derived(self, record_ids: Iterable[str], *, ever: bool = False) -> Sequence[Link]:
        """Who says, in its last revision or in whichever, that it was made of a record with one of these ids."""
        ...

    def list_replaced(self, record_ids: Iterable[str]) -> Sequence[Record]:
        """The last revisions whose place a record with one of these ids took."""
        ...

    def list_expired(self, *, now: datetime, limit: int) -> Sequence[Key]:
        """Records whose last revision has expired."""
        ...

    def erase(self, tombs: Mapping[Key, HistoryEntry]) -> int:
        """Remove all revisions of these records from everywhere, and keep the entries, which have no content, instead; how
        many revisions there were."""
        ...

    def count_left(self, keys: Iterable[Key]) -> int:
        """How much of these records, which were erased, is still anywhere but in entries without content."""
        ...

    def list_page(
        self, seen: Filter, order: Order, *, after: tuple[datetime, Key] | None, limit: int
    ) -> Sequence[Record]:
        """Revisions in the order of when they were observed and then of their keys, behind a place."""
        ...

    def count(self, seen: Filter, terms: Sequence[str] | None) -> int:
        """How many there are; with `terms`, of those with at least one of them."""
        ...

    def rank_words(self, seen: Filter, terms: Sequence[str], *, limit: int) -> Sequence[Found]:
        """The best by BM25, of those that have at least one of the terms."""
        ...

    def rank_vectors(self, seen: Filter, vector: Vector, *, limit: int) -> Sequence[Found]:
        """The nearest by cosine."""
        ...

    def fetch_seen(self, seen: Filter, keys: Iterable[Key]) -> Mapping[Key, Record]:
        """The revisions of these records that the filter lets through."""
        ...


class Shelf(Protocol):
    """Where the rows are."""

    async def write(self, scope: Scope, act: Callable[[Rows], T]) -> T:
        """Do it in one transaction, which is kept whole when this returns and not at all when it raises. It may be done
        again. Raises ProviderUnavailable."""
        ...

    async def read(self, scope: Scope, act: Callable[[Rows], T]) -> T:
        """Read it all as of one moment. Raises ProviderUnavailable."""
        ...

    async def health(self) -> Health:
        """How it is."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


def searchable(record: Fields) -> str:
    """What is searched of a record: its text, or the texts in its content if it has none."""
    if record.text is not None and not is_blank(record.text):
        return record.text
    return " ".join(texts_in(record.content))


def texts_in(value: object) -> Iterator[str]:
    """The texts in JSON, as they stand."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in cast("Mapping[str, object]", value).values():
            yield from texts_in(each)
    elif isinstance(value, list | tuple):
        for each in cast("list[object]", value):
            yield from texts_in(each)
