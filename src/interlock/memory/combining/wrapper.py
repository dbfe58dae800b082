"""A provider around one provider: what it does not do itself, the one inside does."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

from interlock.kernel import Clock, IdSource
from interlock.memory.combining import parts
from interlock.memory.errors import InvalidConfig
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
)
from interlock.memory.queries import Query
from interlock.memory.records import Draft, Record
from interlock.memory.results import (
    ConsolidationPlan,
    ConsolidationResult,
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


class Wrapper(Provider):
    """It offers and promises what the provider inside does. A subclass changes what it is about, and nothing else."""

    settings: ClassVar[type[Value]]
    """What it is configured with, beside the provider inside (`inner`)."""
    withheld: frozenset[str] = frozenset({"turn_hooks"})
    """Until it is known what is inside; none of ours has these."""

    def __init__(self, inner: Provider) -> None:
        """Around a provider that is open, and is closed with this one."""
        self._inner = inner
        self.defaults = inner.defaults
        self.withheld = frozenset(CAPABILITIES) - inner.capabilities().offered

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        if "inner" not in config:
            raise InvalidConfig(f"{cls.name} is around another provider, and no `inner` is named")
        own = parts.settings(cls.settings, {name: value for name, value in config.items() if name != "inner"})
        return {"inner": parts.referred(config["inner"], "inner"), "settings": own}

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        (inner,) = await parts.opened([config["inner"]], clock=clock, ids=ids)
        return cls.around(inner, config["settings"], clock)

    @classmethod
    @abstractmethod
    def around(cls, inner: Provider, settings: Any, clock: Clock) -> Self:
        """It, with what it is configured with."""

    @property
    def guarantees(self) -> Guarantees:
        return self._inner.guarantees

    async def close(self) -> None:
        await self._inner.close()

    async def health(self) -> Health:
        return await self._inner.health()

    def child_services(self) -> Sequence[tuple[str, Any]]:
        return self._inner.child_services()

    async def remember(self, scope: Scope, draft: Draft) -> Record:
        return await self._inner.remember(scope, draft)

    async def get(self, scope: Scope, record_id: str) -> Record:
        return await self._inner.get(scope, record_id)

    async def retrieve(self, scope: Scope, query: Query) -> RetrieveResult:
        return self._named(await self._inner.retrieve(scope, query))

    async def forget(self, scope: Scope, record_id: str) -> Forgotten:
        return await self._inner.forget(scope, record_id)

    async def prune(self, scope: Scope) -> int:
        return await self._inner.prune(scope)

    async def ingest(self, scope: Scope, request: IngestRequest) -> IngestResult:
        return await cast("Ingests", self._inner).ingest(scope, request)

    async def explain_retrieval(self, scope: Scope, query: Query) -> RetrieveResult:
        return self._named(await cast("Explains", self._inner).explain_retrieval(scope, query))

    async def plan_consolidation(self, scope: Scope, policies: Sequence[str]) -> ConsolidationPlan:
        return await cast("Consolidates", self._inner).plan_consolidation(scope, policies)

    async def apply_consolidation(self, scope: Scope, plan: ConsolidationPlan) -> ConsolidationResult:
        return await cast("Consolidates", self._inner).apply_consolidation(scope, plan)

    async def undo_consolidation(self, scope: Scope, change_id: str) -> ConsolidationResult:
        return await cast("Consolidates", self._inner).undo_consolidation(scope, change_id)

    async def history(self, scope: Scope, record_id: str) -> tuple[HistoryEntry, ...]:
        return await cast("KeepsHistory", self._inner).history(scope, record_id)

    async def get_as_of(self, scope: Scope, record_id: str, query: Query) -> Record:
        return await cast("Temporal", self._inner).get_as_of(scope, record_id, query)

    async def hand_over(self, scope: Scope, after: str | None, limit: int) -> tuple[HistoryEntry, ...]:
        return await cast("Transfers", self._inner).hand_over(scope, after, limit)

    async def take_over(self, scope: Scope, entries: Sequence[HistoryEntry]) -> IngestResult:
        return await cast("Transfers", self._inner).take_over(scope, entries)

    async def before_turn(self, scope: Scope, text: str) -> RetrieveResult:
        return self._named(await cast("HooksTurns", self._inner).before_turn(scope, text))

    async def after_turn(self, scope: Scope, request: IngestRequest) -> IngestResult:
        return await cast("HooksTurns", self._inner).after_turn(scope, request)

    def _named(self, result: RetrieveResult) -> RetrieveResult:
        return result.model_copy(update={"provider": self.name})
