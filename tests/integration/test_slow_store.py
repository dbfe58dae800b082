"""A healthy process on a store that is slow, or has much to do, keeps its hold."""

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import anyio
import anyio.to_thread
import pytest

from interlock import runs
from interlock.adapters import sql
from interlock.kernel import Tx, Uuid7Ids
from interlock.runs.watching import Watch
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

LEASE = 10.0
WRITERS = 4
"""Threads that write to Postgres; to SQLite one does."""


class Disk:
    """Commits that take as long as the test says, by the clock that it moves."""

    def __init__(self, store: sql.SqlStore, *, writers: int = 1) -> None:
        self._store = store
        self._writers = writers
        self._free = threading.Event()
        self._stuck = threading.Semaphore(0)

    def _wait(self, tx: Tx) -> None:
        self._stuck.release()
        assert self._free.wait(60)

    @asynccontextmanager
    async def stall(self) -> AsyncGenerator[None]:
        """All that writes is stuck for as long as the block lasts."""
        async with anyio.create_task_group() as writes:
            for _ in range(self._writers):
                writes.start_soon(self._store.write, self._wait)
            try:
                for _ in range(self._writers):
                    assert await anyio.to_thread.run_sync(partial(self._stuck.acquire, timeout=60))
                yield
            finally:
                self._free.set()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(autojump=False)


def owner(store: sql.SqlStore, clock: ManualClock) -> runs.Ownership:
    return runs.Ownership(
        store=store, ledger=sql.SqlLedger(store), clock=clock, ids=Uuid7Ids(clock), lease=timedelta(seconds=LEASE)
    )


@pytest.fixture
def ownership(store: sql.SqlStore, clock: ManualClock) -> runs.Ownership:
    return owner(store, clock)


class Watcher:
    """Another process, which tells live owners from dead ones by its own clock."""

    def __init__(self, store: sql.SqlStore, clock: ManualClock) -> None:
        self._store = store
        self._ledger = sql.SqlLedger(store)
        self._clock = clock
        self._watch = Watch()

    async def dead(self) -> frozenset[str]:
        asked_at = self._clock.monotonic()
        owners = await self._store.read(self._ledger.list_owners)
        return self._watch.observe(owners, asked_at=asked_at, heard_at=self._clock.monotonic())


async def test_a_commit_that_takes_most_of_a_lease(store: sql.SqlStore, ownership: runs.Ownership, clock: ManualClock):
    """It begins when the next beat is as good as due."""
    mine, watcher = ownership.owner_id, Watcher(store, clock)
    await ownership.begin()
    async with anyio.create_task_group() as group:
        group.start_soon(ownership.keep)
        await anyio.wait_all_tasks_blocked()
        clock.advance(LEASE / 5)
        await renewed(ownership)
        assert await watcher.dead() == frozenset()
        clock.advance(LEASE * 0.19)
        async with Disk(store).stall():
            clock.advance(LEASE * 0.79)
            assert await watcher.dead() == frozenset()
            assert ownership.remaining() > 0
        await renewed(ownership)
        clock.advance(LEASE / 10)
        assert await watcher.dead() == frozenset()
        assert ownership.owner_id == mine
        assert ownership.may_send(mine) > 0
        group.cancel_scope.cancel()


async def renewed(ownership: runs.Ownership) -> None:
    with anyio.fail_after(60):
        while ownership.remaining() < LEASE:  # noqa: ASYNC110 - the beat comes by itself
            await anyio.sleep(0.001)


async def test_a_beat_does_not_stand_in_line(
    sqlite_url: str, open_store: Callable[[str], sql.SqlStore], clock: ManualClock
):
    """More waits than one commit takes; the beat is the next one."""
    store = open_store(sqlite_url)
    ownership, done = owner(store, clock), list[int]()
    await ownership.begin()

    def work(tx: Tx) -> None:
        done.append(sql.SqlLedger(store).list_owners(tx)[0].beat)

    async with anyio.create_task_group() as group, Disk(store).stall():
        for _ in range(300):
            group.start_soon(store.write, work)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(ownership.renew)
        await anyio.wait_all_tasks_blocked()
    assert done == [2] * 300


async def test_a_beat_has_a_thread_of_its_own(
    postgres_url: str, open_store: Callable[[str], sql.SqlStore], clock: ManualClock
):
    store = open_store(postgres_url)
    ownership = owner(store, clock)
    await ownership.begin()
    async with Disk(store, writers=WRITERS).stall():
        clock.advance(LEASE / 2)
        await ownership.renew()
        assert ownership.remaining() == LEASE


async def test_what_waited_in_line_is_not_taken_from_the_lease(
    sqlite_url: str, open_store: Callable[[str], sql.SqlStore], clock: ManualClock
):
    """A beat counts from its own transaction, not from when it was asked for."""
    store = open_store(sqlite_url)
    ownership = owner(store, clock)
    await ownership.begin()
    async with anyio.create_task_group() as group, Disk(store).stall():
        group.start_soon(ownership.renew)
        await anyio.wait_all_tasks_blocked()
        clock.advance(LEASE * 0.9)
    assert ownership.remaining() == LEASE
