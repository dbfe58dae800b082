"""A memory provider that answers whatever it is told to."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import anyio

from interlock import memory
from interlock.kernel import Clock, IdSource

SCOPE = memory.Scope(tenant="acme", user="ana")
OTHER = memory.Scope(tenant="other", user="ana")


class Odd(memory.Provider):
    """Answers whatever it is told to."""

    name: ClassVar[str] = "odd"
    claims: ClassVar[frozenset[str]] = frozenset({"ingest"})
    answer: Any = None
    asked: memory.Query | None = None

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        return cls()

    @property
    def guarantees(self) -> memory.Guarantees:
        return memory.Guarantees(
            durable=False,
            atomic_batch=False,
            read_your_writes=True,
            search_modes=frozenset({memory.SearchMode.TEXT}),
            isolation="client",
        )

    async def _say(self) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer == "hang":
            await anyio.sleep_forever()
        return self.answer

    async def remember(self, scope: memory.Scope, draft: memory.Draft) -> memory.Record:
        return await self._say()

    async def get(self, scope: memory.Scope, record_id: str) -> memory.Record:
        return await self._say()

    async def retrieve(self, scope: memory.Scope, query: memory.Query) -> memory.RetrieveResult:
        self.asked = query
        return await self._say()

    async def forget(self, scope: memory.Scope, record_id: str) -> memory.Forgotten:
        return await self._say()

    async def prune(self, scope: memory.Scope) -> int:
        return await self._say()

    async def history(self, scope: memory.Scope, record_id: str) -> tuple[memory.HistoryEntry, ...]:
        return await self._say()


def record(scope: memory.Scope) -> memory.Record:
    at = "2026-01-01T00:00:00Z"
    told = {"record_id": "mem_" + "0" * 32, "scope": scope.to_json(), "revision": 1, "text": "x"}
    return memory.Record.from_json({**told, "observed_at": at, "recorded_at": at})


def result(provider: Odd, *records: memory.Record) -> memory.RetrieveResult:
    return memory.RetrieveResult(
        hits=tuple(memory.Hit(record=each, rank=rank) for rank, each in enumerate(records, 1)),
        query=memory.Query(),
        scope=SCOPE,
        provider=provider.name,
        explanation=memory.Explanation(mode=None),
        scope_known=True,
    )
