"""An Interlock memory as LangGraph's store: what LangGraph's own store answers, it answers too."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
    TTLConfig,
)
from langgraph.store.memory import InMemoryStore

from interlock import memory
from interlock.bridges.langgraph import MemoryStore
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

ANA = memory.Scope(tenant="acme", user="ana")


@pytest.fixture
async def mem() -> AsyncGenerator[memory.Memory]:
    async with memory.Memory.open("memory", scope=ANA, clock=ManualClock()) as opened:
        yield opened


@pytest.fixture
async def store(mem: memory.Memory) -> MemoryStore:
    return MemoryStore(mem, clock=mem._clock)


@pytest.fixture
async def both(store: MemoryStore) -> tuple[BaseStore, BaseStore]:
    """Ours, and LangGraph's own."""
    return store, InMemoryStore()


async def filled(store: BaseStore) -> None:
    for namespace, key, value in (
        (("users", "ana"), "a", {"n": 1, "tag": "x", "deep": {"k": [1, 2]}}),
        (("users", "ana"), "b", {"n": 2, "tag": "y"}),
        (("users", "ana", "notes"), "a", {"n": 3, "tag": "x"}),
        (("users", "an"), "a", {"n": 4}),
        (("documents", "v1"), "a", {"n": 5}),
        (("documents", "drafts", "v1"), "a", {"n": 6, "tag": None}),
    ):
        await store.aput(namespace, key, value)


def shown(items: Any) -> Any:
    return sorted((item.namespace, item.key, item.value["n"]) for item in items)


async def test_it_is_put_got_replaced_and_deleted(both: tuple[BaseStore, BaseStore]):
    for store in both:
        assert await store.aget(("users",), "k") is None
        await store.aput(("users",), "k", {"n": 1, "list": [1, None, {"a": "ü"}]})
        first = await store.aget(("users",), "k")
        assert first is not None
        assert (first.namespace, first.key, first.value) == (("users",), "k", {"n": 1, "list": [1, None, {"a": "ü"}]})
        await store.aput(("users",), "k", {"n": 2})
        await store.aput(("users",), "k", {"n": 1})
        await store.aput(("users",), "k", {})
        second = await store.aget(("users",), "k")
        assert second is not None
        assert second.value == {}
        assert second.updated_at >= second.created_at
        await store.adelete(("users",), "k")
        await store.adelete(("users",), "k")
        assert await store.aget(("users",), "k") is None
        await store.aput(("users",), "k", {"n": 3})
        third = await store.aget(("users",), "k")
        assert third is not None
        assert third.value == {"n": 3}


@pytest.mark.parametrize(
    ("prefix", "fields"),
    [
        ((), {}),
        (("users",), {}),
        (("users", "ana"), {}),
        (("users", "an"), {}),
        (("users", "a"), {}),
        (("users",), {"filter": {"tag": "x"}}),
        (("users",), {"filter": {"n": {"$gte": 2, "$lt": 4}}}),
        (("users",), {"filter": {"n": {"$ne": 1}}}),
        (("users",), {"filter": {"deep": {"k": [1, 2]}}}),
        (("users",), {"filter": {"deep": {"k": [1]}}}),
        (("documents",), {"filter": {"tag": None}}),
    ],
)
async def test_a_search_finds_what_langgraph_s_own_finds(
    both: tuple[BaseStore, BaseStore], prefix: tuple[str, ...], fields: dict[str, Any]
):
    answers: list[Any] = []
    for store in both:
        await filled(store)
        answers.append(shown(await store.asearch(prefix, **fields)))
    assert answers[0] == answers[1]


async def test_pages_of_a_search_have_everything_once(store: MemoryStore):
    for number in range(25):
        await store.aput(("many",), f"{number}", {"n": number})
    seen = [item.key for at in range(0, 30, 10) for item in await store.asearch(("many",), limit=10, offset=at)]
    assert (len(seen), set(seen)) == (25, {f"{number}" for number in range(25)})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_depth": 2},
        {"max_depth": 1},
        {"prefix": ("users",)},
        {"prefix": ("users", "*", "notes")},
        {"suffix": ("v1",)},
        {"suffix": ("*", "v1")},
        {"prefix": ("documents",), "suffix": ("v1",)},
        {"prefix": ("nobody",)},
        {"limit": 2, "offset": 1},
    ],
)
async def test_namespaces_are_listed_as_langgraph_s_own_does(both: tuple[BaseStore, BaseStore], fields: dict[str, Any]):
    answers: list[Any] = []
    for store in both:
        await filled(store)
        answers.append(await store.alist_namespaces(**fields))
    assert answers[0] == answers[1]


async def test_a_batch_answers_in_order_and_reads_before_it_writes(both: tuple[BaseStore, BaseStore]):
    for store in both:
        await filled(store)
        ops = [
            PutOp(("users", "ana"), "a", {"n": 7}),
            GetOp(("users", "ana"), "a"),
            SearchOp(("documents",), limit=5),
            PutOp(("users", "ana"), "a", {"n": 8}),
            GetOp(("users",), "nobody"),
            ListNamespacesOp(match_conditions=(MatchCondition("suffix", ("notes",)),)),
            PutOp(("users", "ana"), "b", None),
        ]
        results: list[Any] = await store.abatch(ops)
        assert [results[0], results[3], results[4], results[6]] == [None] * 4
        assert (results[1].value["n"], shown(results[2])[0][2]) == (1, 6)
        assert results[5] == [("users", "ana", "notes")]
        after: list[Any] = await store.abatch([GetOp(("users", "ana"), "a"), GetOp(("users", "ana"), "b")])
        assert (after[0].value, after[1]) == ({"n": 8}, None)


async def test_a_query_is_searched_by_the_memory(store: MemoryStore):
    await store.aput(("notes",), "1", {"text": "the billing service failed on Friday"})
    await store.aput(("notes",), "2", {"text": "weather in Lyon"})
    await store.aput(("other",), "3", {"text": "billing"})
    await store.aput(("notes",), "4", {"text": "billing", "more": "sunny"}, index=["more"])
    await store.aput(("notes",), "5", {"text": "billing"}, index=False)
    found = await store.asearch(("notes",), query="billing failed", limit=1)
    assert (found[0].key, (found[0].score or 0) > 0) == ("1", True)
    assert [item.key for item in await store.asearch(("notes",), query="sunny", limit=1)] == ["4"]


async def test_labels_are_never_joined(store: MemoryStore):
    await store.aput(("a", "b:c"), "k", {"n": 1})
    await store.aput(("a:b", "c"), "k", {"n": 2})
    await store.aput(("a", "b"), "c", {"n": 3})
    assert shown(await store.asearch(("a",))) == [(("a", "b"), "c", 3), (("a", "b:c"), "k", 1)]
    for namespace in ((), ("a.b",), ("",), ("langgraph",)):
        with pytest.raises(InvalidNamespaceError):
            await store.aput(namespace, "k", {})
    for op in (PutOp(("a.b",), "k", {}), GetOp(("x",) * 33, "k"), GetOp((), "k")):
        with pytest.raises(InvalidNamespaceError):
            await store.abatch([op])
    with pytest.raises(ValueError, match=r"\$near"):
        await store.asearch(("a",), filter={"n": {"$near": 1}})


async def test_another_scope_has_other_items(mem: memory.Memory, store: MemoryStore):
    other = MemoryStore(memory.Memory(mem.provider, memory.Scope(tenant="acme", user="bob")))
    await store.aput(("notes",), "k", {"n": 1})
    await mem.remember("no item")
    assert await other.aget(("notes",), "k") is None
    assert await other.alist_namespaces() == []
    await other.aput(("notes",), "k", {"n": 2})
    assert shown(await store.asearch(())) == [(("notes",), "k", 1)]


async def test_items_live_for_their_time_since_they_were_read(mem: memory.Memory):
    clock = mem._clock
    assert isinstance(clock, ManualClock)
    store = MemoryStore(mem, ttl=TTLConfig(default_ttl=10, refresh_on_read=True), clock=clock)
    await store.aput(("t",), "lives", {"n": 1})
    await store.aput(("t",), "forever", {"n": 2}, ttl=None)
    for _ in range(3):
        clock.advance(9 * 60)
        assert await store.aget(("t",), "lives") is not None
    assert await store.aget(("t",), "lives", refresh_ttl=False) is not None
    clock.advance(10 * 60)
    assert await store.aget(("t",), "lives") is None
    assert shown(await store.asearch(("t",))) == [(("t",), "forever", 2)]
    for value in ({"n": 1}, {"n": 4}):
        await store.aput(("t",), "lives", value)
        clock.advance(11 * 60)
        await store.aput(("t",), "lives", value)
        found = await store.aget(("t",), "lives")
        assert found is not None
        assert found.value == value
        clock.advance(11 * 60)


async def test_many_put_one_item_at_once(store: MemoryStore):
    async def put(number: int) -> None:
        await store.aput(("race",), "k", {"n": number})

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(put, number)
    assert len(await store.asearch(("race",))) == 1


async def test_other_threads_call_it_synchronously(store: MemoryStore):
    def work() -> Any:
        store.put(("sync",), "k", {"n": 1})
        return store.get(("sync",), "k"), store.search(("sync",)), store.list_namespaces()

    item, found, namespaces = await to_thread.run_sync(work)
    assert (item.value, len(found), namespaces) == ({"n": 1}, 1, [("sync",)])
    with pytest.raises(asyncio.InvalidStateError, match="await store"):
        store.get(("sync",), "k")


async def test_what_is_too_large_is_refused(store: MemoryStore):
    with pytest.raises(memory.InvalidInput):
        await store.aput(("big",), "k", {"text": "x" * 300_000})
    assert await store.aget(("big",), "k") is None


async def test_items_are_there_after_a_restart(tmp_path: Path):
    for number in (1, 2):
        config = {"path": str(tmp_path / "items.db"), "embedder": "none"}
        async with memory.Memory.open("sqlite", config, scope=ANA) as mem:
            store = MemoryStore(mem)
            if number == 1:
                await store.aput(("kept",), "k", {"text": "tea"})
            found = await store.asearch((), query="tea")
            assert [(item.namespace, item.key, item.value) for item in found] == [(("kept",), "k", {"text": "tea"})]
