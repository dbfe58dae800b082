"""The file of a memory: made whole or not at all, and looked at before anything in it is touched."""

import os
import sqlite3
import struct
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from anyio import from_thread

from interlock import memory
from interlock.adapters.memory.sqlite.schema import APPLICATION_ID, STATEMENTS, VERSION, upgrades

BUSY: Final = 10.0
"""Seconds for which another process's write is waited for."""

_LOOKS: Final = 100
"""How often it is seen meanwhile whether anybody still waits for it."""

_STEPS: Final = 100_000
"""Instructions of SQLite after which that is seen, too; some milliseconds."""

_DAMAGES: Final = {
    "malformed": "",
    "vtable constructor failed": "its index of words cannot be read",
    "fts5": "its index of words cannot be read",
    "no such table": "a table of a memory is not in it",
    "no such index": "an index of a memory is not in it",
    "no such column": "a table in it is not that of a memory",
}
"""What SQLite says of a file that is not as it was written, and what that is in other words."""

_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = struct.Struct(">16sH6xII60xI")  # page size, changes, pages, changes when the pages were counted
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    # A search touches thousands of pages; in SQLite's own two megabytes each search would read them all again.
    "PRAGMA cache_size = -65536",
    # What was forgotten is overwritten, and does not stay in free pages.
    "PRAGMA secure_delete = ON",
)


def prepare(path: Path, embedder: str) -> None:
    """A memory whose vectors are made by this embedder, new if there is no file. Raises InvalidConfig for a file that is no
    memory, of a newer version, or with vectors of another; ProviderUnavailable for one that is damaged."""
    if not path.exists():
        _make(path, embedder)
    _look(path)
    with closing(_connect(path)) as session:
        (application,) = session.execute("PRAGMA application_id").fetchone()
        (version,) = session.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise memory.InvalidConfig(f"{path} is a SQLite file of something else, and stays as it is")
        if version > VERSION:
            raise memory.InvalidConfig(
                f"{path} is of version {version}, and this Interlock knows {VERSION}",
                next_step="Install the newer Interlock that wrote it, or open another file.",
            )
        if version < VERSION:
            _upgrade(session)
        facts = dict(session.execute("SELECT name, value FROM facts_of_file").fetchall())
    if (name := facts.get("embedder")) is None:
        raise _damaged(path, "it does not say by what its vectors were made")
    if name != embedder:
        raise memory.InvalidConfig(
            f"the vectors of {path} are made by {name}, and it is opened with {embedder}",
            next_step="Open it with the same embedder; or export it, and import it into a new file.",
        )


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there. What it does ends when nobody waits for it any longer."""
    connection = _connect(path)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    connection.set_progress_handler(from_thread.check_cancelled, _STEPS)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    """Kept whole if what is done in it ends well, and not at all if not."""
    for look in range(_LOOKS, -1, -1):
        try:
            connection.execute(begin)
            break
        except sqlite3.OperationalError as error:
            if not look or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            from_thread.check_cancelled()
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def held(lock: threading.Lock) -> Generator[None]:
    """With the lock, unless nobody waits for it any longer."""
    while not lock.acquire(timeout=BUSY / _LOOKS):
        from_thread.check_cancelled()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def told(path: Path) -> Generator[None]:
    """What SQLite and the system say, as this room says it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            from_thread.check_cancelled()
        said = str(error)
        if "not a database" in said:
            raise _no_sqlite(path) from error
        if (found := next((what for mark, what in _DAMAGES.items() if mark in said), None)) is not None:
            raise _damaged(path, found or said) from error
        raise memory.ProviderUnavailable(f"{path} cannot be used: {said}") from error
    except OSError as error:
        raise memory.ProviderUnavailable(f"{path} cannot be used: {error.strerror or error}") from error


def _look(path: Path) -> None:
    """Judge a file by its first bytes. One without any is damaged, and not new: memories are made whole. Raises InvalidConfig,
    ProviderUnavailable."""
    with path.open("rb") as file:
        header, size = file.read(_HEADER.size), os.fstat(file.fileno()).st_size
    if size == 0:
        raise _damaged(path, "it is empty, and a memory never is")
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise _no_sqlite(path)
    _, page_size, changes, pages, counted = _HEADER.unpack(header)
    expected = (65_536 if page_size == 1 else page_size) * pages
    log = path.with_name(path.name + "-wal")
    # Between checkpoints the log may hold the missing pages; without one, nothing can.
    if changes == counted and size < expected and not (log.exists() and log.stat().st_size):
        raise _damaged(path, f"it is cut off, {size} bytes of {expected}")


def _make(path: Path, embedder: str) -> None:
    """A new file, under another name first. If somebody else was faster, theirs stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new-{os.getpid()}-{threading.get_ident()}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(_connect(draft)) as session:
            session.execute(_PRAGMAS[0])
            with transaction(session, "BEGIN"):
                for statement in STATEMENTS:
                    session.execute(statement)
                session.execute("INSERT INTO facts_of_file VALUES ('embedder', ?)", (embedder,))
                session.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
                session.execute(f"PRAGMA user_version = {VERSION:d}")
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        for suffix in ("", "-wal", "-shm"):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _upgrade(session: sqlite3.Connection) -> None:
    """All of it or nothing; if somebody else was faster, theirs stands."""
    session.execute("PRAGMA foreign_keys = OFF")
    session.execute("PRAGMA secure_delete = ON")
    with transaction(session, "BEGIN IMMEDIATE"):
        (version,) = session.execute("PRAGMA user_version").fetchone()
        for statement in upgrades(version):
            session.execute(statement)
        session.execute(f"PRAGMA user_version = {max(version, VERSION):d}")


def _connect(path: Path) -> sqlite3.Connection:
    name = f"file:{quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(name, uri=True, timeout=BUSY / _LOOKS, isolation_level=None, check_same_thread=False)


def _no_sqlite(path: Path) -> memory.InvalidConfig:
    return memory.InvalidConfig(f"{path} is no SQLite file, and stays as it is")


def _damaged(path: Path, said: str) -> memory.ProviderUnavailable:
    step = "Restore it from a copy; `sqlite3 FILE .recover` saves what can be read."
    return memory.ProviderUnavailable(f"{path} is damaged: {said}", next_step=step)
