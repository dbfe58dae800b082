"""Postgres goes away, or stands still, under a memory: it is told as what may be tried again, and it works again."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final, TypeAlias

import anyio
import anyio.to_thread
import psycopg
import pytest

from fault_proxy import Proxy
from fix_memory import MemoryDatabase
from interlock import memory

pytestmark = pytest.mark.anyio

ANA = memory.Scope(tenant="acme", user="ana")


@pytest.fixture
def proxy(memory_database: MemoryDatabase) -> Iterator[Proxy]:
    proxy = Proxy(memory_database.emptied().config["url"])
    yield proxy
    proxy.close()


@pytest.fixture
async def mem(memory_database: MemoryDatabase, proxy: Proxy) -> AsyncIterator[memory.Memory]:
    async with memory.Memory.open(memory_database.reference(url=proxy.url), scope=ANA) as mem:
        yield mem


async def kept(mem: memory.Memory) -> list[str | None]:
    return [record.text for record in (await mem.retrieve(order="oldest")).records]


@pytest.mark.parametrize(("when", "there"), [("before", []), ("after", ["x"])])
async def test_a_connection_that_breaks_at_the_commit(
    mem: memory.Memory, proxy: Proxy, when: str, there: list[str]
) -> None:
    """Nobody can tell whether it was kept; asked again with its key, it is there once."""
    proxy.arm(when, 1, lambda: False)
    with pytest.raises(memory.ProviderUnavailable, match="nobody can tell whether it did") as refused:
        await mem.remember("x", idempotency_key="k")
    assert refused.value.retryable
    assert (refused.value.provider, refused.value.operation) == ("postgres", "remember")
    assert await kept(mem) == there
    await mem.remember("x", idempotency_key="k")
    assert await kept(mem) == ["x"]


Act: TypeAlias = Callable[[memory.Memory], Awaitable[object]]
ACTS: Final[dict[str, tuple[str, Act]]] = {
    "remember": ("INSERT INTO revisions", lambda mem: mem.remember("new")),
    "ingest": ("INSERT INTO revisions", lambda mem: mem.ingest([memory.Draft(text="new"), memory.Draft(text="newer")])),
    "list": ("SELECT", lambda mem: mem.retrieve()),
    "text": ("-> ", lambda mem: mem.retrieve("first", mode="text")),
    "semantic": ("<#>", lambda mem: mem.retrieve("first", mode="semantic")),
    "prune": ("SELECT", lambda mem: mem.prune()),
}
"""By a statement of each."""


@pytest.mark.parametrize(("statement", "act"), ACTS.values(), ids=ACTS)
async def test_a_connection_that_breaks_in_the_middle(
    mem: memory.Memory, proxy: Proxy, statement: str, act: Act
) -> None:
    await mem.remember("first")
    proxy.arm_statement(statement, lambda: False)
    with pytest.raises(memory.ProviderUnavailable) as refused:
        await act(mem)
    assert refused.value.retryable
    assert await kept(mem) == ["first"]
    await mem.remember("second")
    assert await kept(mem) == ["first", "second"]


async def test_connections_that_were_lost_while_they_were_idle_are_replaced(
    mem: memory.Memory, memory_database: MemoryDatabase
) -> None:
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(mem.remember, f"{number}")
    with psycopg.connect(memory_database.admin_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert len(await kept(mem)) == 4


async def test_a_server_that_is_gone_for_a_while(mem: memory.Memory, proxy: Proxy) -> None:
    await mem.remember("before")
    proxy.refusing = True
    proxy.cut()
    for _ in range(2):
        with pytest.raises(memory.ProviderUnavailable) as refused:
            await mem.remember("meanwhile")
        assert refused.value.retryable
    assert not (await mem.health()).ok
    proxy.refusing = False
    await mem.remember("after")
    assert (await kept(mem), (await mem.health()).ok) == (["before", "after"], True)


@pytest.mark.parametrize("statement", ["INSERT INTO revisions", "SELECT"])
async def test_a_server_that_stands_still_keeps_nobody_beyond_the_deadline(
    mem: memory.Memory, proxy: Proxy, statement: str
) -> None:
    await mem.remember("before")
    proxy.arm_statement(statement, proxy.freeze(lambda: None))
    began = time.monotonic()
    with pytest.raises(memory.DeadlineExceeded):
        await mem.using(timeout=0.3).remember("meanwhile")
    assert time.monotonic() - began < 20
    assert await kept(mem) == ["before"]
    proxy.thaw()
    await mem.remember("after")
    assert await kept(mem) == ["before", "after"]


async def test_who_waits_for_another_waits_no_longer_than_its_deadline(mem: memory.Memory, proxy: Proxy) -> None:
    """Writers of a tenant take turns. One that stands still keeps the others, until it is ended, and no reader."""
    await mem.remember("before")
    stands_still = threading.Event()
    proxy.arm_statement("INSERT INTO revisions", proxy.freeze(stands_still.set))

    async def write() -> None:
        with pytest.raises(memory.DeadlineExceeded):
            await mem.using(timeout=4).remember("meanwhile")

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        await anyio.to_thread.run_sync(stands_still.wait)
        for _ in range(6):
            group.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        assert await kept(mem.using(timeout=2)) == ["before"]
    proxy.thaw()
    await mem.remember("after")
    assert await kept(mem) == ["before", "after"]


async def test_a_server_that_never_answers_is_opened_no_longer_than_the_deadline(
    memory_database: MemoryDatabase,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://ana@127.0.0.1:{port}/x"
        reference = memory.ProviderRef(name="postgres", config={"url": url}, options=memory.Options(timeout=0.3))
        with pytest.raises(memory.DeadlineExceeded):
            async with memory.Memory.open(reference, scope=ANA):
                pass
        silent.accept()[0].close()
