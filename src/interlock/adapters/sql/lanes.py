"""The hot path's two lanes on Postgres: each puts many callers' values into one statement and one commit.

While one lane waits for the server, the other gathers; a lane goes when nothing is under way, or when as much waits as
is under way. So a lone caller never waits, and a crowd splits into two halves that keep client and server both busy.
"""

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import psycopg

from interlock import runs
from interlock.adapters.sql import hot_postgres, postgres
from interlock.adapters.sql.address import PostgresDatabase
from interlock.adapters.sql.composites import RowType
from interlock.adapters.sql.errors import StoreClosed, StoreUnavailable, refusal, unanswered
from interlock.adapters.sql.hot_session import HotSession
from interlock.adapters.sql.waiting import Waiter, deliver

_LANES = 2
_CAP = 256
"""The most callers in one statement."""

_LOSSES = 2
"""How many connections may be lost under a caller before it hears of it."""


class Lanes:
    """Owns two connections and their threads. `submit` from any event loop; `close` waits for what was accepted."""

    def __init__(self, place: PostgresDatabase, row_types: dict[str, RowType]) -> None:
        self._place = place
        self._row_types = row_types
        self._queue: deque[Waiter] = deque()
        self._under_way = 0
        self._closed = False
        self._moved = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"interlock-lane-{number}", daemon=True)
            for number in range(_LANES)
        ]
        for thread in self._threads:
            thread.start()

    async def submit(self, work: runs.Admission | runs.Change) -> object:
        """Have the work done and wait for its commit."""
        waiter = Waiter(work)
        with self._moved:
            if self._closed:
                raise StoreClosed(f"{self._place} is closed")
            self._queue.append(waiter)
            if self._due():
                self._moved.notify()
        return await waiter.wait()

    def close(self) -> None:
        """Commit what was accepted, then end the threads and the connections."""
        with self._moved:
            self._closed = True
            self._moved.notify_all()
        for thread in self._threads:
            thread.join()

    def _due(self) -> bool:
        return bool(self._queue) and (self._closed or len(self._queue) >= self._under_way)

    def _work(self) -> None:
        lane = _Lane(self._place, self._row_types)
        while (batch := self._take()) is not None:
            try:
                lane.carry_out(batch)
            except BaseException as error:  # noqa: BLE001 - a lane that ended would leave all its callers waiting
                lane.abandon(batch, error)
            deliver(batch)
            with self._moved:
                self._under_way -= len(batch)
                if self._due() or self._closed:
                    self._moved.notify_all()
        lane.close()

    def _take(self) -> list[Waiter] | None:
        """Half of all there is, at least four, without two that touch the same run or key. None: the end."""
        with self._moved:
            while not self._due():
                if self._closed:
                    return None
                self._moved.wait()
            wanted = min(max(4, (len(self._queue) + self._under_way + 1) // 2), _CAP)
            batch: list[Waiter] = []
            put_back: list[Waiter] = []
            touched: set[object] = set()
            while self._queue and len(batch) < wanted:
                waiter = self._queue.popleft()
                if waiter.gave_up:
                    continue
                marks = _touches(waiter)
                if touched.isdisjoint(marks):
                    touched |= marks
                    batch.append(waiter)
                else:
                    put_back.append(waiter)
            self._queue.extendleft(reversed(put_back))
            self._under_way += len(batch)
            return batch


def _touches(waiter: Waiter) -> set[object]:
    if isinstance(waiter.work, runs.Change):
        return {waiter.work.before.run_id}
    run = cast("runs.Admission", waiter.work).run
    return {run.run_id, (run.tenant_id, run.capability, run.idempotency_key)} if run.idempotency_key else {run.run_id}


class _Lane:
    """One connection, made when it is first needed and again when it was lost."""

    def __init__(self, place: PostgresDatabase, row_types: dict[str, RowType]) -> None:
        self._place = place
        self._row_types = row_types
        self._hot: HotSession | None = None

    def carry_out(self, batch: Sequence[Waiter]) -> None:
        """Two statements at most; every waiter has its result or its error afterwards."""
        # In one order everywhere, so that two lanes (or processes) with the same keys cannot block each other.
        admissions = [waiter for waiter in batch if isinstance(waiter.work, runs.Admission)]
        changes = [waiter for waiter in batch if isinstance(waiter.work, runs.Change)]
        if admissions:
            self._settle(sorted(admissions, key=_admission_order))
        if changes:
            self._settle(sorted(changes, key=_change_order))

    def abandon(self, batch: Sequence[Waiter], error: BaseException) -> None:
        """Nobody knows what became of the batch: its callers hear that, and the next one has a new connection."""
        lost = StoreUnavailable(f"{self._place} failed, what was under way is unknown: {error!r}")
        lost.__cause__ = error
        for waiter in batch:
            waiter.fail(unanswered(lost))
        with suppress(Exception):
            self.close()

    def close(self) -> None:
        hot, self._hot = self._hot, None
        if hot is not None:
            hot.session.close()

    def _settle(self, waiters: Sequence[Waiter], *, losses: int = 0) -> None:
        """All in one statement, or, when that fails, each by itself. `losses`: connections that were lost under them, any of
        which may have written them."""
        try:
            hot = self._connected()
        except psycopg.Error as error:
            self._fail(waiters, error, losses)
            return
        try:
            answers = _run(hot, waiters)
        except Exception as error:  # noqa: BLE001 - it belongs to one caller
            lost = hot.session.broken or hot.session.closed
            if lost:
                losses += 1
                self.close()
            if len(waiters) > 1:
                for waiter in waiters:
                    self._settle([waiter], losses=losses)
            elif lost and losses < _LOSSES:  # both kinds may be asked for again, whatever became of the first time
                self._settle(waiters, losses=losses)
            else:
                self._fail(waiters, error, losses)
        else:
            for waiter, answer in zip(waiters, answers, strict=True):
                waiter.succeed(answer)

    def _connected(self) -> HotSession:
        if self._hot is None:
            self._hot = HotSession(postgres.connect_lane(self._place), self._row_types, prepare=True)
        return self._hot

    def _fail(self, waiters: Sequence[Waiter], error: Exception, losses: int) -> None:
        for waiter in waiters:
            meaning = refusal(postgres.explain(error, where=self._place), where=self._place)
            waiter.fail(unanswered(meaning) if losses else meaning)


def _run(hot: HotSession, waiters: Sequence[Waiter]) -> Sequence[object]:
    work = [waiter.work for waiter in waiters]
    if isinstance(work[0], runs.Admission):
        return hot_postgres.admit(hot, cast("list[runs.Admission]", work))
    return hot_postgres.apply(hot, cast("list[runs.Change]", work))


def _admission_order(waiter: Waiter) -> tuple[str, str, str, str]:
    run = cast("runs.Admission", waiter.work).run
    return (run.tenant_id, run.capability, run.idempotency_key or "", run.run_id)


def _change_order(waiter: Waiter) -> str:
    return cast("runs.Change", waiter.work).before.run_id
