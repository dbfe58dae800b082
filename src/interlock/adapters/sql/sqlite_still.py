"""Reading a SQLite file that cannot be written: nothing is made beside it, and nothing in its log is left unread."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar, cast
from urllib.parse import quote

from sqlalchemy import Connection

from interlock.adapters.sql import schema, sqlite
from interlock.adapters.sql.address import SqliteFile
from interlock.adapters.sql.errors import StoreBusy
from interlock.adapters.sql.readers import Readers
from interlock.adapters.sql.transaction import sql_tx
from interlock.adapters.sql.waiting import Work
from interlock.kernel import StoreError, Tx

T = TypeVar("T")

_SHARED: Final = "mode=ro"
_LONE_LOG: Final = "mode=ro&vfs=unix-none"
_NO_LOG: Final = "immutable=1"
_STILL: Final = "still"
_PARTS: Final = {"": 0, "-wal": 1, "-shm": 32_768, "-journal": 1}
"""From how many bytes on each of a store's files says anything: an opening that finds the disk full leaves shorter ones."""


class Still:
    """The file as it lies there, and how it is read.

    With a log and the log's index, SQLite reads beside those who write. A log without an index (a copy, a backup) has nobody
    who writes, and its index is made in memory. Without a log the file is all there is. In the latter two nothing locks, so
    what was read counts only if `check` passes afterwards.
    """

    def __init__(self, place: SqliteFile) -> None:
        assert place.path is not None
        self._place, self._path = place, place.path
        self._parts = {self._path.with_name(self._path.name + suffix): least for suffix, least in _PARTS.items()}
        self._before = self._look()
        _, log, index, journal = self._before
        # A journal is half of a change that has to be taken back, which is left to SQLite, and fails.
        self._opening = _SHARED if index or journal else _NO_LOG if log is None else _LONE_LOG

    def connect(self) -> sqlite3.Connection:
        """A connection that cannot write."""
        uri = f"file:{quote(str(self._path.absolute()))}?{self._opening}"
        raw = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=sqlite.BUSY_SECONDS)
        if self._opening == _LONE_LOG:
            raw.execute("PRAGMA locking_mode = EXCLUSIVE").close()  # first, so that the index is kept in memory
        raw.execute("PRAGMA temp_store = MEMORY")
        raw.execute("PRAGMA query_only = ON")
        return raw

    def check(self) -> None:
        """Raises StoreBusy if somebody has written to it."""
        if self._opening != _SHARED and self._look() != self._before:
            raise StoreBusy(f"{self._place} was written by another process while it was read", next_step="Ask again.")

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_identity(part, least=least) for part, least in self._parts.items()]


def _identity(part: Path, *, least: int) -> tuple[int, ...] | None:
    """Which file it is, as it now stands; None for one that is not there or too short to say anything."""
    try:
        found = part.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) if found.st_size >= least else None


class StillSource:
    """A `Source` of sessions on a still file. One that finds the file written since it was opened serves no more, and the next
    is opened anew: there may be an index by now."""

    def __init__(self, place: SqliteFile) -> None:
        self._place = place

    def connect(self) -> Connection:
        """Raises StoreError, also if the file is not, or no longer, a store of this version."""
        sqlite.check_file(self._place)
        still = Still(self._place)
        try:
            session = sqlite.session_over(still.connect)
            session.info[_STILL] = still
            schema.check_revision(session, where=str(self._place))
            session.rollback()
        except Exception:
            still.check()
            raise
        return session

    def begin(self, session: Connection) -> None:
        _still(session).check()
        _driver(session).execute("BEGIN")

    def end(self, session: Connection) -> None:
        _driver(session).execute("ROLLBACK")
        session.rollback()  # SQLAlchemy's own bookkeeping

    def undo(self, session: Connection) -> None:
        self.end(session)

    def explain(self, error: Exception) -> Exception:
        return sqlite.explain(error, where=self._place)


class StillReaders:
    """`Readers` of a still file, whose answers count only if it stayed so."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """What `fn` returns or raises. Raises StoreBusy if somebody goes on writing, again and again."""

        def checked(tx: Tx) -> T:
            try:
                return fn(tx)
            finally:
                _still(sql_tx(tx).connection).check()

        return await self._readers.read(checked)

    def close(self) -> None:
        """Let everything accepted finish."""
        self._readers.close()


def _still(session: Connection) -> Still:
    return cast("Still", session.info[_STILL])


def _driver(session: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", session.connection.driver_connection)


class NoWriter:
    """In the place of a `Writer`: it refuses."""

    def __init__(self, refusal: StoreError) -> None:
        self._kind, self._message = type(refusal), refusal.message

    @property
    def refusal(self) -> StoreError:
        """What it raises: why the store was not opened for writing."""
        return self._kind(f"{self._message}: it can be read, and nothing was done")

    async def submit(self, work: Work, *, urgent: bool = False) -> NoReturn:
        """Raises that."""
        raise self.refusal

    def close(self) -> None:
        """There is nothing to finish."""
