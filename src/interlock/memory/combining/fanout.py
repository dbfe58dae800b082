"""The provider `fanout`: the same memory in several providers."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, cast

import anyio
from pydantic import Field

from interlock.kernel import Clock, IdSource, InterlockError
from interlock.memory.asking import carried
from interlock.memory.combining import copying, merging, parts
from interlock.memory.errors import (
    BrokenCapability,
    DeadlineExceeded,
    InvalidConfig,
    MemoryFault,
    ProviderFailed,
    ProviderUnavailable,
    RecordConflict,
    RecordNotFound,
)
from interlock.memory.finding import Search
from interlock.memory.options import DEFAULT_TIMEOUT
from interlock.memory.provider import CAPABILITIES, Explains, Ingests, KeepsHistory, Provider, Temporal
from interlock.memory.queries import Query
from interlock.memory.records import Draft, Record
from interlock.memory.results import (
    Explanation,
    Forgotten,
    Guarantees,
    Health,
    HistoryEntry,
    IngestRequest,
    IngestResult,
    RetrieveResult,
)
from interlock.memory.scope import Scope
from interlock.memory.value import Value

T = TypeVar("T")

_FAILURES = (ProviderUnavailable, DeadlineExceeded, ProviderFailed, BrokenCapability)


class Settings(Value):
    """How many of the parts have to keep what is remembered, the first among them (None: all), and who is asked: the `first` that
    answers, or all of them, and their answers merged. Nothing is forgotten by fewer than all."""

    quorum: Annotated[int, Field(ge=1)] | None = None
    read: Literal["first", "merge"] = "first"


class Fanout(Provider):
    """The first part decides: on ids, revisions and conflicts. The others follow, under the same ids. A part that fails is never
    passed over in silence: below the quorum as ProviderUnavailable, which names each; above it, and where another part
    answers for it, in `health` and in `Explanation.notes`. A part that missed something does not catch up by itself."""

    name: ClassVar[str] = "fanout"
    description: ClassVar[str] = "the same memory in several providers, by a quorum"
    withheld: frozenset[str] = frozenset({"consolidate", "turn_hooks"})

    def __init__(self, providers: Sequence[Provider], settings: Settings, *, clock: Clock) -> None:
        """Over providers that are open, and are closed with this one. Raises InvalidConfig."""
        self._parts = {f"{at} ({provider.name})": provider for at, provider in enumerate(providers, start=1)}
        self._first = next(iter(self._parts))
        self._quorum = len(providers) if settings.quorum is None else settings.quorum
        self._merges = settings.read == "merge"
        self._clock = clock
        self._missed: Counter[str] = Counter()
        self._failing: dict[str, str] = {}
        self._order = anyio.Lock()
        self._promised = parts.agreed(providers)
        if not 2 <= len(providers) <= 8 or self._quorum > len(providers):
            raise InvalidConfig("fanout takes two to eight parts, and a quorum of no more than there are")
        if not self._promised.chosen_ids:
            raise InvalidConfig("the parts have the same records under the same ids, and one of them takes no ids")
        offered = frozenset(CAPABILITIES).intersection(*(each.capabilities().offered for each in providers))
        self.withheld = frozenset(CAPABILITIES) - offered | type(self).withheld

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        given = config.get("parts")
        if not isinstance(given, list | tuple):
            raise InvalidConfig("fanout takes a list of providers, its parts")
        references = [
            parts.referred(each, f"part {at}") for at, each in enumerate(cast("list[object]", given), start=1)
        ]
        own = parts.settings(Settings, {name: value for name, value in config.items() if name != "parts"})
        return {"parts": references, "settings": own}

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        providers = await parts.opened(config["parts"], clock=clock, ids=ids)
        try:
            return cls(providers, config["settings"], clock=clock)
        except InvalidConfig:
            await parts.closed(providers)
            raise

    @property
    def guarantees(self) -> Guarantees:
        whole = self._quorum == len(self._parts)
        fresh = self._promised.read_your_writes and whole
        return self._promised.model_copy(update={"atomic_batch": False, "read_your_writes": fresh})

    async def close(self) -> None:
        await parts.closed(list(self._parts.values()))

    async def health(self) -> Health:
        """Not well as long as a part is not, or has missed a write since it was opened."""
        told: dict[str, Health] = {}
        for name in self._parts:
            try:
                told[name] = await self._ask(name, "health", lambda part: part.health())
            except InterlockError as error:
                told[name] = Health(ok=False, detail=error.message)
            if (missed := self._missed[name]) > 0:
                told[name] = Health(ok=False, detail=f"missed {missed} writes, last: {self._failing.get(name, '')}")
        return parts.together(told)

    def child_services(self) -> Sequence[tuple[str, Callable[[], Any]]]:
        return [service for part in self._parts.values() for service in part.child_services()]

    # -- keeping

    async def remember(self, scope: Scope, draft: Draft) -> Record:
        in_order = draft.record_id is not None or draft.supersedes is not None
        async with self._order if in_order else nullcontext():
            record = await self._ask(self._first, "remember", lambda part: part.remember(scope, draft))
            await self._others("remember", lambda part: copying.follow(part, scope, (draft, record)))
        return record

    async def ingest(self, scope: Scope, request: IngestRequest) -> IngestResult:
        async with self._order:
            result = await self._ask(self._first, "ingest", lambda part: cast("Ingests", part).ingest(scope, request))
            kept = [(draft, item.record_id) for draft, item in zip(request.records, result.items, strict=True)]
            batch = [
                (draft, await self._decided(draft.scope or scope, each)) for draft, each in kept if each is not None
            ]
            if batch:
                await self._others("ingest", lambda part: copying.follow_all(part, scope, batch))
        return result

    async def _decided(self, scope: Scope, record_id: str) -> Record:
        return await self._ask(self._first, "get", lambda part: part.get(scope, record_id))

    async def forget(self, scope: Scope, record_id: str) -> Forgotten:
        """Also what only some have. Raises RecordConflict, and ProviderUnavailable unless all did: nothing is forgotten by a
        quorum. Which record an id names is what the first part says, as far as it knows it: for one that missed something it
        may name another."""
        async with self._order:
            where: Scope | None = None
            with suppress(*_FAILURES, RecordNotFound):
                where = (await self._decided(scope, record_id)).scope

            async def forget(part: Provider) -> Forgotten:
                if where is not None and not await parts.means(part, scope, record_id, where):
                    return Forgotten(record_ids=())
                return await part.forget(scope, record_id)

            done, failed = await self._all("forget", forget)
        for error in failed.values():
            if isinstance(error, RecordConflict) and not done:
                raise error
        self._demand("forgotten", len(self._parts), failed)
        return Forgotten(
            record_ids=tuple(dict.fromkeys(each for one in done for each in one.record_ids)),
            derived_ids=tuple(dict.fromkeys(each for one in done for each in one.derived_ids)),
            restored_ids=tuple(dict.fromkeys(each for one in done for each in one.restored_ids)),
            revisions=max(one.revisions for one in done),
            traces=sum(one.traces for one in done),
        )

    async def prune(self, scope: Scope) -> int:
        """Raises ProviderUnavailable unless all did."""
        done, failed = await self._all("prune", lambda part: part.prune(scope))
        self._demand("pruned", len(self._parts), failed)
        return max(done)

    async def _others(self, operation: str, act: Callable[[Provider], Awaitable[None]]) -> None:
        """Raises ProviderUnavailable for less than a quorum."""
        _, failed = await self._all(operation, act, but=self._first)
        self._missed.update(failed.keys())
        self._demand("kept", self._quorum, failed)

    async def _all(
        self, operation: str, act: Callable[[Provider], Awaitable[T]], *, but: str = ""
    ) -> tuple[list[T], dict[str, InterlockError]]:
        """What they answered, and why others did not."""
        done: dict[str, T] = {}
        failed: dict[str, InterlockError] = {}

        async def one(name: str) -> None:
            try:
                done[name] = await self._ask(name, operation, act)
            except InterlockError as error:
                failed[name] = error

        async with anyio.create_task_group() as tasks:
            for name in self._parts:
                if name != but:
                    tasks.start_soon(one, name)
        return [done[name] for name in self._parts if name in done], failed

    def _demand(self, what: str, needed: int, failed: Mapping[str, InterlockError]) -> None:
        did = len(self._parts) - len(failed)
        if did < needed:
            why = "; ".join(f"{name}: {error.message}" for name, error in failed.items())
            raise ProviderUnavailable(
                f"{what} by {did} of {len(self._parts)} parts, and {needed} were needed; {why}",
                details={"failed": {name: error.message for name, error in failed.items()}},
                next_step="Do it again when the parts named are there (with the idempotency key, if it is new).",
            )

    # -- finding

    async def get(self, scope: Scope, record_id: str) -> Record:
        return (await self._answer("get", lambda part: part.get(scope, record_id)))[0]

    async def retrieve(self, scope: Scope, query: Query) -> RetrieveResult:
        return await self._search(scope, query, 0, "retrieve", lambda part: part.retrieve(scope, query))

    async def explain_retrieval(self, scope: Scope, query: Query) -> RetrieveResult:
        return await self._search(
            scope, query, 10, "explain_retrieval", lambda part: cast("Explains", part).explain_retrieval(scope, query)
        )

    async def history(self, scope: Scope, record_id: str) -> tuple[HistoryEntry, ...]:
        return (await self._answer("history", lambda part: cast("KeepsHistory", part).history(scope, record_id)))[0]

    async def get_as_of(self, scope: Scope, record_id: str, query: Query) -> Record:
        return (await self._answer("temporal", lambda part: cast("Temporal", part).get_as_of(scope, record_id, query)))[
            0
        ]

    async def _search(
        self,
        scope: Scope,
        query: Query,
        near_misses: int,
        operation: str,
        act: Callable[[Provider], Awaitable[RetrieveResult]],
    ) -> RetrieveResult:
        if self._merges:
            result, notes = await self._merged(scope, query, near_misses)
        else:
            result, notes = await self._answer(operation, act)
        explanation = result.explanation.model_copy(update={"notes": (*result.explanation.notes, *notes)})
        return result.model_copy(update={"provider": self.name, "explanation": explanation})

    async def _answer(self, operation: str, act: Callable[[Provider], Awaitable[T]]) -> tuple[T, list[str]]:
        """Of the first part that answers, and which did not."""
        notes: list[str] = []
        first: MemoryFault | None = None
        for name in self._parts:
            try:
                return await self._ask(name, operation, act), notes
            except _FAILURES as error:
                first = first or error
                notes.append(f"{name} did not answer: {error.message}")
            except RecordNotFound:
                if first is not None and self._quorum < len(self._parts):
                    raise first from None  # what this part never got may be in those that did not answer
                raise
        assert first is not None
        raise first

    async def _merged(self, scope: Scope, query: Query, near_misses: int) -> tuple[RetrieveResult, list[str]]:
        """Of all that answer. Raises what the first raised if none does."""
        failed: dict[str, MemoryFault] = {}

        async def ask(name: str, asked: Query) -> RetrieveResult:
            try:
                if name not in failed:
                    return await self._ask(name, "retrieve", lambda part: part.retrieve(scope, asked))
            except _FAILURES as error:
                failed[name] = error
            nothing = Explanation(mode=asked.mode)
            return RetrieveResult(
                hits=(), query=asked, scope=scope, provider=self.name, explanation=nothing, scope_known=False
            )

        search = Search(self.name, scope, query, now=self._clock.now(), embedder=None)
        asks: list[merging.Ask] = [partial(ask, name) for name in self._parts]
        result = await merging.merged(search, query, asks, near_misses=near_misses)
        if len(failed) == len(self._parts):
            raise failed[self._first]
        return result, [f"{name} did not answer: {error.message}" for name, error in failed.items()]

    async def _ask(self, name: str, operation: str, act: Callable[[Provider], Awaitable[T]]) -> T:
        """One part, in its time."""
        part = self._parts[name]
        timeout = part.defaults.timeout or DEFAULT_TIMEOUT
        try:
            return await carried(name, operation, timeout, lambda: act(part))
        except InterlockError as error:
            self._failing[name] = error.message
            error.details |= {"provider": self.name, "part": name}
            if isinstance(error, MemoryFault):
                error.provider = self.name
            raise
