"""What a program would do for a queue of its own: a table, and a loop that takes from it."""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import psycopg

if TYPE_CHECKING:
    from bench.handing import Jobs

_CONNECTIONS = 16
_BATCH = 50
_PAYLOAD = "x" * 100


@asynccontextmanager
async def skip_locked(url: str, jobs: "Jobs") -> AsyncGenerator[Callable[[str], Awaitable[object]]]:
    """Postgres: FOR UPDATE SKIP LOCKED in batches, woken by NOTIFY, done in batches."""
    async with AsyncExitStack() as stack:

        async def connect() -> psycopg.AsyncConnection:
            session = await psycopg.AsyncConnection.connect(url, autocommit=True)
            return await stack.enter_async_context(session)

        idle = [await connect() for _ in range(_CONNECTIONS)]
        worker, listener = await connect(), await connect()
        await worker.execute(
            "CREATE TABLE bare_jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL,"
            " taken boolean NOT NULL DEFAULT false, payload text NOT NULL)"
        )
        await worker.execute("CREATE INDEX ON bare_jobs (id) WHERE NOT taken")
        await listener.execute("LISTEN bare_jobs")
        free = anyio.Semaphore(_CONNECTIONS)
        rung = anyio.Event()

        async def put(key: str) -> None:
            async with free:
                session = idle.pop()
                try:
                    await session.execute(
                        "WITH put AS (INSERT INTO bare_jobs (key, payload) VALUES (%s, %s)) SELECT pg_notify('bare_jobs', '')",
                        (key, _PAYLOAD),
                    )
                finally:
                    idle.append(session)

        async def listen() -> None:
            async for _ in listener.notifies():
                rung.set()

        async def work() -> None:
            nonlocal rung
            while True:
                rung = anyio.Event()
                while taken := await take():
                    for _, key in taken:
                        jobs.done(key)
                    await worker.execute(
                        "DELETE FROM bare_jobs WHERE id = ANY (%s)", ([number for number, _ in taken],)
                    )
                await rung.wait()

        async def take() -> list[tuple[int, str]]:
            cursor = await worker.execute(
                "UPDATE bare_jobs SET taken = true WHERE id IN (SELECT id FROM bare_jobs WHERE NOT taken ORDER BY id"
                " LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id, key",
                (_BATCH,),
            )
            return [(row[0], row[1]) for row in await cursor.fetchall()]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            tasks.start_soon(work)
            yield put
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def ungrouped(url: str, jobs: "Jobs") -> AsyncGenerator[Callable[[str], Awaitable[object]]]:
    """SQLite: each step of each job in a commit of its own."""
    raw = sqlite3.connect(url, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("CREATE TABLE bare_jobs (id INTEGER PRIMARY KEY, key TEXT, taken INTEGER DEFAULT 0, payload TEXT)")
    raw.execute("CREATE INDEX untaken ON bare_jobs (id) WHERE taken = 0")
    rung = anyio.Event()

    async def put(key: str) -> None:
        raw.execute("INSERT INTO bare_jobs (key, payload) VALUES (?, ?)", (key, _PAYLOAD))
        rung.set()

    async def work() -> None:
        nonlocal rung
        while True:
            rung = anyio.Event()
            while row := raw.execute("SELECT id, key FROM bare_jobs WHERE taken = 0 ORDER BY id LIMIT 1").fetchone():
                raw.execute("UPDATE bare_jobs SET taken = 1 WHERE id = ?", row[:1])
                jobs.done(row[1])
                raw.execute("DELETE FROM bare_jobs WHERE id = ?", row[:1])
            await rung.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        yield put
        tasks.cancel_scope.cancel()
    raw.close()
