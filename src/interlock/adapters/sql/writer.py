"""The one thread that writes to a SQLite file: it puts the transactions of all waiting callers into one commit.

There is no timer: while one commit goes to disk the next callers queue up, and they are the next batch. What is urgent is
the next commit, by itself, however many wait. A caller whose work fails costs the others nothing: its part is rolled back to
a savepoint.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from sqlalchemy import Connection

from interlock import runs
from interlock.adapters.sql import hot_sqlite
from interlock.adapters.sql.errors import StoreClosed, StoreUnavailable, refusal, unanswered
from interlock.adapters.sql.sqlite import explain
from interlock.adapters.sql.transaction import SqlTx
from interlock.adapters.sql.waiting import Piece, Waiter, Work, answer_pieces, deliver, pieces_by_function
from interlock.kernel import Tx

_CAP = 256
"""The most callers in one commit, so that the first of them does not wait for thousands."""


_NOT_WRITTEN = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
"""Errors of a commit after which it is not in the file: its last page, without which the others do not count, was refused."""


class _TransactionLost(Exception):
    """SQLite rolled the whole transaction back (disk full, I/O error), so the others' work went with it."""


class Writer:
    """Owns one connection. `submit` from any event loop; `close` waits for what was accepted."""

    def __init__(self, session: Connection, *, where: str, check_place: Callable[[], None] = lambda: None) -> None:
        """`check_place` raises before a commit that would go to a file that is no longer in its place."""
        self._session = session
        self._check_place = check_place
        self._raw = cast("sqlite3.Connection", session.connection.driver_connection)
        self._where = where
        self._queue: deque[Waiter] = deque()
        self._urgent: deque[Waiter] = deque()
        self._closed = False
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="interlock-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work, *, urgent: bool = False) -> object:
        """Have the work done and wait for its commit."""
        waiter = Waiter(work)
        with self._moved:
            if self._closed:
                raise StoreClosed(f"{self._where} is closed")
            (self._urgent if urgent else self._queue).append(waiter)
            self._moved.notify()
        return await waiter.wait()

    def close(self) -> None:
        """Commit what was accepted, then end the thread and the connection."""
        with self._moved:
            self._closed = True
            self._moved.notify()
        self._thread.join()

    def _work(self) -> None:
        batch, ending = list[Waiter](), False
        try:
            while not ending:
                batch, ending = self._take()
                if batch:
                    self._commit(batch)
                    deliver(batch)
        except BaseException as error:  # noqa: BLE001 - a thread that ended without a word would leave its callers waiting
            self._abandon(batch, error)
        else:
            self._session.close()

    def _abandon(self, batch: Sequence[Waiter], error: BaseException) -> None:
        """The connection is past use: nobody knows what became of the batch, and what waits behind it never begins."""
        lost = StoreUnavailable(f"{self._where} can no longer be written, what was under way is unknown: {error!r}")
        lost.__cause__ = error
        with self._moved:
            self._closed = True
            waiting = [*batch, *self._urgent, *self._queue]
        for waiter in waiting:
            waiter.fail(unanswered(lost))
        deliver(waiting)
        with suppress(Exception):
            self._session.invalidate()

    def _take(self) -> tuple[list[Waiter], bool]:
        """What is urgent, or else all that wait by now; and whether that was the last."""
        batch: list[Waiter] = []
        with self._moved:
            while not (self._urgent or self._queue or self._closed):
                self._moved.wait()
            line = self._urgent or self._queue
            while line and len(batch) < _CAP:
                if not (waiter := line.popleft()).gave_up:
                    batch.append(waiter)
            return batch, self._closed and not (self._urgent or self._queue)

    def _commit(self, batch: Sequence[Waiter]) -> None:
        """Carry all of them out in one transaction; each has its result or its error afterwards."""
        ending = False
        try:
            self._raw.execute("BEGIN IMMEDIATE")
            for part in _parts(batch):
                self._carry_out(part)
            self._check_place()
            ending = True
            self._raw.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - every caller hears of it
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            if isinstance(error, _TransactionLost) and len(batch) > 1:
                for waiter in batch:
                    self._commit([waiter])
            else:
                ending = ending and getattr(error, "sqlite_errorcode", None) not in _NOT_WRITTEN
                self._fail(batch, error.__cause__ if isinstance(error, _TransactionLost) else error, ending=ending)
        finally:
            if self._session.in_transaction():
                self._session.rollback()  # SQLAlchemy's own bookkeeping: the database has already committed

    def _carry_out(self, part: Sequence[Waiter]) -> None:
        """All of these, or, when that fails, each by itself. Raises _TransactionLost."""
        self._raw.execute("SAVEPOINT part")
        try:
            self._run(part)
        except BaseException as error:  # what a caller's function raises is the caller's, whatever it is
            if not self._raw.in_transaction:
                raise _TransactionLost from error
            self._raw.execute("ROLLBACK TO part")
            self._raw.execute("RELEASE part")
            if len(part) == 1:
                self._fail(part, error)
            else:
                for waiter in part:
                    self._carry_out([waiter])
        else:
            self._raw.execute("RELEASE part")

    def _run(self, part: Sequence[Waiter]) -> None:
        admissions = [waiter for waiter in part if isinstance(waiter.work, runs.Admission)]
        changes = [waiter for waiter in part if isinstance(waiter.work, runs.Change)]
        if admissions:
            answers = hot_sqlite.admit(self._raw, [cast("runs.Admission", waiter.work) for waiter in admissions])
            for waiter, answer in zip(admissions, answers, strict=True):
                waiter.succeed(answer)
        if changes:
            hits = hot_sqlite.apply(self._raw, [cast("runs.Change", waiter.work) for waiter in changes])
            for waiter, hit in zip(changes, hits, strict=True):
                waiter.succeed(hit)
        if isinstance(part[0].work, Piece):
            self._call(lambda tx: answer_pieces(tx, part))
        for waiter in part:
            if callable(waiter.work):
                waiter.succeed(self._call(waiter.work))

    def _call(self, fn: Callable[[Tx], object]) -> object:
        tx = SqlTx(self._session)
        try:
            return fn(tx)
        finally:
            tx.end()

    def _fail(self, waiters: Sequence[Waiter], error: BaseException | None, *, ending: bool = False) -> None:
        """`ending`: it failed in the commit itself, which may have reached the disk before that."""
        assert error is not None
        for waiter in waiters:
            if not isinstance(error, Exception):
                waiter.fail(error)
                continue
            meaning = explain(error, where=self._where)
            meaning = unanswered(meaning) if ending else meaning
            is_value = isinstance(waiter.work, runs.Admission | runs.Change)
            waiter.fail(refusal(meaning, where=self._where) if is_value else meaning)


def _parts(batch: Sequence[Waiter]) -> list[list[Waiter]]:
    """The values of the hot path together, and the pieces of each function; each other function by itself: functions fail in the
    ordinary course of things."""
    values = [waiter for waiter in batch if isinstance(waiter.work, runs.Admission | runs.Change)]
    alone = [[waiter] for waiter in batch if callable(waiter.work)]
    return [*([values] if values else []), *pieces_by_function(batch), *alone]
