"""The store on SQLite: one writing thread; for a file, reading threads beside it."""

import sqlite3
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TypeVar, cast

from sqlalchemy import Connection

from interlock import runs
from interlock.adapters.sql import hot_sqlite, sqlite
from interlock.adapters.sql.address import SqliteFile
from interlock.adapters.sql.errors import StoreFull, StoreReadOnly
from interlock.adapters.sql.readers import Readers, Source
from interlock.adapters.sql.sqlite_still import NoWriter, StillReaders, StillSource
from interlock.adapters.sql.transaction import sql_tx
from interlock.adapters.sql.waiting import Piece
from interlock.adapters.sql.writer import Writer
from interlock.kernel import OpenedHere, StoreError, Tx

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")

_READERS = 4


class SqliteStore:
    """A `SqlStore` on one file, or in memory, where the writer's connection is the only one and reads too."""

    def __init__(self, writer: Writer | NoWriter, readers: Readers | StillReaders | None, *, where: str) -> None:
        """Without readers, what writes reads too."""
        self._opened = OpenedHere(where)
        self._writer = writer
        self._readers = readers

    @property
    def refusal(self) -> StoreError | None:
        return None if isinstance(self._writer, Writer) else self._writer.refusal

    async def read(self, fn: Callable[[Tx], T]) -> T:
        self._opened.check()
        if self._readers is None:
            return cast("T", await self._writer.submit(lambda tx: _without_writing(tx, fn)))
        return await self._readers.read(fn)

    async def write(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> T:
        self._opened.check()
        return cast("T", await self._writer.submit(partial(copy_context().run, fn), urgent=urgent))

    async def write_together(self, fn: Callable[[Tx, Sequence[Item]], Sequence[Answer]], item: Item) -> Answer:
        self._opened.check()
        return cast("Answer", await self._writer.submit(Piece(fn, item)))

    async def admit(self, admission: runs.Admission) -> runs.Admitted:
        self._opened.check()
        return cast("runs.Admitted", await self._writer.submit(admission))

    async def apply(self, change: runs.Change) -> bool:
        self._opened.check()
        return cast("bool", await self._writer.submit(change))

    def admit_in(self, tx: Tx, admissions: Sequence[runs.Admission]) -> Sequence[runs.Admitted]:
        return hot_sqlite.admit(sql_tx(tx).driver_connection, admissions)

    def apply_in(self, tx: Tx, changes: Sequence[runs.Change]) -> Sequence[bool]:
        return hot_sqlite.apply(sql_tx(tx).driver_connection, changes)

    def close(self) -> None:
        if self._opened.is_elsewhere:
            return  # its connections are the parent's
        if self._readers is not None:
            self._readers.close()
        self._writer.close()


def open_sqlite(place: SqliteFile, *, create: bool) -> SqliteStore:
    """Check the file, or create it when it is missing and `create` is set. One that may only be read, or whose disk has no
    room for what a writer needs beside it, is opened for reading. Raises StoreError."""
    if place.path is None:
        return _open(place)
    if create and not place.path.exists():
        sqlite.create_file(place)
    sqlite.check_file(place)
    try:
        sqlite.check_writable(place)
        return _open(place)
    except (StoreReadOnly, StoreFull) as refusal:
        return _open_still(place, refusal)


def _open(place: SqliteFile) -> SqliteStore:
    session: Connection | None = None
    try:
        session = sqlite.session(place)
        if place.path is None:
            sqlite.migrate_session(session, where=str(place))
            return SqliteStore(Writer(session, where=str(place)), None, where=str(place))
        sqlite.check_session(session, place)
        writer = Writer(session, where=str(place), check_place=sqlite.same_file(place.path))
        return SqliteStore(writer, _readers(place, _Source(place)), where=str(place))
    except Exception as error:
        if session is not None:
            session.close()
        raise sqlite.explain(error, where=place) from error


def _open_still(place: SqliteFile, refusal: StoreError) -> SqliteStore:
    source = StillSource(place)
    try:
        source.connect().close()
    except Exception as error:
        raise source.explain(error) from error
    return SqliteStore(NoWriter(refusal), StillReaders(_readers(place, source)), where=str(place))


def _readers(place: SqliteFile, source: Source) -> Readers:
    return Readers(source, size=_READERS, name="interlock-reader", where=place)


class _Source:
    """Reads the file; WAL lets that go on beside the writer."""

    def __init__(self, place: SqliteFile) -> None:
        self._place = place

    def connect(self) -> Connection:
        return sqlite.session(self._place, read_only=True)

    def begin(self, session: Connection) -> None:
        cast("sqlite3.Connection", session.connection.driver_connection).execute("BEGIN")

    def end(self, session: Connection) -> None:
        cast("sqlite3.Connection", session.connection.driver_connection).execute("ROLLBACK")
        session.rollback()  # SQLAlchemy's own bookkeeping

    def undo(self, session: Connection) -> None:
        self.end(session)

    def explain(self, error: Exception) -> Exception:
        return sqlite.explain(error, where=self._place)


def _without_writing(tx: Tx, fn: Callable[[Tx], T]) -> T:
    session = sql_tx(tx).connection
    session.exec_driver_sql("PRAGMA query_only = ON")
    try:
        return fn(tx)
    finally:
        session.exec_driver_sql("PRAGMA query_only = OFF")
