"""A lane of the hot path on Postgres: many callers' values in one statement and one commit."""

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import psycopg

from interlock import runs
from interlock.adapters.sql import hot_postgres, postgres
from interlock.adapters.sql.address import PostgresDatabase
from interlock.adapters.sql.composites import RowType
from interlock.adapters.sql.errors import StoreUnavailable, refusal, unanswered
from interlock.adapters.sql.hot_session import HotSession
from interlock.adapters.sql.waiting import Waiter

_LOSSES = 2
"""How many connections may be lost under a caller before it hears of it."""


def touches(waiter: Waiter) -> set[object]:
    """As `touched`, of what somebody waits for."""
    return touched(cast("runs.Admission | runs.Change", waiter.work))


def touched(work: runs.Admission | runs.Change) -> set[object]:
    """The run that it writes, and the key. No two in one statement may have one in common."""
    if isinstance(work, runs.Change):
        return {work.before.run_id}
    run = work.run
    return {run.run_id, (run.tenant_id, run.capability, run.idempotency_key)} if run.idempotency_key else {run.run_id}


class HotLane:
    """Implements `Lane`: one connection, made when it is first needed and again when it was lost."""

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
