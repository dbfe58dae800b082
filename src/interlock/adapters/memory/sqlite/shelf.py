"""`memory.Shelf`: one SQLite file, its own and never the ledger's."""

import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self, TypeVar

import anyio.to_thread

from interlock import memory
from interlock.adapters.memory.sqlite.rows import SqliteRows
from interlock.adapters.memory.sqlite.schema import APPLICATION_ID, TABLES, VERSION
from interlock.adapters.memory.vectors import Matrix

T = TypeVar("T")

_BUSY: Final = 10.0
"""Seconds for which another process's write is waited for."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    # A search touches a few thousand pages; with SQLite's own two megabytes each search would read them all again.
    "PRAGMA cache_size = -65536",
    # What was forgotten is overwritten, and does not stay in free pages.
    "PRAGMA secure_delete = ON",
)


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
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = _connect(path)
            try:
                _prepare(path, writer, embedder)
                return cls(path, writer, _connect(path), dimensions)
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
        with self._writing, _told(self._path), _transaction(self._writer, "BEGIN IMMEDIATE"):
            return act(SqliteRows(self._writer, scope, self._matrix))

    def _read(self, scope: memory.Scope, act: Callable[[memory.Rows], T]) -> T:
        with self._reading, _told(self._path), _transaction(self._reader, "BEGIN"):
            return act(SqliteRows(self._reader, scope, self._matrix))

    def _check(self) -> memory.Health:
        with self._reading, _told(self._path):
            (verdict,) = self._reader.execute("PRAGMA quick_check(1)").fetchone()
        return memory.Health(ok=verdict == "ok", detail="" if verdict == "ok" else f"the file is damaged: {verdict}")

    def _close(self) -> None:
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(path: Path, connection: sqlite3.Connection, embedder: str) -> None:
    with _transaction(connection, "BEGIN IMMEDIATE"):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application == 0 and not tables:
            for statement in TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO facts_of_file VALUES ('embedder', ?)", (embedder,))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute(f"PRAGMA user_version = {VERSION:d}")
            return
        if application != APPLICATION_ID:
            raise memory.InvalidConfig(f"{path} is a SQLite file of something else, and stays as it is")
        if version > VERSION:
            raise memory.InvalidConfig(
                f"{path} is of version {version}, and this Interlock knows {VERSION}",
                next_step="Install the newer Interlock that wrote it, or open another file.",
            )
        (name,) = connection.execute("SELECT value FROM facts_of_file WHERE name = 'embedder'").fetchone()
        if name != embedder:
            raise memory.InvalidConfig(
                f"the vectors of {path} are made by {name}, and it is opened with {embedder}",
                next_step="Open it with the same embedder; or export it, and import it into a new file.",
            )


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _told(path: Path) -> Generator[None]:
    """What SQLite and the system say, as this room says it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        said = str(error)
        if "not a database" in said:
            raise memory.InvalidConfig(f"{path} is no SQLite file, and stays as it is") from error
        if "malformed" in said:
            step = "Restore it from a copy; `sqlite3 FILE .recover` saves what can be read."
            raise memory.ProviderUnavailable(f"{path} is damaged: {said}", next_step=step) from error
        raise memory.ProviderUnavailable(f"{path} cannot be used: {said}") from error
    except OSError as error:
        raise memory.ProviderUnavailable(f"{path} cannot be used: {error.strerror or error}") from error
