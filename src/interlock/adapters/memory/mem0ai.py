"""The provider `mem0`: memories of mem0's open-source library (mem0ai 2), kept as they are and inferred by nobody."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self, cast
from urllib.parse import quote

import anyio

from interlock import memory
from interlock.adapters.memory.named import given_or_made
from interlock.kernel import Clock, IdSource

_KNOWN: Final = frozenset({"memory", "config", "durable"})
_NOBODY: Final = "-"
_IDS: Final = {"user": "user_id", "agent": "agent_id", "session": "run_id"}
"""How mem0 calls what a scope names. The tenant is in the metadata, for it knows none."""


class Mem0(memory.DocumentKeeper):
    """Each record is one memory of mem0, found by its vectors, and written with `infer=False`: no model is asked, nothing is made
    up of it. mem0's history has nothing of what is kept: the record has its own."""

    name: ClassVar[str] = "mem0"
    description: ClassVar[str] = "in mem0's vector store, by mem0's embedder; reads the whole scope for each operation"
    needs: ClassVar[Mapping[str, str]] = {"mem0": "pip install 'interlock[mem0]'"}

    def __init__(self, opened: Any, *, ours: bool, durable: bool, clock: Clock, ids: IdSource) -> None:
        """On an `AsyncMemory`, which is closed with this one if it is `ours`."""
        super().__init__(_Kept(opened, ours=ours), clock=clock, ids=ids)
        self._durable = durable

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = _async_memory()
        if unknown := sorted(set(config) - _KNOWN):
            raise memory.InvalidConfig(f"mem0 takes {', '.join(sorted(_KNOWN))}, and got {', '.join(unknown)[:200]}")
        if ("memory" in config) == ("config" in config):
            raise memory.InvalidConfig(
                "mem0 takes either a memory, an AsyncMemory that is open, or a config to open one with"
            )
        if "memory" in config:
            config = {**config, "memory": given_or_made(config["memory"], "memory")}
            if not isinstance(config["memory"], kind):
                raise memory.InvalidConfig(
                    "memory is a mem0.AsyncMemory; or module:function, as a text, of what gives one"
                )
        if not isinstance(config.get("config", {}), Mapping) or not isinstance(config.get("durable", False), bool):
            raise memory.InvalidConfig("config is an object, as mem0 documents it, and durable is true or false")
        return {"durable": False, **config}

    @classmethod
    async def open(cls, config: Mapping[str, Any], *, clock: Clock, ids: IdSource) -> Self:
        ours = "config" in config
        opened = config["memory"] if ours is False else await anyio.to_thread.run_sync(_opened, config["config"])
        return cls(opened, ours=ours, durable=config["durable"], clock=clock, ids=ids)

    @property
    def guarantees(self) -> memory.Guarantees:
        return memory.Guarantees(
            durable=self._durable,
            atomic_batch=False,
            read_your_writes=True,
            search_modes=self.modes,
            isolation="query",
        )


class _Kept(memory.DocumentStore):
    """Documents as memories of mem0."""

    likens = True

    def __init__(self, opened: Any, *, ours: bool) -> None:
        self._mem0 = opened
        self._ours = ours

    async def load(self, scope: memory.Scope, limit: int) -> Sequence[Mapping[str, Any]]:
        found = await self._mem0.get_all(filters=_filters(scope), top_k=limit, show_expired=True)
        return [document for each in found["results"] if (document := _document(each)) is not None]

    async def save(self, documents: Sequence[memory.Document]) -> None:
        for item in documents:
            there = await self._mem0.get_all(
                filters=_exactly(item.scope) | {"record_id": item.record_id}, top_k=100, show_expired=True
            )
            before = [each["id"] for each in there["results"]]
            metadata = {
                "interlock": json.dumps(item.document),
                "record_id": item.record_id,
                "tenant": _label(item.scope.tenant),
            }
            # What is new is there before what was is not, so that a stop in between loses nothing.
            added = await self._mem0.add(
                [{"role": "user", "content": item.text.strip() or "(nothing)"}],
                infer=False,
                metadata=metadata,
                **_ids(item.scope),
            )
            for each in before:
                await self._mem0.delete(each)
            for each in (*before, *(one["id"] for one in added["results"])):
                await anyio.to_thread.run_sync(self._purge, each)

    async def nearest(self, scope: memory.Scope, text: str, limit: int) -> Mapping[memory.Key, float]:
        found = await self._mem0.search(
            text, filters=_filters(scope), top_k=limit, threshold=0.0, rerank=False, show_expired=True
        )
        told = [(_document(each), each["score"]) for each in found["results"]]
        return {_key(document): float(score) for document, score in told if document is not None}

    async def health(self) -> memory.Health:
        await self._mem0.get_all(filters=_filters(memory.Scope(tenant="nobody")), top_k=1)
        return memory.Health(ok=True, detail=type(self._mem0.vector_store).__name__)

    async def close(self) -> None:
        if self._ours and self._mem0.db is not None:
            await anyio.to_thread.run_sync(self._mem0.close)
            client: Any = getattr(self._mem0.vector_store, "client", None)
            if hasattr(client, "close"):  # mem0 leaves it open
                await anyio.to_thread.run_sync(client.close)

    def _purge(self, mem0_id: str) -> None:
        """mem0 writes every text down once more, also of what is deleted, and has no way to take it out again but this."""
        db = self._mem0.db
        with db._lock:  # noqa: SLF001 - its connection is used by several threads
            db.connection.execute("DELETE FROM history WHERE memory_id = ?", (mem0_id,))
            db.connection.commit()


def _document(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is ours of a memory of mem0's; None for one of somebody else's in the same collection."""
    told = cast("Mapping[str, Any]", found.get("metadata") or {}).get("interlock")
    if told is None:
        return None
    try:
        document = json.loads(told)
    except (TypeError, ValueError):
        document = None
    return cast("Mapping[str, Any]", document) if isinstance(document, dict) else {}


def _label(part: str | None) -> str:
    """mem0 trims its ids and refuses blanks in them; this has none, and is never mistaken for nobody's or for a wildcard."""
    return _NOBODY if part is None else "=" + quote(part, safe="")


def _ids(scope: memory.Scope) -> dict[str, str]:
    return {known: _label(getattr(scope, name)) for name, known in _IDS.items()}


def _key(document: Mapping[str, Any]) -> memory.Key:
    return memory.Key(str(document["record_id"]), memory.Scope.from_json(document["scope"]))


def _exactly(scope: memory.Scope) -> dict[str, Any]:
    """Only what is in this very scope."""
    return {"tenant": _label(scope.tenant), **_ids(scope)}


def _filters(scope: memory.Scope) -> dict[str, Any]:
    """Only what the scope names. mem0 wants one of its ids in each filter; `*` is its word for any."""
    named = {known: _label(part) for name, known in _IDS.items() if (part := getattr(scope, name)) is not None}
    return {"tenant": _label(scope.tenant)} | (named or {"user_id": "*"})


def _async_memory() -> Any:
    """Raises InvalidConfig where mem0 is not installed, or would report to its makers."""
    os.environ.setdefault("MEM0_TELEMETRY", "False")
    try:
        from mem0 import AsyncMemory  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
        from mem0.memory import telemetry  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    except ImportError:
        raise memory.InvalidConfig("mem0 is not installed", next_step="`pip install 'interlock[mem0]'`") from None
    if cast("Any", telemetry).MEM0_TELEMETRY:
        raise memory.InvalidConfig(
            "mem0 was imported with its telemetry on, which tells its makers of every operation",
            next_step="Set MEM0_TELEMETRY=False in the environment before mem0 is imported.",
        )
    return cast("Any", AsyncMemory)


def _opened(config: Mapping[str, Any]) -> Any:
    """mem0's own history is kept in memory, and is empty. Raises InvalidConfig for what mem0 does not take."""
    try:
        from mem0.configs.base import MemoryConfig  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        return _async_memory()(cast("Any", MemoryConfig)(**{**config, "history_db_path": ":memory:"}))
    except (TypeError, ValueError) as error:
        raise memory.InvalidConfig(f"mem0 does not open with this config: {type(error).__name__}") from error
