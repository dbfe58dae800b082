"""The provider `encrypted`: the storage of another provider, which holds nothing legible but what records are found by."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from interlock.kernel import Clock, IdSource, Secret
from interlock.memory.combining import parts
from interlock.memory.combining.sealing import Seal
from interlock.memory.embedding import Vector
from interlock.memory.errors import InvalidConfig
from interlock.memory.keeping import Keeper
from interlock.memory.queries import Order
from interlock.memory.ranking import Found
from interlock.memory.records import Key, Record
from interlock.memory.results import Guarantees, Health, HistoryEntry
from interlock.memory.rows import Filter, Link, Rows, Shelf
from interlock.memory.scope import Scope

T = TypeVar("T")
_PAGE: Final = 500


class Encrypted(Keeper):
    """Text, content, metadata, where it comes from and the idempotency key are sealed, each revision for its own place (`Seal`).
    What stays legible: scope, class, kind, tags, source, importance, times, ids. Nothing is searched by words or likeness, for
    the storage knows neither; `text_contains` and `metadata` are looked for in what is opened, one record after the other."""

    name: ClassVar[str] = "encrypted"
    description: ClassVar[str] = (
        "in the storage of another provider, sealed by AES-256-GCM; lists and filters, no search"
    )

    def __init__(self, inner: Keeper, seal: Seal, *, clock: Clock, ids: IdSource) -> None:
        """In the storage of a provider that is open, and is closed with this one."""
        super().__init__(_SealedShelf(inner.shelf, seal), None, clock=clock, ids=ids)
        self.defaults = inner.defaults
        self._promised = inner.guarantees

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        if unknown := sorted(set(config) - {"inner", "key", "key_file"}):
            raise InvalidConfig(f"encrypted takes inner, and key or key_file, and got {', '.join(unknown)[:200]}")
        if "inner" not in config or ("key" in config) == ("key_file" in config):
            raise InvalidConfig("encrypted takes an inner provider, and either a key, which is a Secret, or a key_file")
        if "key" in config and not isinstance(config["key"], Secret):
            raise InvalidConfig(
                "the key is a Secret, so that it is not told; a configuration that is a text names a key_file"
            )
        if not isinstance(config.get("key_file", ""), str):
            raise InvalidConfig("key_file is the path of a file, as a text")
        return {**config, "inner": parts.referred(config["inner"], "inner")}

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        seal = Seal(config["key"] if "key" in config else _read(config["key_file"]))
        (inner,) = await parts.opened([config["inner"]], clock=clock, ids=ids)
        if not isinstance(inner, Keeper):
            await inner.close()
            raise InvalidConfig(
                f"{inner.name} has no storage of its own that could be sealed",
                next_step="Put `encrypted` around memory, sqlite or postgres, and the other one around `encrypted`.",
            )
        return cls(inner, seal, clock=clock, ids=ids)

    @property
    def guarantees(self) -> Guarantees:
        return self._promised.model_copy(update={"search_modes": frozenset(), "vector_dimensions": None})


class _SealedShelf:
    """`Shelf`, whose rows are sealed in another one's."""

    def __init__(self, inner: Shelf, seal: Seal) -> None:
        self._inner = inner
        self._seal = seal

    async def write(self, scope: Scope, act: Callable[[Rows], T]) -> T:
        return await self._inner.write(scope, lambda rows: act(_SealedRows(rows, self._seal)))

    async def read(self, scope: Scope, act: Callable[[Rows], T]) -> T:
        return await self._inner.read(scope, lambda rows: act(_SealedRows(rows, self._seal)))

    async def health(self) -> Health:
        return await self._inner.health()

    async def close(self) -> None:
        await self._inner.close()


class _SealedRows:
    """`Rows`, sealed on the way in and opened on the way out."""

    def __init__(self, rows: Rows, seal: Seal) -> None:
        self._rows = rows
        self._seal = seal

    def is_known(self) -> bool:
        return self._rows.is_known()

    def list_scopes(self, scope: Scope, record_id: str, *, limit: int) -> Sequence[Scope]:
        return self._rows.list_scopes(scope, record_id, limit=limit)

    def find_last(self, key: Key) -> Record | None:
        return self._opened(self._rows.find_last(key))

    def fetch_lasts(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        return {key: self._seal.open(record) for key, record in self._rows.fetch_lasts(keys).items()}

    def find_key(self, scope: Scope, idempotency_key: str) -> Record | None:
        return self._opened(self._rows.find_key(scope, self._seal.mark(scope, "idempotency_key", idempotency_key)))

    def find_digest(self, scope: Scope, digest: str, *, now: datetime) -> Record | None:
        return self._opened(self._rows.find_digest(scope, self._seal.mark(scope, "digest", digest), now=now))

    def add(self, entry: HistoryEntry, vector: Vector | None) -> None:
        assert entry.record is not None
        assert vector is None
        self._rows.add(self._marked(entry, entry.record.scope, record=self._seal.closed(entry.record)), None)

    def end(self, key: Key, revision: int, *, at: datetime, by: str | None) -> None:
        self._rows.end(key, revision, at=at, by=by)

    def list_history(self, key: Key) -> Sequence[HistoryEntry]:
        return [self._told(entry) for entry in self._rows.list_history(key)]

    def list_changed(self, change_id: str) -> Sequence[HistoryEntry]:
        return [self._told(entry) for entry in self._rows.list_changed(change_id)]

    def list_derived(self, record_ids: Iterable[str], *, ever: bool = False) -> Sequence[Link]:
        return self._rows.list_derived(record_ids, ever=ever)

    def list_replaced(self, record_ids: Iterable[str]) -> Sequence[Record]:
        return [self._seal.open(record) for record in self._rows.list_replaced(record_ids)]

    def list_keys(self, *, after: str | None, limit: int, now: datetime) -> Sequence[Key]:
        return self._rows.list_keys(after=after, limit=limit, now=now)

    def list_expired(self, *, now: datetime, limit: int) -> Sequence[Key]:
        return self._rows.list_expired(now=now, limit=limit)

    def erase(self, tombs: Mapping[Key, HistoryEntry]) -> int:
        return self._rows.erase({key: self._marked(tomb, key.scope) for key, tomb in tombs.items()})

    def count_left(self, keys: Iterable[Key]) -> int:
        return self._rows.count_left(keys)

    def list_page(
        self, seen: Filter, order: Order, *, after: tuple[datetime, Key] | None, limit: int
    ) -> Sequence[Record]:
        legible = _legible(seen)
        if legible == seen:
            return [self._seal.open(each) for each in self._rows.list_page(seen, order, after=after, limit=limit)]
        found: list[Record] = []
        while len(found) < limit:
            page = self._rows.list_page(legible, order, after=after, limit=_PAGE)
            found += [record for record in map(self._seal.open, page) if seen.holds(record)]
            if len(page) < _PAGE:
                break
            after = (page[-1].observed_at, page[-1].key)
        return found[:limit]

    def count(self, seen: Filter, terms: Sequence[str] | None) -> int:
        if _legible(seen) == seen:
            return self._rows.count(seen, None)
        return len(self.list_page(seen, Order.NEWEST, after=None, limit=2**62))

    def rank_words(self, seen: Filter, terms: Sequence[str], *, limit: int) -> Sequence[Found]:
        return ()

    def rank_vectors(self, seen: Filter, vector: Vector, *, limit: int) -> Sequence[Found]:
        return ()

    def fetch_seen(self, seen: Filter, keys: Iterable[Key]) -> Mapping[Key, Record]:
        there = self._rows.fetch_seen(_legible(seen), keys)
        opened = {key: self._seal.open(record) for key, record in there.items()}
        return {key: record for key, record in opened.items() if seen.holds(record)}

    # -- the parts

    def _opened(self, record: Record | None) -> Record | None:
        return None if record is None else self._seal.open(record)

    def _marked(self, entry: HistoryEntry, scope: Scope, **fields: Any) -> HistoryEntry:
        """Its digest would tell what was said, to whoever can guess it."""
        return entry.model_copy(update={"digest": self._seal.mark(scope, "digest", entry.digest), **fields})

    def _told(self, entry: HistoryEntry) -> HistoryEntry:
        if entry.record is None:
            return entry
        record = self._seal.open(entry.record)
        return entry.model_copy(update={"record": record, "digest": record.digest})


def _legible(seen: Filter) -> Filter:
    """As much of it as the storage can tell."""
    return replace(seen, text_contains=None, metadata=None)


def _read(path: str) -> Secret:
    try:
        with Path(path).open("rb") as file:
            return Secret(file.read(200).decode("ascii", "replace"))
    except OSError as error:
        raise InvalidConfig(f"the key_file {path} cannot be read: {error.strerror}") from None
