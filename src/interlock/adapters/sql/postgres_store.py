"""The store on Postgres: transactions on a few threads, and the hot path on lanes of its own."""

import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TypeVar, cast

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy import text as sql_text
from sqlalchemy.exc import DBAPIError

from interlock import runs
from interlock.adapters.sql import hot_lane, hot_postgres, postgres, schema
from interlock.adapters.sql.address import PostgresDatabase
from interlock.adapters.sql.composites import RowType, read_row_types
from interlock.adapters.sql.errors import MigrationsPending, StoreUnavailable, unanswered
from interlock.adapters.sql.hot_lane import HotLane
from interlock.adapters.sql.hot_session import HotSession
from interlock.adapters.sql.joint_lane import JointLane
from interlock.adapters.sql.lanes import LANES, Lanes
from interlock.adapters.sql.readers import Readers
from interlock.adapters.sql.transaction import SqlTx, sql_tx
from interlock.adapters.sql.waiting import Piece, Threads
from interlock.kernel import Backoff, OpenedHere, Tx

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
Work = TypeVar("Work", runs.Admission, runs.Change)

_READERS = 4
_WRITERS = 4
_TRIES = 12
_BACKOFF = Backoff(base=0.004, cap=0.25)
_MIGRATION_LOCK = 0x494C4B31
_HOT = "interlock_hot"
"""Where a connection of the shared lanes keeps what it has prepared."""


class PostgresStore:
    """A `SqlStore` on one database, shared with any number of other processes."""

    def __init__(self, place: PostgresDatabase, engine: Engine, row_types: dict[str, RowType]) -> None:
        """`engine` is on a checked and migrated database with these row types, and becomes the store's."""
        self._opened = OpenedHere(str(place))
        self._place = place
        self._engine = engine
        self._row_types = row_types
        self._lanes = Lanes(
            lambda: HotLane(place, row_types), name="interlock-lane", where=place, touches=hot_lane.touches
        )
        self._hot_engine = postgres.engine(place, size=LANES, hot=True)
        for name in ("rollback", "rollback_savepoint"):
            event.listen(self._hot_engine, name, _rolled_back)
        self._shared = Lanes(lambda: JointLane(place, self._write_shared), name="interlock-shared", where=place)
        self._readers = Readers(_Source(place, engine), size=_READERS, name="interlock-reader", where=place)
        self._threads = Threads(_WRITERS, name="interlock-postgres", where=str(place))
        self._urgent = Threads(1, name="interlock-urgent", where=str(place))

    @property
    def refusal(self) -> None:
        return None

    async def read(self, fn: Callable[[Tx], T]) -> T:
        self._opened.check()
        return await self._readers.read(fn)

    async def write(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> T:
        self._opened.check()
        threads = self._urgent if urgent else self._threads
        run = partial(copy_context().run, fn)
        return await threads.run(lambda: self._try(lambda: self._write(run, self._engine)))

    async def write_together(self, fn: Callable[[Tx, Sequence[Item]], Sequence[Answer]], item: Item) -> Answer:
        self._opened.check()
        return cast("Answer", await self._shared.submit(Piece(fn, item)))

    async def admit(self, admission: runs.Admission) -> runs.Admitted:
        self._opened.check()
        return cast("runs.Admitted", await self._lanes.submit(admission))

    async def apply(self, change: runs.Change) -> bool:
        self._opened.check()
        return cast("bool", await self._lanes.submit(change))

    def admit_in(self, tx: Tx, admissions: Sequence[runs.Admission]) -> Sequence[runs.Admitted]:
        return _in_rounds(admissions, lambda some: hot_postgres.admit(self._hot(sql_tx(tx).connection), some))

    def apply_in(self, tx: Tx, changes: Sequence[runs.Change]) -> Sequence[bool]:
        return _in_rounds(changes, lambda some: hot_postgres.apply(self._hot(sql_tx(tx).connection), some))

    def _hot(self, session: Connection) -> HotSession:
        raw = cast("psycopg.Connection", session.connection.driver_connection)
        if session.engine is not self._hot_engine:
            return HotSession(raw, self._row_types, prepare=False)
        if (held := session.info.get(_HOT)) is None:
            held = session.info[_HOT] = HotSession(raw, self._row_types, prepare=True)
        return held

    def close(self) -> None:
        if self._opened.is_elsewhere:
            return  # its connections are the parent's
        self._lanes.close()
        self._shared.close()
        self._readers.close()
        self._threads.close()
        self._urgent.close()
        self._engine.dispose()
        self._hot_engine.dispose()

    def _write_shared(self, fn: Callable[[Tx], T]) -> T:
        return self._try(lambda: self._write(fn, self._hot_engine))

    def _try(self, fn: Callable[[], T]) -> T:
        """Again after a race with another transaction, or on a connection that died while it lay in the pool."""
        for failures in range(1, _TRIES + 1):
            try:
                return fn()
            except Exception as error:
                if failures < _TRIES and postgres.sqlstate(error) in postgres.RACES:
                    time.sleep(_BACKOFF.delay(failures))  # a storage thread may block
                    continue
                if failures == 1 and isinstance(error, DBAPIError) and error.connection_invalidated:
                    continue
                meaning = postgres.explain(error, where=self._place)
                if meaning is error:
                    raise
                raise meaning from error
        raise AssertionError("unreachable: the last try returns or raises")

    def _write(self, fn: Callable[[Tx], T], engine: Engine) -> T:
        with engine.connect() as session:
            transaction = session.begin()  # now: a function that only uses the hot path would never begin one
            result = self._in_tx(session, fn)
            try:
                transaction.commit()
            except DBAPIError as error:
                if error.connection_invalidated:  # not to be tried again: it may have been written
                    raise unanswered(
                        StoreUnavailable(f"{self._place} went away during a commit; its outcome is unknown")
                    ) from error
                raise
            return result

    def _in_tx(self, session: Connection, fn: Callable[[Tx], T]) -> T:
        tx = SqlTx(session, hot=self._hot)
        try:
            return fn(tx)
        finally:
            tx.end()


def _rolled_back(session: Connection, *_savepoint: object) -> None:
    if session.invalidated:
        return  # it is lost, with all that was prepared on it
    held = cast("HotSession | None", session.info.get(_HOT))
    if held is not None:
        held.rolled_back()


class _Source:
    """Reads the database."""

    def __init__(self, place: PostgresDatabase, engine: Engine) -> None:
        self._place = place
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def connect(self) -> Connection:
        return self._engine.connect()

    def begin(self, session: Connection) -> None:
        session.begin()  # what reads by the driver alone would begin a transaction that SQLAlchemy never ends

    def end(self, session: Connection) -> None:
        session.commit()  # which changes nothing here: after a rollback the driver prepares its statements anew

    def undo(self, session: Connection) -> None:
        session.rollback()  # so that a plan which does not fit any more, once a migration ran beside us, is made anew

    def explain(self, error: Exception) -> Exception:
        return postgres.explain(error, where=self._place)


def _in_rounds(items: Sequence[Work], write: Callable[[Sequence[Work]], Sequence[Answer]]) -> Sequence[Answer]:
    """All of them, in order, in as few statements as none has two that touch the same run or key."""
    answers: list[Answer] = []
    some: list[Work] = []
    touched: set[object] = set()
    for item in items:
        marks = hot_lane.touched(item)
        if not touched.isdisjoint(marks):
            answers += write(some)
            some, touched = [], set()
        some.append(item)
        touched |= marks
    return [*answers, *write(some)] if some else answers


def open_postgres(place: PostgresDatabase, *, create: bool) -> PostgresStore:
    """Check the database, or fill it when it is empty and `create` is set. Raises StoreError."""
    engine = postgres.engine(place, size=_READERS + _WRITERS + 1)
    try:
        with engine.connect() as session:
            try:
                schema.check_revision(session, where=str(place))
            except MigrationsPending:
                if not create or schema.current_revision(session) is not None:
                    raise
                session.rollback()
                _upgrade(session, where=str(place))
            row_types = read_row_types(cast("psycopg.Connection", session.connection.driver_connection))
            session.rollback()
        return PostgresStore(place, engine, row_types)
    except Exception as error:
        engine.dispose()
        meaning = postgres.explain(error, where=place)
        if meaning is error:
            raise
        raise meaning from error


def migrate_postgres(place: PostgresDatabase) -> schema.MigrationReport:
    """Bring the database up to date in one transaction. Raises StoreError."""
    engine = postgres.engine(place, size=1)
    try:
        with engine.connect() as session:
            return _upgrade(session, where=str(place))
    except Exception as error:
        meaning = postgres.explain(error, where=place)
        if meaning is error:
            raise
        raise meaning from error
    finally:
        engine.dispose()


def _upgrade(session: Connection, *, where: str) -> schema.MigrationReport:
    with session.begin():
        # One process at a time; the others then find nothing left to do.
        session.execute(sql_text("SELECT pg_advisory_xact_lock(:name)"), {"name": _MIGRATION_LOCK})
        return schema.upgrade(session, where=where)
