"""Fixtures: queues on every engine, and workers whose jobs a test lets go.

`yard` runs a test on each engine. Its time stands still until `pass_time`, for the queue and for its rows, so that what is due
and whose lease is over is the test's to say; only what a worker does by itself (it beats, it looks for work) takes real time.
"""

import inspect
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, TypeAlias

import anyio
import pytest
from sqlalchemy.engine import make_url

from fault_proxy import Proxy
from interlock import dispatch, testing
from interlock.adapters import queues, sql
from interlock.adapters.sql import sqlite
from interlock.kernel import to_micros

PATIENCE = 60.0
SHARED_ENGINES = ("sqlite-file", "postgres")
NEVER = 3600.0
MEMORY = "sqlite:///:memory:"
_RANK = 1_790_000_000_000
"""About now."""

Outage: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]


class Hand:
    """Handles jobs: notes them, and ends each when it is let go."""

    def __init__(self, *, open_: bool) -> None:
        self.handed: list[dispatch.Job] = []
        self.ended: list[dispatch.Job] = []
        self.fails = 0
        """So many jobs are refused."""
        self.go = anyio.Event()
        if open_:
            self.go.set()
        self._send, self._receive = anyio.create_memory_object_stream[dispatch.Job](1_000_000)
        self.scope = anyio.CancelScope()
        self.stopped = anyio.Event()
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self, job: dispatch.Job, seen: object = None) -> None:
        self.handed.append(job)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self._send.send_nowait(job)
        try:
            await self.go.wait()
            if self.fails:
                self.fails -= 1
                raise RuntimeError("not today")
            self.ended.append(job)
        finally:
            self.at_once -= 1

    async def next(self) -> dispatch.Job:
        """The next one that it is handed."""
        with anyio.fail_after(PATIENCE):
            return await self._receive.receive()

    async def several(self, number: int) -> list[str]:
        """The works of the next ones."""
        return [(await self.next()).work_id for _ in range(number)]

    def close(self) -> None:
        self._send.close()
        self._receive.close()


@dataclass
class Yard:
    """A queue on one store."""

    store: sql.SqlStore
    url: str
    clock: testing.ManualClock
    ids: testing.SequentialIds
    open_store: Callable[[str], sql.SqlStore]

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self.queue = self.make_queue()

    def make_queue(
        self, store: sql.SqlStore | None = None, *, url: str | None = None, **timing: float
    ) -> dispatch.Queue:
        """Another process's, as it were, if `store` is another one on the same database."""
        return queues.make_queue(
            url or self.url,
            store or self.store,
            sql.connection,
            clock=self.clock,
            ids=self.ids,
            timing=queues.Timing(**{"look": 0.05, **timing}),
        )

    def job(self, work_id: str = "", **fields: Any) -> dispatch.Job:
        """A job that is due. Later ones have a higher rank."""
        number = next(self._numbers)
        defaults: dict[str, Any] = {
            "work_id": work_id or f"run_{number:04}",
            "tenant_id": "acme",
            "lane": "capability",
            "number": 1,
            "due_at": self.clock.now(),
            "rank": _RANK + 1000 * number,
        }
        return dispatch.Job(**{**defaults, **fields})

    def due_in(self, seconds: float) -> dict[str, Any]:
        return {"due_at": self.clock.now() + timedelta(seconds=seconds)}

    async def put(self, *jobs: dispatch.Job, queue: dispatch.Queue | None = None) -> None:
        await self.store.write(lambda tx: (queue or self.queue).put(tx, jobs))

    async def withdraw(self, *work_ids: str) -> None:
        await self.store.write(lambda tx: self.queue.withdraw(tx, work_ids))

    async def missing(self, *jobs: dispatch.Job) -> list[str]:
        """The works of those that are not there."""
        return [job.work_id for job in await self.store.read(lambda tx: self.queue.find_missing(tx, jobs))]

    async def gone(self, *jobs: dispatch.Job) -> None:
        """Until none of them is there."""
        await until(lambda: self._all_gone(jobs))

    async def _all_gone(self, jobs: Sequence[dispatch.Job]) -> bool:
        return len(await self.missing(*jobs)) == len(jobs)

    async def pass_time(self, seconds: float) -> None:
        """So much later, for the queue and for its rows."""
        self.clock.advance(seconds)
        if self.is_postgres:
            later = f"interval '{seconds} seconds'"
            await self.execute(
                f"UPDATE interlock_pgqueuer SET execute_after = execute_after - {later}, heartbeat = heartbeat - {later}"
            )

    async def tick(self, condition: Callable[[], Any]) -> None:
        """Let time go on, as fast as it may, until the condition holds."""
        with anyio.fail_after(PATIENCE):
            while not condition():
                await self.pass_time(2)
                await anyio.sleep(0.01)

    async def is_held_for_long(self) -> bool:
        """Whether what is held has two more seconds at least: its holder has just beaten."""

        if self.is_postgres:
            query = "SELECT coalesce(bool_and(heartbeat > now() - interval '2 seconds'), true) FROM interlock_pgqueuer"
            return await self.fetch(f"{query} WHERE status = 'picked'")
        now = to_micros(self.clock.now())
        return await self.fetch(f"SELECT min(held_until) - {now} > 2000000 FROM jobs WHERE holder IS NOT NULL")

    async def has_put_off(self) -> bool:
        """Whether a job waits until it is due."""
        table, lane = ("interlock_pgqueuer", "entrypoint") if self.is_postgres else ("jobs", "lane")
        return await self.fetch(f"SELECT count(*) > 0 FROM {table} WHERE {lane} LIKE '~%%'")

    async def execute(self, statement: str) -> None:
        """Something done to the queue's rows."""
        await self.store.write(lambda tx: sql.connection(tx).exec_driver_sql(statement))

    async def fetch(self, query: str) -> Any:
        """One value of the queue's rows."""
        return await self.store.read(lambda tx: sql.connection(tx).exec_driver_sql(query).scalar_one())

    @property
    def is_postgres(self) -> bool:
        """Whether its rows are pgqueuer's."""
        return self.url.startswith("postgresql")

    def elsewhere(self) -> sql.SqlStore:
        """The store, as another process has it."""
        return self.open_store(self.url)

    @asynccontextmanager
    async def outages(self, patch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[dispatch.Queue, Outage]]:
        """Another process's queue, and what takes its store away for a while."""
        if self.is_postgres:
            with closing(Proxy(self.url)) as proxy:
                yield self.make_queue(self.open_store(proxy.url), url=proxy.url), lambda: _refusing(proxy)
            return
        patch.setattr(sqlite, "BUSY_SECONDS", 0.01)
        path = make_url(self.url).database or ""

        @asynccontextmanager
        async def outage() -> AsyncGenerator[None]:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                yield

        yield self.make_queue(self.open_store(self.url)), outage

    @asynccontextmanager
    async def worker(
        self,
        *,
        lanes: Sequence[str] = ("capability",),
        at_once: int = 4,
        open_: bool = True,
        queue: dispatch.Queue | None = None,
    ) -> AsyncGenerator[Hand]:
        """A worker that serves meanwhile, and is told to stop in the end. Unless it is `open_`, its jobs wait for `go`."""
        hand = Hand(open_=open_)

        async def serve() -> None:
            with hand.scope:
                await (queue or self.queue).serve(hand, lanes=lanes, at_once=at_once)
            hand.stopped.set()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(serve)
                try:
                    yield hand
                finally:
                    hand.scope.cancel()
                    hand.go.set()
        finally:
            hand.close()


@asynccontextmanager
async def _refusing(proxy: Proxy) -> AsyncGenerator[None]:
    proxy.cut()
    proxy.refusing = True
    yield
    proxy.refusing = False


async def until(condition: Callable[[], Any]) -> None:
    """Look again and again. Fails after a minute."""
    with anyio.fail_after(PATIENCE):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await anyio.sleep(0.02)


@pytest.fixture
def make_yard(request: pytest.FixtureRequest, open_store: Callable[[str], sql.SqlStore]) -> Callable[[str], Yard]:
    """A queue on that engine."""
    urls = {"sqlite-file": "sqlite_url", "postgres": "postgres_url"}

    def make(engine: str) -> Yard:
        url = MEMORY if engine == "sqlite-memory" else request.getfixturevalue(urls[engine])
        clock = testing.ManualClock(autojump=False)
        return Yard(open_store(url), url, clock, testing.SequentialIds(), open_store)

    return make


@pytest.fixture(params=SHARED_ENGINES)
def yard(request: pytest.FixtureRequest, make_yard: Callable[[str], Yard]) -> Yard:
    """A queue on each engine in turn."""
    return make_yard(request.param)


@pytest.fixture(params=[*SHARED_ENGINES, "sqlite-memory"])
def every_yard(request: pytest.FixtureRequest, make_yard: Callable[[str], Yard]) -> Yard:
    """As `yard`, and in memory."""
    return make_yard(request.param)
