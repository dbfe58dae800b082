"""The baselines: what a program would do without Interlock."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import anyio
import psycopg

_VALUE = "x" * 350
_TABLE = "CREATE TABLE bare (n BIGINT PRIMARY KEY, state TEXT NOT NULL, value TEXT NOT NULL)"
_INSERT = "INSERT INTO bare VALUES (?, 'running', ?)"


def _connect(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute(_TABLE)
    return raw


class SqliteRows:
    """sqlite3 alone: a row in a commit of its own, on the caller's thread."""

    def __init__(self, path: Path) -> None:
        self._raw = _connect(path)
        self._count = 0

    def commit(self) -> None:
        """One row, for good."""
        self._count += 1
        self._raw.execute(_INSERT, (self._count, _VALUE))

    async def two(self) -> None:
        """Two rows, two commits."""
        self.commit()
        self.commit()

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()


class GroupedRows:
    """sqlite3 on a thread that puts the rows of all waiting callers into one commit."""

    def __init__(self, path: Path) -> None:
        self._raw = _connect(path)
        self._count = 0
        self._queue: SimpleQueue[anyio.Event | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, daemon=True)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["GroupedRows"]:
        """The thread, for a while."""
        self._thread.start()
        try:
            yield self
        finally:
            self._queue.put(None)
            await anyio.to_thread.run_sync(self._thread.join)
            self._raw.close()

    async def two(self) -> None:
        """Two rows, each in the next commit of many."""
        for _ in range(2):
            done = anyio.Event()
            self._queue.put(done)
            await done.wait()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            try:
                while (more := self._queue.get_nowait()) is not None:
                    batch.append(more)
            except Empty:
                more = first
            self._raw.execute("BEGIN IMMEDIATE")
            self._raw.executemany(_INSERT, [(self._count + place, _VALUE) for place in range(1, len(batch) + 1)])
            self._raw.execute("COMMIT")
            self._count += len(batch)
            self._loop.call_soon_threadsafe(_wake, batch)
            if more is None:
                return


def _wake(batch: list[anyio.Event]) -> None:
    for done in batch:
        done.set()


class PostgresRows:
    """psycopg alone: autocommit, on as many connections as there are callers, at most 16."""

    def __init__(self, idle: list[psycopg.AsyncConnection]) -> None:
        self._idle = idle
        self._free = anyio.Semaphore(len(idle))
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str, *, callers: int) -> AsyncGenerator["PostgresRows"]:
        """The connections, for a while."""
        idle = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(min(callers, 16))]
        await idle[0].execute("DROP TABLE IF EXISTS bare")
        await idle[0].execute(_TABLE)
        try:
            yield cls(list(idle))
        finally:
            for session in idle:
                await session.close()

    async def commit(self) -> None:
        """One row, for good."""
        self._count += 1
        number = self._count
        async with self._free:
            session = self._idle.pop()
            try:
                await session.execute("INSERT INTO bare VALUES (%s, 'running', %s)", (number, _VALUE))
            finally:
                self._idle.append(session)

    async def two(self) -> None:
        """Two rows, two commits."""
        await self.commit()
        await self.commit()
