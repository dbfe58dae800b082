"""An Interlock memory as a LangGraph store: `MemoryStore` is a `langgraph.store.base.BaseStore`."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, cast

from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)

from interlock import memory
from interlock.kernel import Clock, SystemClock, digest

MOST_LABELS: Final = 32
"""How deep a namespace may be."""

KIND: Final = "langgraph_item"
"""The kind of its records."""

_PAGE: Final = 500
_TRIES: Final = 20
_FIELDS: Final = ("$",)


class MemoryStore(BaseStore):
    """Items of LangGraph as records of one scope: each item is a record, each put a revision. Namespaces are compared label by
    label. A search with a query is the memory's own, by words, likeness or both, as it is able to; without, the newest come
    first. What a batch reads, it reads before it writes, as LangGraph's own stores do.

    It lives on the event loop that it is made on; its synchronous methods are for other threads, as LangGraph has them for
    nodes that are plain functions. Items expire by `ttl` (minutes), and are removed when they are put again or by
    `memory.prune()`. Raises MemoryFault, and InvalidNamespaceError.
    """

    supports_ttl = True

    def __init__(
        self,
        mem: memory.Memory,
        *,
        fields: Iterable[str] = _FIELDS,
        ttl: TTLConfig | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Over a memory that is open, and stays so. `fields` are what is searched of a value unless `index` says otherwise, as
        paths of LangGraph's."""
        self.mem = mem
        self.ttl_config = ttl
        self._fields = tuple(fields)
        self._clock = clock or SystemClock()
        self._loop = asyncio.get_running_loop()

    # -- what LangGraph calls

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """The same for another thread. Raises InvalidStateError on the store's own event loop, which would wait for itself."""
        try:
            here: object = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            raise asyncio.InvalidStateError(
                "this thread runs the store's event loop: `await store.aget(…)`, `store.aput(…)`"
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(list(ops)), self._loop).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The result of each, in their order."""
        listed = list(ops)
        for op in listed:
            _check(op)
        results: list[Result] = []
        puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
        for op in listed:
            if isinstance(op, PutOp):
                puts[op.namespace, op.key] = op
                results.append(None)
            else:
                results.append(await self._read(op))
        for op in puts.values():
            await self._put(op)
        return results

    async def _read(self, op: GetOp | SearchOp | ListNamespacesOp) -> Result:
        if isinstance(op, GetOp):
            record = await self._find(op.namespace, op.key)
            if record is None:
                return None
            if op.refresh_ttl:
                await self._touch(record)
            return Item(**_item(record))
        if isinstance(op, SearchOp):
            return await self._search(op)
        return await self._namespaces(op)

    # -- one item

    async def _find(self, namespace: tuple[str, ...], key: str) -> memory.Record | None:
        found = await self.mem.retrieve(kinds=[KIND], tags_all=[_name("item", [*namespace], key)], limit=1)
        return found.records[0] if found.hits else None

    async def _put(self, op: PutOp) -> None:
        """Again if somebody else was faster, or if what has expired is in the way. Raises RecordConflict if that never ends."""
        draft = self._draft(op)
        for _ in range(_TRIES):
            there = await self._find(op.namespace, op.key)
            try:
                if op.value is None:
                    return None if there is None else await self._forget(there)
                if there is not None:
                    await self.mem.remember(draft.changed(record_id=there.record_id))
                    return None
                kept = await self.mem.remember(draft.changed(idempotency_key=draft.tags[0]))
                if _told(kept) == _told(draft) and (kept.expires_at is None or kept.expires_at > self._clock.now()):
                    return None
            except (memory.RecordConflict, memory.RecordNotFound):
                pass
            await self.mem.prune()
        raise memory.RecordConflict(
            f"the item {op.key[:100]!r} is written by others all the time", operation="remember"
        )

    async def _forget(self, record: memory.Record) -> None:
        await self.mem.forget(record.record_id)

    def _draft(self, op: PutOp) -> memory.Draft:
        value = dict(op.value or {})
        paths = () if op.index is False else self._fields if op.index is None else op.index
        texts = [
            text for path in paths for text in get_text_at_path(value, tokenize_path(path) if path != "$" else path)
        ]
        said = "\n".join(text for text in texts if text.strip())
        whole = {"namespace": [*op.namespace], "key": op.key, "value": value, "ttl": op.ttl}
        return memory.Draft.of(
            text=said or None,
            content={"langgraph": 1},
            kind=KIND,
            tags=(
                _name("item", [*op.namespace], op.key),
                *(_name("under", [*op.namespace[:depth]]) for depth in range(len(op.namespace) + 1)),
            ),
            metadata={"langgraph": whole},
            expires_at=self._ends(op.ttl),
        )

    def _ends(self, ttl: float | None) -> datetime | None:
        return None if ttl is None else self._clock.now() + timedelta(minutes=ttl)

    async def _touch(self, record: memory.Record) -> None:
        """Let it live for its whole time again, from now on."""
        ttl = _told(record)["ttl"]
        if ttl is None:
            return
        fields = {
            name: getattr(record, name) for name in memory.Draft.model_fields if name in memory.Record.model_fields
        }
        own = {"contract": "interlock.memory-draft/v1", "scope": None, "idempotency_key": None}
        try:
            await self.mem.remember(memory.Draft.of(**fields | own | {"expires_at": self._ends(ttl)}))
        except (memory.RecordConflict, memory.RecordNotFound):
            return  # it was changed or removed in between, and that counts

    # -- many

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        found: list[memory.Hit] = []
        tags = [_name("under", [*op.namespace_prefix])]
        pages = self._pages(memory.Query.of(text=op.query or None, kinds=(KIND,), tags_all=tags, limit=_PAGE))
        async for page in pages:
            found += [hit for hit in page.hits if _fits(_told(hit.record)["value"], op.filter or {})]
            if len(found) >= op.offset + op.limit:
                break
        hits = found[op.offset : op.offset + op.limit]
        for hit in hits if op.refresh_ttl else ():
            await self._touch(hit.record)
        return [SearchItem(**_item(hit.record), score=hit.score) for hit in hits]

    async def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        seen: set[tuple[str, ...]] = set()
        query = memory.Query.of(kinds=(KIND,), tags_all=[_name("under", _sure(conditions))], limit=_PAGE)
        async for page in self._pages(query):
            for record in page.records:
                namespace = tuple(_told(record)["namespace"])
                if all(_matches(condition, namespace) for condition in conditions):
                    seen.add(namespace[: op.max_depth])
        return sorted(seen)[op.offset : op.offset + op.limit]

    async def _pages(self, query: memory.Query) -> AsyncIterator[memory.RetrieveResult]:
        page = await self.mem.retrieve(query)
        yield page
        while page.cursor is not None:
            page = await self.mem.retrieve(query.changed(cursor=page.cursor))
            yield page


def _check(op: Op) -> None:
    validate_op_namespace(op)
    if isinstance(op, GetOp | PutOp):
        if len(op.namespace) > MOST_LABELS:
            raise InvalidNamespaceError(
                f"a namespace has at most {MOST_LABELS} labels, and this one has {len(op.namespace)}"
            )
        if not op.namespace:
            raise InvalidNamespaceError("a namespace has at least one label")
    elif isinstance(op, SearchOp) and (op.offset < 0 or op.limit < 0):
        raise ValueError("limit and offset are not negative")


def _name(*parts: Any) -> str:
    """A tag for a namespace, or for an item in one: of the labels themselves, and not of a text that they were joined into."""
    return f"{parts[0]}:{digest(list(parts))[7:39]}"


def _told(record: memory.Record | memory.Draft) -> dict[str, Any]:
    return cast("dict[str, Any]", record.metadata["langgraph"])


def _item(record: memory.Record) -> dict[str, Any]:
    told = _told(record)
    return {
        "namespace": tuple(told["namespace"]),
        "key": told["key"],
        "value": told["value"],
        "created_at": record.observed_at,
        "updated_at": record.recorded_at,
    }


def _sure(conditions: Iterable[MatchCondition]) -> list[str]:
    """The longest prefix that every match begins with."""
    sure: list[str] = []
    for condition in conditions:
        if condition.match_type == "prefix":
            path = list(condition.path)
            plain = path[: path.index("*")] if "*" in path else path
            sure = max(sure, plain, key=len)
    return sure


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = condition.path
    if len(path) > len(namespace):
        return False
    labels = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(due in ("*", label) for due, label in zip(path, labels, strict=True))


def _fits(value: Any, due: Any) -> bool:
    """Whether a value is as a filter of LangGraph's says: members that are equal, or compared by `$eq`, `$ne`, `$gt`, `$gte`,
    `$lt`, `$lte`. Raises ValueError for another comparison."""
    if isinstance(due, Mapping):
        told = cast("Mapping[str, Any]", due)
        if any(name.startswith("$") for name in told):
            return all(_compares(value, name, limit) for name, limit in told.items())
        return isinstance(value, Mapping) and all(
            _fits(cast("Mapping[str, Any]", value).get(name), each) for name, each in told.items()
        )
    if isinstance(due, list | tuple):
        listed = cast("list[Any]", due)
        if not isinstance(value, list | tuple):
            return False
        there = cast("list[Any]", value)
        return len(there) == len(listed) and all(map(_fits, there, listed))
    return bool(value == due)


def _compares(value: Any, how: str, limit: Any) -> bool:
    if how in ("$eq", "$ne"):
        return bool(value == limit) is (how == "$eq")
    if how not in ("$gt", "$gte", "$lt", "$lte"):
        raise ValueError(f"there is no comparison {how!r}; there are $eq, $ne, $gt, $gte, $lt and $lte")
    try:
        one, other = float(value), float(limit)
    except (TypeError, ValueError):
        return False  # what is no number is neither more nor less
    return {"$gt": one > other, "$gte": one >= other, "$lt": one < other, "$lte": one <= other}[how]
