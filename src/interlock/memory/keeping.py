"""A provider over rows: what remembering, revising and forgetting mean, the same on every storage."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from interlock.kernel import Clock, IdSource
from interlock.memory import consolidation, moving, revisions
from interlock.memory.embedding import Embedder, Vector, checked, given
from interlock.memory.endpoint import RemoteEmbedder
from interlock.memory.errors import InvalidInput, MemoryFault, RecordConflict, RecordNotFound
from interlock.memory.finding import Search
from interlock.memory.provider import Provider
from interlock.memory.queries import Order, Query
from interlock.memory.records import Draft, Key, MemoryClass, Record, stated
from interlock.memory.results import (
    Change,
    ConsolidationPlan,
    ConsolidationResult,
    Forgotten,
    Health,
    HistoryEntry,
    Ingested,
    IngestRequest,
    IngestResult,
    IngestStatus,
    RetrieveResult,
)
from interlock.memory.rows import Filter, Rows, Shelf, searchable
from interlock.memory.scope import Scope

ONCE: Final = frozenset({MemoryClass.SEMANTIC, MemoryClass.PROCEDURAL})
"""What is one record however often it is said."""

_PRUNED: Final = 500
"""Records that one transaction removes."""

_MOST_ALIKE: Final = 100
"""Records with one id, in narrower scopes, that are looked at."""


class Keeper(Provider):
    """A provider whose storage is a `Shelf`. A subclass opens the shelf; all else is here."""

    def __init__(self, shelf: Shelf, embedder: Embedder | None, *, clock: Clock, ids: IdSource) -> None:
        self._shelf = shelf
        self._embedder = embedder
        self._clock = clock
        self._ids = ids

    @property
    def shelf(self) -> Shelf:
        """Where everything is, for whoever keeps it there in another way."""
        return self._shelf

    async def close(self) -> None:
        await self._shelf.close()
        if isinstance(self._embedder, RemoteEmbedder):
            await self._embedder.close()

    async def health(self) -> Health:
        return await self._shelf.health()

    # -- keeping

    async def remember(self, scope: Scope, draft: Draft) -> Record:
        (vector,) = await self._vectors(scope, [draft])
        now = self._clock.now()
        return await self._shelf.write(scope, lambda rows: self._keep(rows, scope, draft, vector, now)[1])

    async def ingest(self, scope: Scope, request: IngestRequest) -> IngestResult:
        vectors = await self._vectors(scope, request.records)
        now = self._clock.now()

        def act(rows: Rows) -> list[Ingested]:
            items = [
                self._taken(rows, scope, draft, vector, now)
                for draft, vector in zip(request.records, vectors, strict=True)
            ]
            if request.atomic and any(item.status is IngestStatus.REJECTED for item in items):
                raise _Refused(items)
            return items

        try:
            items = await self._shelf.write(scope, act)
        except _Refused as refused:
            why = "the batch is atomic, and another record was rejected"
            left_out = Ingested(status=IngestStatus.REJECTED, code="memory_invalid_input", reason=why)
            items = [item if item.status is IngestStatus.REJECTED else left_out for item in refused.items]
        return IngestResult(items=tuple(items))

    def _taken(self, rows: Rows, scope: Scope, draft: Draft, vector: Vector | None, now: datetime) -> Ingested:
        try:
            status, record = self._keep(rows, scope, draft, vector, now)
        except MemoryFault as error:  # before anything of it was written
            return Ingested(status=IngestStatus.REJECTED, code=error.code, reason=error.message)
        return Ingested(status=status, record_id=record.record_id)

    def _keep(
        self, rows: Rows, scope: Scope, draft: Draft, vector: Vector | None, now: datetime
    ) -> tuple[IngestStatus, Record]:
        """Everything is checked before anything is written."""
        where = draft.scope or scope
        if (there := self._same(rows, where, draft, now)) is not None:
            return IngestStatus.DUPLICATE, there
        unseen = [each for each in draft.provenance.derived_from if not _is_there(rows, scope, each)]
        if unseen:
            raise RecordNotFound(f"derived_from names {', '.join(unseen[:5])}, which is not in this scope")
        if draft.is_revision:
            return self._revise(rows, scope, where, draft, vector, now)
        if draft.record_id is not None and revisions.is_taken(rows, Key(draft.record_id, where)):
            message = "there is, or was, a record with this id in this scope"
            raise RecordConflict(message, details={"record_id": draft.record_id})
        replaced = None
        if draft.supersedes is not None:
            replaced = self._there(rows, scope, draft.supersedes, now, first=where)
        fields = dict(stated(draft))
        if replaced is not None and draft.valid_from is None:
            fields["valid_from"] = now
        record = Record.of(
            **fields,
            record_id=draft.record_id or self._ids.new("mem"),
            scope=where,
            revision=1,
            observed_at=draft.observed_at or now,
            recorded_at=now,
            idempotency_key=draft.idempotency_key,
        )
        if replaced is not None:
            revisions.supersede(rows, replaced, record, now)
        rows.add(revisions.entry_of(record, Change.REMEMBERED), vector)
        return IngestStatus.ACCEPTED, record

    def _same(self, rows: Rows, where: Scope, draft: Draft, now: datetime) -> Record | None:
        """The record that this draft has already become. Raises RecordConflict."""
        if draft.idempotency_key is not None:
            there = rows.find_key(where, draft.idempotency_key)
            if there is None:
                return None
            first = rows.list_history(there.key)[0]
            if first.digest != draft.digest:
                raise RecordConflict(
                    "this idempotency key was used for something else", details={"record_id": there.record_id}
                )
            return there
        if draft.record_id is None and draft.supersedes is None and draft.memory_class in ONCE:
            return rows.find_digest(where, draft.digest, now=now)
        return None

    def _revise(
        self, rows: Rows, scope: Scope, where: Scope, draft: Draft, vector: Vector | None, now: datetime
    ) -> tuple[IngestStatus, Record]:
        assert draft.record_id is not None
        last = self._there(rows, scope, draft.record_id, now, first=where)
        if draft.if_revision not in (None, last.revision):
            message = f"the record is at revision {last.revision} by now, and {draft.if_revision} was expected"
            raise RecordConflict(message, details={"record_id": last.record_id, "revision": last.revision})
        if draft.scope not in (None, last.scope):
            raise InvalidInput("a record stays in the scope that it was remembered in")
        if stated(last) == stated(draft) and draft.observed_at in (None, last.observed_at):
            return IngestStatus.DUPLICATE, last
        record = last.changed(
            **stated(draft),
            revision=last.revision + 1,
            observed_at=draft.observed_at or last.observed_at,
            recorded_at=now,
            superseded_by=None,
            change_id=None,
        )
        rows.end(last.key, last.revision, at=now, by=None)
        rows.add(revisions.entry_of(record, Change.REVISED), vector)
        return IngestStatus.ACCEPTED, record

    def _there(self, rows: Rows, scope: Scope, record_id: str, now: datetime, *, first: Scope) -> Record:
        """A record that can be changed. Raises RecordNotFound, RecordConflict."""
        last = _seen(rows, scope, record_id, now, first=first)
        if last.superseded_at is not None:
            message = f"{record_id} is no longer current: {last.superseded_by or 'a consolidation'} took its place"
            raise RecordConflict(message, details={"record_id": record_id, "superseded_by": last.superseded_by})
        return last

    async def _vectors(self, scope: Scope, drafts: Sequence[Draft]) -> list[Vector | None]:
        """Each draft's own, or the embedder's. Raises InvalidInput."""
        embedder = self._embedder
        if embedder is None:
            if any(draft.embedding is not None for draft in drafts):
                raise InvalidInput("this memory was opened without embeddings, and takes none")
            return [None for _ in drafts]
        made = iter(await self._embedded(scope, [searchable(draft) for draft in drafts if draft.embedding is None]))
        return [next(made) if draft.embedding is None else given(draft.embedding, embedder) for draft in drafts]

    async def _embedded(self, scope: Scope, texts: Sequence[str]) -> Sequence[Vector | None]:
        if (embedder := self._embedder_for(scope)) is None or not texts:
            return [None for _ in texts]
        return checked(await embedder.embed(texts), embedder, len(texts))

    def _embedder_for(self, scope: Scope) -> Embedder | None:
        """Whose requests are the tenant's."""
        embedder = self._embedder
        return embedder.of(scope.tenant) if isinstance(embedder, RemoteEmbedder) else embedder

    # -- finding

    async def get(self, scope: Scope, record_id: str) -> Record:
        now = self._clock.now()
        return await self._shelf.read(scope, lambda rows: _seen(rows, scope, record_id, now))

    async def get_as_of(self, scope: Scope, record_id: str, query: Query) -> Record:
        search = Search(self.name, scope, query, now=self._clock.now(), embedder=self._embedder_for(scope))

        def act(rows: Rows) -> Record | None:
            key = revisions.named(rows, scope, record_id)
            return None if key is None else rows.fetch_seen(search.seen, [key]).get(key)

        if (found := await self._shelf.read(scope, act)) is None:
            raise RecordNotFound(f"there was no record {record_id} then, in this scope")
        return found

    async def history(self, scope: Scope, record_id: str) -> tuple[HistoryEntry, ...]:
        def act(rows: Rows) -> Sequence[HistoryEntry]:
            key = revisions.named(rows, scope, record_id)
            return () if key is None else rows.list_history(key)

        if not (entries := await self._shelf.read(scope, act)):
            raise RecordNotFound(f"there is no record {record_id[:100]} in this scope, and never was")
        return tuple(entries)

    async def retrieve(self, scope: Scope, query: Query) -> RetrieveResult:
        return await self._search(scope, query, near_misses=0)

    async def explain_retrieval(self, scope: Scope, query: Query) -> RetrieveResult:
        return await self._search(scope, query, near_misses=10)

    async def _search(self, scope: Scope, query: Query, *, near_misses: int) -> RetrieveResult:
        search = Search(self.name, scope, query, now=self._clock.now(), embedder=self._embedder_for(scope))
        vector = await search.vector()
        return await self._shelf.read(scope, lambda rows: search.carry_out(rows, vector, near_misses=near_misses))

    # -- making less of it

    async def plan_consolidation(self, scope: Scope, policies: Sequence[str]) -> ConsolidationPlan:
        now, change_id = self._clock.now(), self._ids.new("cns")
        seen = Filter(now=now)

        def act(rows: Rows) -> ConsolidationPlan:
            records = rows.list_page(seen, Order.OLDEST, after=None, limit=consolidation.MOST)
            return consolidation.plan(scope, change_id, records, policies, now)

        return await self._shelf.read(scope, act)

    async def apply_consolidation(self, scope: Scope, plan: ConsolidationPlan) -> ConsolidationResult:
        now = self._clock.now()
        drafts = [change.record for change in plan.changes if change.record is not None]
        vectors = dict(zip(map(id, drafts), await self._vectors(scope, drafts), strict=True))
        return await self._shelf.write(
            scope,
            lambda rows: consolidation.apply(
                rows, plan, new_id=lambda: self._ids.new("mem"), vector_of=lambda draft: vectors[id(draft)], now=now
            ),
        )

    async def undo_consolidation(self, scope: Scope, change_id: str) -> ConsolidationResult:
        now = self._clock.now()
        result = await self._shelf.write(scope, lambda rows: consolidation.undo(rows, scope, change_id, now))
        if result is None:
            raise RecordNotFound(f"there is no consolidation {change_id[:100]} in this scope")
        return result

    # -- moving

    async def hand_over(self, scope: Scope, after: str | None, limit: int) -> tuple[HistoryEntry, ...]:
        now = self._clock.now()
        return tuple(await self._shelf.read(scope, lambda rows: moving.page(rows, after=after, limit=limit, now=now)))

    async def take_over(self, scope: Scope, entries: Sequence[HistoryEntry]) -> IngestResult:
        vectors = await self._embedded(scope, [searchable(each.record) if each.record else "" for each in entries])

        def act(rows: Rows) -> list[Ingested]:
            return [moving.take(rows, scope, entry, vector) for entry, vector in zip(entries, vectors, strict=True)]

        return IngestResult(items=tuple(await self._shelf.write(scope, act)))

    # -- forgetting

    async def forget(self, scope: Scope, record_id: str) -> Forgotten:
        now = self._clock.now()
        return await self._shelf.write(scope, lambda rows: revisions.forget(rows, scope, record_id, now))

    async def prune(self, scope: Scope) -> int:
        now, removed = self._clock.now(), 0

        def act(rows: Rows) -> int:
            gone = rows.list_expired(now=now, limit=_PRUNED)
            rows.erase(revisions.tombs(rows, gone, Change.EXPIRED, now))
            return len(gone)

        while (count := await self._shelf.write(scope, act)) > 0:
            removed += count
        return removed


class _Refused(Exception):
    """An atomic batch with a record that was rejected."""

    def __init__(self, items: list[Ingested]) -> None:
        super().__init__()
        self.items = items


def _is_there(rows: Rows, scope: Scope, record_id: str) -> bool:
    """Whether there is a record with this id; of several it does not matter which."""
    there = (Key(record_id, each) for each in rows.list_scopes(scope, record_id, limit=_MOST_ALIKE))
    return any(rows.find_last(key) is not None for key in there)


def _seen(rows: Rows, scope: Scope, record_id: str, now: datetime, *, first: Scope | None = None) -> Record:
    key = revisions.named(rows, scope, record_id, first=first)
    last = None if key is None else rows.find_last(key)
    if last is None or (last.expires_at is not None and last.expires_at <= now):
        known = rows.is_known()
        where = "in this scope" if known else "in this scope, in which nothing was ever kept"
        raise RecordNotFound(f"there is no record {record_id[:100]} {where}", details={"scope_known": known})
    return last
