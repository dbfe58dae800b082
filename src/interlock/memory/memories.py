"""A memory that is open: one provider, one scope, and what comes out of it checked."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Self, TypeVar

from interlock.kernel import Clock, SystemClock, Uuid7Ids
from interlock.memory import options as choices
from interlock.memory.asking import carried, due, said
from interlock.memory.endpoint import Carry, carried_by
from interlock.memory.errors import (
    BrokenCapability,
    InvalidInput,
    MemoryFault,
    UnsupportedCapability,
)
from interlock.memory.options import Options
from interlock.memory.provider import (
    CAPABILITIES,
    Consolidates,
    Explains,
    HooksTurns,
    Ingests,
    KeepsHistory,
    Provider,
    Temporal,
    Transfers,
    faults,
)
from interlock.memory.queries import MAX_LIMIT, Query
from interlock.memory.records import Draft, Record
from interlock.memory.registry import ProviderRef, Registry, validated
from interlock.memory.results import (
    CapabilitySet,
    ConsolidationPlan,
    ConsolidationResult,
    Forgotten,
    Health,
    HistoryEntry,
    IngestRequest,
    IngestResult,
    ProviderInfo,
    RetrieveResult,
)
from interlock.memory.scope import Scope

T = TypeVar("T")
_OPEN: Final = Options()


class Memory:
    """One provider, opened for one scope. What it is given is checked before the provider sees it, and what the provider
    answers before the caller does: a record of another scope never comes out.

        async with Memory.open("sqlite", {"path": "notes.db"}, scope=Scope(tenant="acme", user="ana")) as mem:
            await mem.remember("Ana prefers short answers", kind="preference")
            found = await mem.retrieve("what does Ana prefer?")

    Its operations raise MemoryFault: InvalidInput for what no provider could take, ScopeDenied, UnsupportedCapability for
    what is not offered, BrokenCapability for what is offered and does not work, DeadlineExceeded after `Options.timeout` seconds,
    ProviderUnavailable, and ProviderFailed for what the contract does not know.
    """

    def __init__(
        self,
        provider: Provider,
        scope: Scope,
        *,
        call: Options = _OPEN,
        state: Options = _OPEN,
        given: Options = _OPEN,
        clock: Clock | None = None,
    ) -> None:
        """A memory on a provider that is open, and stays so. The options by where they come from, as Options orders them:
        `call` is what `using` says, `state` what an agent brings along, `given` what goes with the reference."""
        self.scope = scope
        self.provider = provider
        self._call = call
        self._state = state
        self._given = given
        self._clock = clock or SystemClock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        provider: str | ProviderRef,
        config: Mapping[str, Any] | None = None,
        *,
        scope: Scope,
        state: Options = _OPEN,
        clock: Clock | None = None,
        registry: Registry | None = None,
        transport: Carry | None = None,
    ) -> AsyncGenerator[Self]:
        """A memory, with its provider opened and closed. `transport` makes the way to an endpoint for embeddings, where the
        configuration names one; without it there is a connection of its own. Raises UnknownProvider, InvalidConfig,
        ProviderUnavailable."""
        due(scope, Scope, "scope")
        due(state, Options, "state")
        reference = ProviderRef(name=provider, config=config or {}) if isinstance(provider, str) else provider
        if config and reference.config != config:
            raise InvalidInput("a configuration goes with the name of a provider; a reference has its own")
        clock = clock or SystemClock()
        kind = (registry or Registry()).fetch(reference.name)
        timeout = choices.resolve(state, reference.options, kind.defaults).timeout
        with carried_by(transport):
            opening = partial(kind.open, validated(kind, reference.config), clock=clock, ids=Uuid7Ids(clock))
            opened = await carried(kind.name, "open", timeout, opening)
        try:
            yield cls(opened, scope, state=state, given=reference.options, clock=clock)
        finally:
            import anyio

            with anyio.CancelScope(shield=True), suppress(MemoryFault):
                await carried(kind.name, "close", timeout, opened.close)

    def narrowed(self, *, user: str | None = None, agent: str | None = None, session: str | None = None) -> Self:
        """The same memory, for less. Raises ScopeDenied."""
        return self._view(self.scope.narrowed(user=user, agent=agent, session=session), self._call)

    def using(self, **options: Any) -> Self:
        """The same memory with these Options for each call, whatever a query says: `mem.using(timeout=2)`. Raises
        InvalidInput."""
        return self._view(self.scope, Options.of(**options).over(self._call))

    def _view(self, scope: Scope, call: Options) -> Self:
        return type(self)(self.provider, scope, call=call, state=self._state, given=self._given, clock=self._clock)

    # -- what every provider does

    async def remember(self, what: "str | Draft", **fields: Any) -> Record:
        """Keep a text, with the other fields of a Draft; or a Draft. Raises RecordConflict, RecordNotFound."""
        draft = self._drafted(what, fields)
        scope = self._within(draft)
        record = await self._ask("remember", lambda it: it.remember(scope, draft), Record)
        return self._ours(record, "remember")

    async def get(self, record_id: str) -> Record:
        """The last revision of a record. Raises RecordNotFound."""
        scope, record_id = self.scope, due(record_id, str, "record_id")
        record = await self._ask("get", lambda it: it.get(scope, record_id), Record)
        if self._ours(record, "get").record_id != record_id:
            raise self._broken("get", "a record that was not asked for")
        return record

    async def retrieve(self, query: "str | Query | None" = None, **fields: Any) -> RetrieveResult:
        """What matches a text, with the other fields of a Query; or a Query. Without either, all there is, newest first."""
        return await self._search("retrieve", query, fields)

    async def forget(self, record_id: str) -> Forgotten:
        """Remove a record, its history, and what was derived from it. One that is not there is no error."""
        scope, record_id = self.scope, due(record_id, str, "record_id")
        return await self._ask("forget", lambda it: it.forget(scope, record_id), Forgotten)

    async def prune(self) -> int:
        """Remove what has expired in this scope; how many records that were."""
        scope = self.scope
        count = await self._ask("prune", lambda it: it.prune(scope), int)
        if count < 0:
            raise self._broken("prune", "fewer than no records")
        return count

    def info(self) -> ProviderInfo:
        """Who the provider is, and what it offers."""
        return said(self.provider.name, "info", self.provider.info, ProviderInfo)

    def capabilities(self) -> CapabilitySet:
        """What the provider can do."""
        return said(self.provider.name, "capabilities", self.provider.capabilities, CapabilitySet)

    async def health(self) -> Health:
        """How the provider is: also when it fails to say, it is said."""
        began = self._clock.monotonic()
        try:
            health = await self._ask("health", lambda it: it.health(), Health)
        except MemoryFault as error:
            return Health(ok=False, detail=error.message)
        return health.changed(latency_ms=(self._clock.monotonic() - began) * 1_000)

    # -- what some do

    async def ingest(self, records: "IngestRequest | Sequence[Draft]", *, atomic: bool = False) -> IngestResult:
        """Keep many at once; what became of each is told in their order. Raises UnsupportedCapability."""
        if not isinstance(records, IngestRequest):
            due(records, Iterable, "records")
            records = IngestRequest.of(records=tuple(records), atomic=atomic)
        request = records
        return await self._taken("ingest", Ingests, request, lambda it, scope: it.ingest(scope, request))

    async def explain(self, query: "str | Query | None" = None, **fields: Any) -> RetrieveResult:
        """What `retrieve` answers, with the near misses. Raises UnsupportedCapability."""
        return await self._search("explain_retrieval", query, fields)

    async def history(self, record_id: str) -> tuple[HistoryEntry, ...]:
        """All revisions of a record, oldest first. Raises RecordNotFound, UnsupportedCapability."""
        scope, record_id = self.scope, due(record_id, str, "record_id")
        kind: type[tuple[HistoryEntry, ...]] = tuple
        entries = await self._may("history", KeepsHistory, lambda it: it.history(scope, record_id), kind)
        for entry in entries:
            if not isinstance(entry, HistoryEntry):  # pyright: ignore[reportUnnecessaryIsInstance] - as it is said to be
                raise self._broken("history", f"a {type(entry).__name__} among the entries")
            if entry.record is not None:
                self._ours(entry.record, "history")
        return entries

    async def hand_over(self, *, after: str | None = None, limit: int = 100) -> tuple[HistoryEntry, ...]:
        """Every revision of records with the next ids after this one, at most `limit` ids and fewer where they are large; nothing
        at the end. `exported` goes through all of them. Raises UnsupportedCapability."""
        scope, limit = self.scope, due(limit, int, "limit")
        if after is not None:
            due(after, str, "after")
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"limit is from 1 to {MAX_LIMIT}")
        kind: type[tuple[HistoryEntry, ...]] = tuple
        entries = await self._may("transfer", Transfers, lambda it: it.hand_over(scope, after, limit), kind)
        for entry in entries:
            if entry.record is None:
                raise self._broken("transfer", "a revision without its record")
            self._ours(entry.record, "transfer")
        if len({entry.record_id for entry in entries}) > limit or any(
            each.record_id <= (after or "") for each in entries
        ):
            raise self._broken("transfer", "other records than those that come next")
        return entries

    async def take_over(self, entries: Sequence[HistoryEntry]) -> IngestResult:
        """Put these revisions here as they are, and say what became of each, in their order; what was forgotten here stays so.
        Raises UnsupportedCapability, and ScopeDenied for what is not of this scope."""
        due(entries, Sequence, "entries")
        scope, brought = self.scope, tuple(entries)
        for entry in brought:
            if (record := due(entry, HistoryEntry, "an entry").record) is not None:
                scope.within(record.scope)
        result = await self._may("transfer", Transfers, lambda it: it.take_over(scope, brought), IngestResult)
        if len(result.items) != len(brought):
            raise self._broken("transfer", f"{len(result.items)} answers to {len(brought)} revisions")
        return result

    async def before_turn(self, text: str) -> RetrieveResult:
        """What the provider's own hook recalls for a turn; `Turns` asks for it. Raises UnsupportedCapability."""
        scope, text = self.scope, due(text, str, "text")
        result = await self._may("turn_hooks", HooksTurns, lambda it: it.before_turn(scope, text), RetrieveResult)
        return self._all_ours(result, "turn_hooks")

    async def after_turn(self, request: IngestRequest) -> IngestResult:
        """Have the provider's own hook learn these. Raises UnsupportedCapability."""
        due(request, IngestRequest, "request")
        return await self._taken("turn_hooks", HooksTurns, request, lambda it, scope: it.after_turn(scope, request))

    async def plan_consolidation(
        self,
        policies: Sequence[str] = (),
    ) -> ConsolidationPlan:
        """What these policies (none: all of the provider's) would change; nothing is. Raises UnsupportedCapability."""
        scope = self.scope
        names = tuple(due(each, str, "a policy") for each in ([policies] if isinstance(policies, str) else policies))
        plan = await self._may(
            "consolidate", Consolidates, lambda it: it.plan_consolidation(scope, names), ConsolidationPlan
        )
        if not self.scope.covers(plan.scope):
            raise self._broken("consolidate", "a plan for another scope")
        return plan

    async def apply_consolidation(
        self,
        plan: ConsolidationPlan,
    ) -> ConsolidationResult:
        """Change it, where nobody changed it since. Raises ScopeDenied for a plan of another scope."""
        scope = self.scope.within(due(plan, ConsolidationPlan, "plan").scope)
        return await self._may(
            "consolidate", Consolidates, lambda it: it.apply_consolidation(scope, plan), ConsolidationResult
        )

    async def undo_consolidation(self, change_id: str) -> ConsolidationResult:
        """Put back what a consolidation changed. Raises RecordNotFound for one that never was."""
        scope, change_id = self.scope, due(change_id, str, "change_id")
        return await self._may(
            "consolidate",
            Consolidates,
            lambda it: it.undo_consolidation(scope, change_id),
            ConsolidationResult,
        )

    # -- the parts

    def _options(self, query: Options = _OPEN) -> Options:
        return choices.resolve(self._call, query, self._state, self._given, self.provider.defaults)

    def _drafted(self, what: str | Draft, fields: Mapping[str, Any]) -> Draft:
        if isinstance(what, str):
            return Draft.of(text=what, **fields)
        if fields:
            raise InvalidInput("a Draft has its own fields; change it with `draft.changed(…)`")
        return due(what, Draft, "what is to be remembered")

    def _within(self, draft: Draft) -> Scope:
        if draft.if_revision == 0 and not self.capabilities().guarantees.chosen_ids:
            message = f"{self.provider.name} takes no new record that brings its id along"
            raise UnsupportedCapability(message, provider=self.provider.name, operation="remember")
        try:
            return self.scope if draft.scope is None else self.scope.within(draft.scope)
        except MemoryFault as error:
            error.at(self.provider.name, "remember")
            raise

    async def _search(self, operation: str, query: str | Query | None, fields: Mapping[str, Any]) -> RetrieveResult:
        given = query if isinstance(query, Query) else Query.of(text=query)
        asked = given.changed(**fields) if fields else given
        promised = self.capabilities().guarantees
        modes = promised.search_modes
        asked = choices.filled(asked, self._options(choices.asked(asked)), modes)
        if asked.is_search and asked.mode not in modes:
            raise UnsupportedCapability(
                f"{self.provider.name} does not search by {asked.mode or 'words or likeness; it lists and filters'}",
                provider=self.provider.name,
                operation=operation,
            )
        if asked.exact_total and not promised.exact_total:
            message = f"{self.provider.name} does not count what matches; ask without exact_total"
            raise UnsupportedCapability(message, provider=self.provider.name, operation=operation)
        if (asked.as_of or asked.known_at) is not None:
            self._gate("temporal", Temporal)
        scope = self.scope
        if operation == "retrieve":
            result = await self._ask(operation, lambda it: it.retrieve(scope, asked), RetrieveResult)
        else:
            result = await self._may(operation, Explains, lambda it: it.explain_retrieval(scope, asked), RetrieveResult)
        self._all_ours(result, operation)
        if len(result.hits) > (asked.limit or 0):
            raise self._broken(operation, f"{len(result.hits)} hits where {asked.limit} were asked for")
        return result

    async def _taken(
        self, capability: str, kind: type, request: IngestRequest, act: Callable[[Any, Scope], Awaitable[object]]
    ) -> IngestResult:
        """What became of a batch, each of whose records is within the scope."""
        for draft in request.records:
            self._within(draft)
        scope = self.scope
        result = await self._may(capability, kind, lambda it: act(it, scope), IngestResult)
        if len(result.items) != len(request.records):
            raise self._broken(capability, f"{len(result.items)} answers to {len(request.records)} records")
        return result

    def _all_ours(self, result: RetrieveResult, operation: str) -> RetrieveResult:
        for record in result.records:
            self._ours(record, operation)
        return result

    def _ours(self, record: Record, operation: str) -> Record:
        if not self.scope.covers(record.scope):
            raise self._broken(operation, "a record of another scope, which is held back")
        return record

    def _gate(self, capability: str, kind: type) -> None:
        """Raises UnsupportedCapability, BrokenCapability."""
        has = self.capabilities()
        if has.supports(capability):
            return
        if capability in has.broken:
            raise self._unfit(capability)
        message = f"{has.provider} does not offer {capability}"
        raise UnsupportedCapability(message, provider=has.provider, operation=capability)

    async def _may(
        self,
        capability: str,
        kind: type,
        act: Callable[[Any], Awaitable[object]],
        answer: type[T],
    ) -> T:
        self._gate(capability, kind)
        assert CAPABILITIES[capability] is kind
        return await self._ask(capability, act, answer)

    async def _ask(self, operation: str, act: Callable[[Any], Awaitable[object]], answer: type[T]) -> T:
        """What the provider answers, in time and of the right type."""
        provider = self.provider
        if operation in faults(type(provider)):
            raise self._unfit(operation)
        found = await carried(provider.name, operation, self._options().timeout, lambda: act(provider))
        if not isinstance(found, answer) or (answer is int and isinstance(found, bool)):
            raise self._broken(operation, f"a {type(found).__name__} where a {answer.__name__} is due")
        return found

    def _unfit(self, capability: str) -> BrokenCapability:
        name, why = self.provider.name, faults(type(self.provider)).get(capability)
        message = (
            f"{name} offers {capability} and does not have it: {why}"
            if why
            else f"{name} claims {capability}, and has none"
        )
        return BrokenCapability(message, provider=name, operation=capability)

    def _broken(self, operation: str, what: str) -> BrokenCapability:
        name = self.provider.name
        return BrokenCapability(f"{name} answered to {operation} with {what}", provider=name, operation=operation)
