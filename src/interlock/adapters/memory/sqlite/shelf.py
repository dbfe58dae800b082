"""`memory.Shelf`: one SQLite file, its own and never the ledger's."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self, TypeVar

import anyio.to_thread

from interlock import memory
from interlock.adapters.memory.sqlite import file
from interlock.adapters.memory.sqlite.rows import SqliteRows
from interlock.adapters.memory.vectors import Matrix

T = TypeVar("T")


class SqliteShelf:
    """A file with a connection that writes and one that reads, each used by one thread at a time."""

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection, dimensions: int) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._matrix = Matrix(dimensions)
        self._writing = threading.Lock()
        self._reading = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, embedder: str, dimensions: int) -> Self:
        """The file, made if it is not there. `embedder` is the name of who makes its vectors, which stays the same. Raises
        InvalidConfig for a file that is no memory, of a newer version, or with vectors of another; ProviderUnavailable."""
        path = path.expanduser()
        with file.told(path):
            file.prepare(path, embedder)
            writer = file.connect(path)
            try:
                return cls(path, writer, file.connect(path), dimensions)
            except BaseException:
                writer.close()
                raise

    async def write(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        return await anyio.to_thread.run_sync(self._write, scope, act)

    async def read(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        return await anyio.to_thread.run_sync(self._read, scope, act)

    async def health(self) -> memory.Health:
        return await anyio.to_thread.run_sync(self._check)

    async def close(self) -> None:
        await anyio.to_thread.run_sync(self._close)

    def _write(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        with file.held(self._writing), file.told(self._path), file.transaction(self._writer, "BEGIN IMMEDIATE"):
            return act(SqliteRows(self._writer, scope, self._matrix))

    def _read(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        with file.held(self._reading), file.told(self._path), file.transaction(self._reader, "BEGIN"):
            return act(SqliteRows(self._reader, scope, self._matrix))

    def _check(self) -> memory.Health:
        with (
            file.told(self._path),
            closing(file.connect(self._path)) as session,
        ):  # another one: it reads what is on the disk
            (verdict,) = session.execute("PRAGMA quick_check(1)").fetchone()
        return memory.Health(ok=verdict == "ok", detail="" if verdict == "ok" else f"the file is damaged: {verdict}")

    def _close(self) -> None:
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()
