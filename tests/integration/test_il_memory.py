"""`il.memory`, and memory without an event loop."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_forks import in_a_fork
from interlock import Interlock, app, memory, sync
from interlock.kernel import Caller

FILE = {"path": ".interlock/memory.db"}
ANA = memory.Scope(tenant="default", user="ana")


def settings(folder: Path, **memory_settings: Any) -> app.Settings:
    values: dict[str, Any] = {"store": ":memory:", "folder": folder, "memory": {"config": FILE} | memory_settings}
    return app.Settings(**values)


@pytest.mark.anyio
async def test_it_is_opened_when_it_is_asked_for_and_kept_apart_by_tenant(tmp_path: Path):
    file = tmp_path / ".interlock" / "memory.db"
    async with Interlock.open(settings=settings(tmp_path)) as il:
        assert not await anyio.Path(file).exists()
        other = il.as_caller(Caller(tenant_id="other", actor="agent"))
        mems: list[memory.Memory] = []

        async def open_one(name: str) -> None:
            mems.append(await il.memory(user=name))

        async with anyio.create_task_group() as tasks:
            for name in ("ana", "bob"):
                tasks.start_soon(open_one, name)
        ana = next(mem for mem in mems if mem.scope == ANA)
        assert mems[0].provider is mems[1].provider
        kept = await ana.remember("Ana's")
        assert (await (await other.memory(user="ana")).retrieve()).hits == ()
        assert [record.text for record in (await (await il.memory()).retrieve()).records] == ["Ana's"]
        with pytest.raises(memory.InvalidInput):
            await il.memory(user="")
    with pytest.raises(app.Closed):
        await il.memory()
    async with Interlock.open(settings=settings(tmp_path)) as il:
        assert await (await il.memory(user="ana")).get(kept.record_id) == kept


@pytest.mark.anyio
async def test_who_keeps_it_is_as_the_settings_say(tmp_path: Path):
    chosen = settings(tmp_path, config={"path": "m.db", "embedder": "none"}, timeout=7)
    async with Interlock.open(settings=chosen) as il:
        mem = await il.memory()
        assert mem.info().capabilities.guarantees.search_modes == {memory.SearchMode.TEXT}
    assert await anyio.Path(tmp_path / "m.db").exists()
    broken = settings(tmp_path, provider="none", config={})
    async with Interlock.open(settings=broken) as il:
        for _ in range(2):
            with pytest.raises(memory.UnknownProvider):
                await il.memory()


@pytest.mark.anyio
async def test_beside_a_store_in_memory_it_is_in_memory_unless_a_file_is_named(tmp_path: Path):
    async with Interlock.open(settings=settings(tmp_path, config={})) as il:
        mem = await il.memory(user="ana")
        kept = await mem.remember("here")
        assert (mem.info().name, (await mem.retrieve("here")).records) == ("memory", (kept,))
    assert not await anyio.Path(tmp_path / ".interlock").exists()


def test_without_an_event_loop(tmp_path: Path):
    with sync.Interlock.open(settings=settings(tmp_path)) as il:
        mem = il.memory(user="ana")
        kept = mem.remember("Ana prefers short answers", memory_class="semantic")
        with ThreadPoolExecutor(4) as pool:
            found = [each.result().records for each in [pool.submit(mem.retrieve, "answers") for _ in range(8)]]
        assert found == [(kept,)] * 8
        assert mem.narrowed(session="s1").retrieve().hits == ()
    with pytest.raises(app.Closed):
        mem.get(kept.record_id)
    path = str(tmp_path / ".interlock" / "memory.db")
    with sync.Memory.open("sqlite", {"path": path}, scope=ANA) as own:
        assert own.using(limit=1).retrieve().records == (kept,)
        assert (own.scope, own.info().name, own.capabilities().supports("history")) == (ANA, "sqlite", True)
        told = in_a_fork(lambda: own.get(kept.record_id) and "it answered")
        assert told.startswith("Forked: this memory was opened by process"), told
        assert own.health().ok
    with pytest.raises(app.Closed, match="this memory is closed"):
        own.get(kept.record_id)
    with pytest.raises(memory.UnknownProvider), sync.Memory.open("none", scope=ANA):
        pass


def test_whatever_memory_can_be_awaited_for_can_be_waited_for():
    methods = {
        each for each, what in vars(memory.Memory).items() if inspect.iscoroutinefunction(what) and each[0] != "_"
    }
    assert methods - vars(sync.Memory).keys() == set()
