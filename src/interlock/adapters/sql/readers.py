"""The threads that read. Each keeps a session that cannot write; all callers who wait when it is free share its next
snapshot, for beginning and ending one costs more than most reads."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from interlock.adapters.sql.errors import StoreBusy, StoreClosed
from interlock.adapters.sql.transaction import SqlTx
from interlock.adapters.sql.waiting import Waiter, deliver
from interlock.kernel import Tx

T = TypeVar("T")

_CAP = 8
"""The most callers in one snapshot, so that few wait behind a slow one."""


class Source(Protocol):
    """A database to read from."""

    def connect(self) -> Connection:
        """A session that cannot write."""
        ...

    def begin(self, session: Connection) -> None:
        """Take a snapshot, now or with the first statement. Raises StoreBusy for a session that serves no more."""
        ...

    def end(self, session: Connection) -> None:
        """Let go of it."""
        ...

    def undo(self, session: Connection) -> None:
        """Let go of it after a failure."""
        ...

    def explain(self, error: Exception) -> Exception:
        """What a driver's error means for the caller."""
        ...


class Readers:
    """`read` from any event loop; `close` waits for what was accepted."""

    def __init__(self, source: Source, *, size: int, name: str, where: object) -> None:
        self._source = source
        self._where = where
        self._queue: SimpleQueue[Waiter | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """What `fn` returns or raises. A caller that is cancelled before `fn` begins has it never begin."""
        waiter = Waiter(fn)
        with self._gate:
            if self._closed:
                raise StoreClosed(f"{self._where} is closed")
            self._queue.put(waiter)
        return cast("T", await waiter.wait())

    def close(self) -> None:
        """Let everything accepted finish."""
        with self._gate:
            first, self._closed = not self._closed, True
        if first:
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        reader = _Reader(self._source)
        while batch := self._take():
            reader.serve(batch)
        reader.close()

    def _take(self) -> list[Waiter]:
        """This thread's share of those who wait, at least one; none at the end."""
        batch: list[Waiter] = []
        while not batch:
            item = self._queue.get()
            share = min(_CAP, 1 + self._queue.qsize() // len(self._threads))
            with suppress(Empty):
                while item is not None:
                    if not item.gave_up:
                        batch.append(item)
                    if len(batch) >= share:
                        return batch
                    item = self._queue.get_nowait()
            if item is None:
                if batch:
                    self._queue.put(None)  # the end comes after these
                return batch
        return batch


class _Reader:
    """One thread's session, made when it is first needed and again when it was lost."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._session: Connection | None = None

    def serve(self, batch: Sequence[Waiter]) -> None:
        """Every waiter has its result or its error afterwards."""
        left = deque(batch)
        again = True
        while left:
            try:
                session = self._snapshot()
                while left:
                    self._answer(session, left[0])
                    deliver([left.popleft()])
                self._source.end(session)
            except BaseException as error:  # noqa: BLE001 - it belongs to one caller; the others have their turn
                lost = isinstance(error, StoreBusy) or (isinstance(error, DBAPIError) and error.connection_invalidated)
                self._let_go(lost=lost)
                # It died while it lay idle, or read what was written meanwhile: a read may be asked for again.
                if lost and again:
                    again = False
                elif left:
                    left[0].fail(self._source.explain(error) if isinstance(error, Exception) else error)
                    deliver([left.popleft()])

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(Exception):
                session.close()

    def _snapshot(self) -> Connection:
        if self._session is None:
            self._session = self._source.connect()
        self._source.begin(self._session)
        return self._session

    def _answer(self, session: Connection, waiter: Waiter) -> None:
        tx = SqlTx(session)
        try:
            waiter.succeed(cast("Callable[[Tx], object]", waiter.work)(tx))
        finally:
            tx.end()

    def _let_go(self, *, lost: bool) -> None:
        """A statement that failed spoils the snapshot for those who come after."""
        if self._session is not None and not lost:
            with suppress(Exception):
                self._source.undo(self._session)
                return
        self.close()
