"""SQLite: connections as we want them, whose file it is, and what its errors mean."""

import errno
import os
import shutil
import sqlite3
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from interlock.adapters.sql import schema
from interlock.adapters.sql.address import SqliteFile
from interlock.adapters.sql.errors import (
    ForeignFile,
    RowRefused,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    StoreUnavailable,
)
from interlock.kernel import InterlockError, StoreError

APPLICATION_ID: Final = 0x494C4B31
"""Stands in the header of every store ("ILK1"), so that no other program's database is ever taken for one."""

_connecting: ContextVar[Callable[[], sqlite3.Connection]] = ContextVar("connecting")

BUSY_SECONDS = 10.0
"""How long a writer waits for another process before StoreBusy."""

_INDEX_BYTES: Final = 65_536

_MAGIC = b"SQLite format 3\0"
_HEADER = struct.Struct(">16sH6xII36xI20xI")
_ERRORS: dict[int, tuple[type[InterlockError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreBusy, "is locked by another process"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "is locked"),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, "cannot be written"),
    sqlite3.SQLITE_FULL: (StoreFull, "has no room left"),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, "is damaged"),
    sqlite3.SQLITE_NOTADB: (StoreDamaged, "is damaged"),
    sqlite3.SQLITE_IOERR: (StoreUnavailable, "cannot be read or written: the disk answers with an error"),
    sqlite3.SQLITE_CANTOPEN: (StoreUnavailable, "cannot be opened"),
    sqlite3.SQLITE_PERM: (StoreReadOnly, "may not be opened by this user"),
    sqlite3.SQLITE_PROTOCOL: (StoreUnavailable, "cannot be locked: WAL does not work on a network file system"),
}

_REFUSALS: dict[int | None, type[StoreError]] = {
    errno.EROFS: StoreReadOnly,
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
}


def _has_no_room(where: object) -> bool:
    """Whether the disk is full: SQLite cannot tell, where it needs room for the index of its log."""
    if not isinstance(where, SqliteFile) or where.path is None:
        return False
    try:
        return shutil.disk_usage(where.path.parent).free < _INDEX_BYTES
    except OSError:
        return False


def explain(error: Exception, *, where: object) -> Exception:
    """What a driver's error means for the caller, chained to it; any other exception as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return error
    code = getattr(cause, "sqlite_errorcode", 0)
    kind, what = _ERRORS.get(code & 0xFF, (RowRefused, "refused a statement"))
    if code & 0xFF == sqlite3.SQLITE_IOERR and _has_no_room(where):
        kind, what = _ERRORS[sqlite3.SQLITE_FULL]
    meaning = kind(f"{where} {what} ({cause})")
    meaning.__cause__ = error
    return meaning


def connect(place: SqliteFile, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in driver autocommit: BEGIN and COMMIT are ours alone. Never creates a file."""
    name = ":memory:" if place.path is None else f"file:{quote(str(place.path.absolute()))}?mode=rw"
    raw = sqlite3.connect(
        name,
        uri=place.path is not None,
        isolation_level=None,
        check_same_thread=False,  # one thread at a time uses it, not always the same one
        timeout=BUSY_SECONDS,
        cached_statements=256,
    )
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("PRAGMA temp_store = MEMORY")
    # A wiped credential is overwritten where it lay (it was sealed there, too).
    raw.execute("PRAGMA secure_delete = FAST").close()
    if read_only:
        raw.execute("PRAGMA query_only = ON")
    return raw


def session(place: SqliteFile, *, read_only: bool = False) -> Connection:
    """SQLAlchemy over `connect`. Its own begin and commit reach no database: the transactions are the caller's statements."""
    return session_over(partial(connect, place, read_only=read_only))


def session_over(connecting: Callable[[], sqlite3.Connection]) -> Connection:
    """As `session`, over a connection of another making."""
    token = _connecting.set(connecting)
    try:
        return _engine().connect()
    finally:
        _connecting.reset(token)


def _connect() -> sqlite3.Connection:
    return _connecting.get()()


@cache
def _engine() -> Engine:
    """One for all stores of the process, for it keeps what its statements were compiled to: that takes longer than to run
    most of them."""
    return create_engine("sqlite://", creator=_connect, poolclass=NullPool)


def check_file(place: SqliteFile) -> None:
    """Judge the file by its header, before SQLite touches it.

    Raises StoreMissing, StoreUnavailable, ForeignFile or StoreDamaged, and StoreReadOnly for one that may not even be read.
    An empty file is damaged, not new: stores are created whole, under another name, and then linked into place.
    """
    path = place.path
    assert path is not None
    header, size = _read_header(path)
    if size == 0:
        raise StoreDamaged(f"{path} is empty: a store never is, so its content was lost")
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise ForeignFile(f"{path} is not an Interlock store: it has no SQLite header")
    _, page_size, changes, pages, application_id, valid_for = _HEADER.unpack(header)
    if application_id != APPLICATION_ID:
        raise ForeignFile(f"{path} is a SQLite database of another program (application id {application_id:#010x})")
    expected = (65536 if page_size == 1 else page_size) * pages
    wal = path.with_name(path.name + "-wal")
    # Between checkpoints the write-ahead log may hold the missing pages; with none, nothing can.
    if changes == valid_for and size < expected and not (wal.exists() and wal.stat().st_size):
        raise StoreDamaged(f"{path} is cut off: {size} bytes of {expected}")


def same_file(path: Path) -> Callable[[], None]:
    """A check that the file at `path` is still the one that is there now; it raises StoreMissing.

    SQLite goes on writing to a file that was removed or replaced, where nobody will ever find what it wrote.
    """
    opened = path.stat()

    def check() -> None:
        try:
            now = path.stat()
        except FileNotFoundError as error:
            raise StoreMissing(f"the store {path} was removed while it was open") from error
        if (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino):
            raise StoreMissing(f"the store {path} was replaced by another file while it was open")

    return check


def _read_header(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            return file.read(_HEADER.size), os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise StoreMissing(f"there is no store at {path}") from error
    except PermissionError as error:
        raise StoreReadOnly(f"{path} may not be read by this user") from error
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read: {error.strerror}") from error


def check_writable(place: SqliteFile) -> None:
    """Raises StoreReadOnly, for a disk, a file or a folder that takes no writing."""
    path = place.path
    assert path is not None
    # SQLite writes the log and its index beside the file, so the directory counts as well.
    for what in (path, path.parent):
        if not os.access(what, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise StoreReadOnly(f"{what} may not be written by this user")


def create_file(place: SqliteFile) -> None:
    """A new store, whole or not at all: built under another name, then linked into place. If another process was
    faster, its store stands. Raises StoreReadOnly, StoreFull or StoreUnavailable."""
    path = place.path
    assert path is not None
    draft = path.with_name(f"{path.name}.new-{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove(draft)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            try:
                migrate_file(SqliteFile(draft))
            except StoreError as error:
                error.message = error.message.replace(draft.name, path.name)
                raise
            with suppress(FileExistsError):
                os.link(draft, path)
            _sync_directory(path.parent)
        finally:
            _remove(draft)
    except PermissionError as error:
        raise StoreReadOnly(f"no store can be created in {path.parent}: this user may not write there") from error
    except OSError as error:
        kind = _REFUSALS.get(error.errno, StoreUnavailable)
        raise kind(f"no store can be created at {path}: {error.strerror}") from error


def _remove(draft: Path) -> None:
    """The file, and what SQLite leaves beside it when it fails."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def migrate_file(place: SqliteFile) -> schema.MigrationReport:
    """Bring the file's tables up to date in one transaction, and make it ours. Raises StoreError."""
    try:
        with session(place) as opened:
            report = migrate_session(opened, where=str(place))
            # Only now: a new file's content then lies in the file itself. From a log, SQLite would move it there when the
            # file is closed, and would tell nobody that there was no room for it.
            use_wal(opened, place)
            return report
    except (DBAPIError, sqlite3.Error) as error:
        raise explain(error, where=place) from error


def migrate_session(session: Connection, *, where: str) -> schema.MigrationReport:
    """As `migrate_file`, on an open connection."""
    # Batch migrations copy tables; with foreign keys on, dropping the old copy would touch its children.
    session.exec_driver_sql("PRAGMA foreign_keys = OFF")
    session.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        report = schema.upgrade(session, where=where)
        session.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        session.exec_driver_sql("COMMIT")
    except BaseException:
        # Where there is no room, SQLite itself has rolled back.
        if cast("sqlite3.Connection", session.connection.driver_connection).in_transaction:
            session.exec_driver_sql("ROLLBACK")
        raise
    finally:
        session.rollback()  # SQLAlchemy's own bookkeeping
    session.exec_driver_sql("PRAGMA foreign_keys = ON")
    return report


def check_session(session: Connection, place: SqliteFile) -> None:
    """Judge an open file: its journal, then its schema. Raises StoreError."""
    use_wal(session, place)
    schema.check_revision(session, where=str(place))
    session.rollback()


def use_wal(session: Connection, place: SqliteFile) -> None:
    """Readers beside the writer need a write-ahead log. Raises StoreUnavailable where the file system has none."""
    mode = session.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
    if mode != "wal":
        raise StoreUnavailable(f"{place} is on a file system that cannot hold a write-ahead log ({mode})")
