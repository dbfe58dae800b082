"""The provider `tiered`: a short-term memory over a long-term one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar, cast

from interlock.kernel import Clock, IdSource
from interlock.memory.combining import merging, moving, parts
from interlock.memory.errors import InvalidConfig, InvalidInput, MemoryFault, RecordNotFound
from interlock.memory.finding import Search
from interlock.memory.provider import CAPABILITIES, Consolidates, Ingests, KeepsHistory, Provider, Temporal
from interlock.memory.queries import Query
from interlock.memory.records import Draft, MemoryClass, Record
from interlock.memory.results import (
    ConsolidationPlan,
    ConsolidationResult,
    Forgotten,
    Guarantees,
    Health,
    HistoryEntry,
    Ingested,
    IngestRequest,
    IngestResult,
    IngestStatus,
    RetrieveResult,
)
from interlock.memory.scope import Scope

T = TypeVar("T")

LONG: Final = frozenset({MemoryClass.SEMANTIC, MemoryClass.PROCEDURAL})
"""What begins in the long-term memory: facts and procedures. Events and working memory begin in the short-term one."""


class Tiered(Provider):
    """Reads see both as one. A revision, what supersedes a record and what is derived from one stay where that record is.
    Consolidation promotes: working memory that weighs and lasts moves to the long-term memory, under its id, where its
    revisions begin anew; all else is consolidated where it is."""

    name: ClassVar[str] = "tiered"
    description: ClassVar[str] = "a short-term memory over a long-term one; reads are of both, consolidation promotes"
    withheld: frozenset[str] = frozenset({"turn_hooks"})

    def __init__(self, short: Provider, long: Provider, *, clock: Clock) -> None:
        """Over two providers that are open, and are closed with this one. Raises InvalidConfig."""
        self._tiers = (short, long)
        self._clock = clock
        self._promised = parts.agreed(self._tiers)
        if not self._promised.chosen_ids:
            raise InvalidConfig("tiered moves records under their ids, and one of the two takes no ids")
        offered = short.capabilities().offered & long.capabilities().offered
        self.withheld = frozenset(CAPABILITIES) - offered - {"explain_retrieval"} | type(self).withheld

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        if set(config) != {"short", "long"}:
            raise InvalidConfig("tiered takes two providers: short and long")
        return {name: parts.referred(config[name], name) for name in ("short", "long")}

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        short, long = await parts.opened([config["short"], config["long"]], clock=clock, ids=ids)
        try:
            return cls(short, long, clock=clock)
        except InvalidConfig:
            await parts.closed([short, long])
            raise

    @property
    def guarantees(self) -> Guarantees:
        return self._promised.model_copy(update={"atomic_batch": False, "chosen_ids": False})

    async def close(self) -> None:
        await parts.closed(self._tiers)

    async def health(self) -> Health:
        return parts.together(
            {name: await tier.health() for name, tier in zip(("short", "long"), self._tiers, strict=True)}
        )

    def child_services(self) -> Sequence[tuple[str, Callable[[], Any]]]:
        return [service for tier in self._tiers for service in tier.child_services()]

    # -- keeping

    async def remember(self, scope: Scope, draft: Draft) -> Record:
        return await (await self._tier(scope, draft)).remember(scope, draft)

    async def ingest(self, scope: Scope, request: IngestRequest) -> IngestResult:
        """Raises InvalidInput for an atomic batch that belongs to both, for that could end half."""
        items: dict[int, Ingested] = {}
        batches: dict[Provider, list[int]] = {}
        for at, draft in enumerate(request.records):
            try:
                batches.setdefault(await self._tier(scope, draft), []).append(at)
            except InvalidInput as error:
                items[at] = Ingested(status=IngestStatus.REJECTED, code=error.code, reason=error.message)
        if request.atomic and (items or len(batches) > 1):
            raise InvalidInput(
                "an atomic batch is kept by one of the two memories, and this one belongs to both",
                next_step="Send events and working memory apart from facts and procedures, or do without `atomic`.",
            )
        for tier, places in batches.items():
            batch = request.changed(records=tuple(request.records[at] for at in places))
            kept = await cast("Ingests", tier).ingest(scope, batch)
            items |= dict(zip(places, kept.items, strict=True))
        return IngestResult(items=tuple(items[at] for at in sorted(items)))

    async def _tier(self, scope: Scope, draft: Draft) -> Provider:
        """Where it belongs. Raises InvalidInput for what belongs to both."""
        named = [draft.record_id if draft.is_revision else None, draft.supersedes, *draft.provenance.derived_from]
        held = [await self._holder(scope, draft, each) for each in named if each is not None]
        there = {tier for tier in held if tier is not None}
        if len(there) > 1:
            raise InvalidInput(
                "it is of records in the short-term memory and of others in the long-term one",
                next_step="Derive it from records of one of the two; what is promoted goes to the long-term one.",
            )
        return there.pop() if there else self._tiers[draft.memory_class in LONG]

    async def _holder(self, scope: Scope, draft: Draft, record_id: str) -> Provider | None:
        """Who has it, first of all in the scope that the draft is for."""
        own = None if draft.scope is None else await moving.holder(self._tiers, draft.scope, record_id)
        return own or await moving.holder(self._tiers, scope, record_id)

    # -- finding

    async def get(self, scope: Scope, record_id: str) -> Record:
        return await moving.found(self._tiers, scope, record_id)

    async def retrieve(self, scope: Scope, query: Query) -> RetrieveResult:
        return await self._search(scope, query, 0)

    async def explain_retrieval(self, scope: Scope, query: Query) -> RetrieveResult:
        return await self._search(scope, query, 10)

    async def _search(self, scope: Scope, query: Query, near_misses: int) -> RetrieveResult:
        search = Search(self.name, scope, query, now=self._clock.now(), embedder=None)
        asks: list[merging.Ask] = [_asked(tier, scope) for tier in self._tiers]
        return await merging.merged(search, query, asks, near_misses=near_misses)

    async def history(self, scope: Scope, record_id: str) -> tuple[HistoryEntry, ...]:
        where = await moving.placed(self._tiers, scope, record_id)
        told = await self._each(lambda tier: cast("KeepsHistory", tier).history(where, record_id))
        return tuple(entry for entries in told for entry in entries)

    async def get_as_of(self, scope: Scope, record_id: str, query: Query) -> Record:
        where = await moving.placed(self._tiers, scope, record_id)
        return (await self._each(lambda tier: cast("Temporal", tier).get_as_of(where, record_id, query)))[0]

    async def _each(self, act: Callable[[Provider], Awaitable[T]]) -> list[T]:
        """What each says that knows it. Raises RecordNotFound if none does."""
        told: list[T] = []
        missing: MemoryFault | None = None
        for tier in self._tiers:
            try:
                told.append(await act(tier))
            except RecordNotFound as error:
                missing = missing or error
        if not told:
            assert missing is not None
            raise missing
        return told

    # -- making less of it

    async def plan_consolidation(self, scope: Scope, policies: Sequence[str]) -> ConsolidationPlan:
        """What each plans for itself, as one plan; contradictions between the two are not seen."""
        plans = [await cast("Consolidates", tier).plan_consolidation(scope, policies) for tier in self._tiers]
        return plans[0].changed(
            changes=plans[0].changes + plans[1].changes,
            contradictions=plans[0].contradictions + plans[1].contradictions,
            examined=plans[0].examined + plans[1].examined,
        )

    async def apply_consolidation(self, scope: Scope, plan: ConsolidationPlan) -> ConsolidationResult:
        return await moving.applied(self._tiers, scope, plan)

    async def undo_consolidation(self, scope: Scope, change_id: str) -> ConsolidationResult:
        return await moving.undone(self._tiers, scope, change_id)

    # -- forgetting

    async def forget(self, scope: Scope, record_id: str) -> Forgotten:
        where = await moving.placed(self._tiers, scope, record_id)
        gone = [
            await tier.forget(scope, record_id)
            for tier in self._tiers
            if await parts.means(tier, scope, record_id, where)
        ]
        return Forgotten(
            record_ids=tuple(dict.fromkeys(each for one in gone for each in one.record_ids)),
            derived_ids=tuple(each for one in gone for each in one.derived_ids),
            restored_ids=tuple(each for one in gone for each in one.restored_ids),
            revisions=sum(one.revisions for one in gone),
            traces=sum(one.traces for one in gone),
        )

    async def prune(self, scope: Scope) -> int:
        return sum([await tier.prune(scope) for tier in self._tiers])


def _asked(tier: Provider, scope: Scope) -> merging.Ask:
    return lambda query: tier.retrieve(scope, query)
