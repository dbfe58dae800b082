"""The queue on SQLite: in memory, or for the few processes that share a file."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import count
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection

from interlock import dispatch
from interlock.adapters.queues.bells import LocalBell
from interlock.adapters.queues.rows import MOST_DUE, Held, Taken, lane_of, later
from interlock.adapters.queues.stored import StoredQueue, Timing
from interlock.kernel import Clock, IdSource, Store, Tx, from_micros, to_micros

LOOK_SECONDS: Final = 0.25
"""How soon one process sees what another one put into the file."""

_SECOND_US: Final = 1_000_000
_CHUNK: Final = 500
"""Values in one statement."""

_PUT = (
    "INSERT INTO jobs (work_id, number, tenant_id, lane, due_at, rank) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_NOW_DUE = (
    "UPDATE jobs SET lane = substr(lane, 2) WHERE job_id IN"
    " (SELECT job_id FROM jobs WHERE holder IS NULL AND lane = ? AND due_at <= ? ORDER BY due_at LIMIT ?)"
)
_COLUMNS = "rank, job_id, work_id, number, tenant_id, lane, due_at"
_DUE = f"SELECT {_COLUMNS} FROM jobs WHERE holder IS NULL AND lane = ? ORDER BY rank, job_id LIMIT ?"  # noqa: S608 - constants
_SILENT = (
    f"SELECT {_COLUMNS} FROM jobs WHERE holder IS NOT NULL AND held_until <= ? AND lane IN ({{}})"  # noqa: S608 - constants
    " ORDER BY rank, job_id LIMIT ?"
)
_TAKE = "UPDATE jobs SET holder = ?, ticket = ?, held_until = ? WHERE job_id = ?"
_BEAT = "UPDATE jobs SET held_until = ? WHERE work_id = ? AND number = ? AND holder = ? AND ticket = ?"
_FINISH = "DELETE FROM jobs WHERE work_id = ? AND number = ? AND holder = ? AND ticket = ?"
_PUT_OFF = (
    "UPDATE jobs SET holder = NULL, ticket = NULL, held_until = NULL, lane = '~' || lane, due_at = ?"
    " WHERE work_id = ? AND number = ? AND holder = ? AND ticket = ?"
)
_LEAVE = "UPDATE jobs SET holder = NULL, ticket = NULL, held_until = NULL WHERE holder = ?"
_FIRST = "SELECT min(due_at) FROM jobs WHERE holder IS NULL AND lane = ?"
_FIRST_SILENT = "SELECT min(held_until) FROM jobs WHERE holder IS NOT NULL AND lane IN ({})"
# Lane by lane: each by a look at its index.
_OLDEST = """
    WITH RECURSIVE lanes (lane) AS (
        SELECT min(lane) FROM jobs WHERE holder IS NULL
        UNION ALL
        SELECT (SELECT min(lane) FROM jobs WHERE holder IS NULL AND lane > lanes.lane) FROM lanes WHERE lane IS NOT NULL
    )
    SELECT min((SELECT min(due_at) FROM jobs WHERE holder IS NULL AND lane = lanes.lane)) FROM lanes WHERE lane IS NOT NULL
"""


class _SqliteRows:
    """Implements `Rows`."""

    def __init__(self, connection: Callable[[Tx], Connection], ring: Callable[[], None], lease_seconds: float) -> None:
        self._connection = connection
        self._ring = ring
        self._lease = timedelta(seconds=lease_seconds)
        self._tickets = count(1)

    def put(self, tx: Tx, jobs: Sequence[dispatch.Job], *, now: datetime) -> None:
        rows = [
            (job.work_id, job.number, job.tenant_id, lane_of(job, now), to_micros(job.due_at), job.rank) for job in jobs
        ]
        self._run_each(tx, _PUT, rows)
        self._ring()

    def withdraw(self, tx: Tx, work_ids: Sequence[str]) -> None:
        self._run_each(tx, "DELETE FROM jobs WHERE work_id = ?", [(work_id,) for work_id in work_ids])

    def find_missing(self, tx: Tx, jobs: Sequence[dispatch.Job]) -> Sequence[dispatch.Job]:
        there = set[tuple[str, int]]()
        for start in range(0, len(jobs), _CHUNK):
            work_ids = [job.work_id for job in jobs[start : start + _CHUNK]]
            query = f"SELECT work_id, number FROM jobs WHERE work_id IN ({_marks(work_ids)})"  # noqa: S608 - only marks
            there.update((row[0], row[1]) for row in self._rows(tx, query, *work_ids))
        return [job for job in jobs if (job.work_id, job.number) not in there]

    def oldest(self, tx: Tx, *, lanes: Sequence[str] | None, now: datetime) -> datetime | None:
        if lanes is None:
            first = self._value(tx, _OLDEST)
        else:
            firsts = (self._value(tx, _FIRST, lane) for lane in lanes)
            first = min((each for each in firsts if each is not None), default=None)
        return None if first is None or first > to_micros(now) else from_micros(first)

    def take(
        self, tx: Tx, worker: str, *, dealt: Collection[Held], lanes: Sequence[str], room: int, now: datetime
    ) -> Taken:
        self.finish(tx, worker, dealt)
        at = to_micros(now)
        self._run_each(tx, _NOW_DUE, [(later(lane), at, MOST_DUE) for lane in lanes])
        found = [row for lane in lanes for row in self._rows(tx, _DUE, lane, room)]
        found += self._rows(tx, _SILENT.format(_marks(lanes)), at, *lanes, room)
        taken = sorted(found, key=itemgetter(0, 1))[:room]
        ticket, until = next(self._tickets), to_micros(now + self._lease)
        self._run_each(tx, _TAKE, [(worker, ticket, until, row[1]) for row in taken])
        held = [Held(job=_job(row), ticket=ticket) for row in taken]
        return Taken(held=held, next_in=None if held else self.next_in(tx, lanes=lanes, now=now))

    def next_in(self, tx: Tx, *, lanes: Sequence[str], now: datetime) -> float | None:
        firsts = [self._value(tx, _FIRST, each) for lane in lanes for each in (lane, later(lane))]
        firsts.append(self._value(tx, _FIRST_SILENT.format(_marks(lanes)), *lanes))
        moments = [first for first in firsts if first is not None]
        return (min(moments) - to_micros(now)) / _SECOND_US if moments else None

    def beat(self, tx: Tx, worker: str, held: Collection[Held], *, now: datetime) -> None:
        until = to_micros(now + self._lease)
        self._run_each(tx, _BEAT, [(until, *_mine(worker, each)) for each in held])

    def finish(self, tx: Tx, worker: str, held: Collection[Held]) -> None:
        self._run_each(tx, _FINISH, [_mine(worker, each) for each in held])

    def put_off(self, tx: Tx, worker: str, held: Collection[Held], *, seconds: float, now: datetime) -> None:
        due_at = to_micros(now + timedelta(seconds=seconds))
        self._run_each(tx, _PUT_OFF, [(due_at, *_mine(worker, each)) for each in held])

    def leave(self, tx: Tx, worker: str) -> None:
        self._run_each(tx, _LEAVE, [(worker,)])
        self._ring()

    def _run_each(self, tx: Tx, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._connection(tx).exec_driver_sql(statement, list(rows))

    def _rows(self, tx: Tx, query: str, *values: object) -> Sequence[Any]:
        return self._connection(tx).exec_driver_sql(query, values).all()

    def _value(self, tx: Tx, query: str, *values: object) -> int | None:
        return self._connection(tx).exec_driver_sql(query, values).scalar()


class InProcessQueue(StoredQueue):
    """Implements `dispatch.Queue` on SQLite. A worker is woken at once by its own process, and by others on the same file
    within a quarter of a second."""

    def __init__(
        self,
        store: Store,
        connection: Callable[[Tx], Connection],
        *,
        clock: Clock,
        ids: IdSource,
        timing: Timing,
    ) -> None:
        """`connection` opens the store's transactions (`sql.connection`)."""
        bell = LocalBell()
        super().__init__(
            store,
            _SqliteRows(connection, bell.ring, timing.lease),
            bell,
            clock=clock,
            ids=ids,
            timing=timing,
            look_seconds=LOOK_SECONDS,
        )


def _mine(worker: str, held: Held) -> tuple[object, ...]:
    return (held.job.work_id, held.job.number, worker, held.ticket)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _job(row: Iterable[Any]) -> dispatch.Job:
    rank, _job_id, work_id, number, tenant_id, lane, due_at = row
    return dispatch.Job(
        work_id=work_id, tenant_id=tenant_id, lane=lane, number=number, due_at=from_micros(due_at), rank=rank
    )
