"""Other engines doing the bare job: it says that it was called, and nothing else."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

if TYPE_CHECKING:
    from bench.handing import Jobs

Put: TypeAlias = Callable[[str], Awaitable[object]]
Maker: TypeAlias = Callable[[str, "Jobs"], AbstractAsyncContextManager[Put]]


def _engine(name: str) -> Any:
    """Only where speed is measured are these installed."""
    return import_module(name)


@asynccontextmanager
async def pgqueuer(url: str, jobs: "Jobs") -> AsyncGenerator[Put]:
    """pgqueuer by itself, with its own manager, by asyncpg: its driver for psycopg keeps its one connection for up to a second
    while it listens."""
    from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, Job, Queries, QueueManager

    asyncpg = _engine("asyncpg")
    async with await asyncpg.create_pool(url, min_size=2, max_size=16) as pool:
        session = await asyncpg.connect(url)
        manager = QueueManager(Queries(AsyncpgDriver(session)))
        puts = Queries(AsyncpgPoolDriver(pool))
        await puts.install()

        @manager.entrypoint("bench")
        async def _(job: Job) -> None:
            jobs.done((job.payload or b"").decode())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.run)
            yield lambda key: puts.enqueue("bench", key.encode())
            manager.shutdown.set()
        await session.close()


@asynccontextmanager
async def procrastinate(url: str, jobs: "Jobs") -> AsyncGenerator[Put]:
    """Procrastinate, with twenty at once."""
    engine = _engine("procrastinate")
    app = engine.App(connector=engine.PsycopgConnector(conninfo=url, min_size=4, max_size=16))

    @app.task(name="bench")
    async def job(key: str) -> None:
        jobs.done(key)

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        working = app.run_worker_async(concurrency=20, install_signal_handlers=False)
        worker = asyncio.ensure_future(working)  # noqa: TID251 - a scope cancels again and again, which cuts its end off
        try:
            yield lambda key: job.defer_async(key=key)
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker


@asynccontextmanager
async def dbos(url: str, jobs: "Jobs") -> AsyncGenerator[Put]:
    """DBOS, which polls: twenty times a second here. On SQLite with a write-ahead log, which it does not ask for."""
    engine = _engine("dbos").DBOS
    address = url
    if "://" not in url:
        address = f"sqlite:///{url}"
        with closing(sqlite3.connect(url)) as file:
            file.execute("PRAGMA journal_mode = WAL")
    engine(config={"name": "bench", "system_database_url": address, "run_admin_server": False, "log_level": "ERROR"})

    @engine.workflow()
    async def job(key: str) -> None:
        jobs.done_elsewhere(key)

    engine.launch()
    try:
        queue = await engine.register_queue_async("bench", polling_interval_sec=0.05)
        yield lambda key: queue.enqueue_async(job, key)
    finally:
        await asyncio.to_thread(engine.destroy, destroy_registry=True)
