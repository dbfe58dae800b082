"""The queue on Postgres, for any number of processes and machines: pgqueuer's tables, statements and takeover of stale jobs.

Its `QueueManager` is not used. Tried under the port's faults, 1.6.0 fails four: one lost connection ends it, and at once the
beats of the jobs that go on; a worker that was thought dead, and says that its job is done, removes the job of the worker that
took over; it cannot do one job at a time; and a job whose end is not waited for when it is told to stop is deleted. Its driver
for psycopg keeps the one connection for up to a second while it listens. The loop of this package does all that itself, on
every database.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

import anyio
import orjson
import psycopg
from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from pgqueuer.adapters.persistence.queries import SyncQueries
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel, QueueEntrypoint
from psycopg.rows import dict_row
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from interlock import dispatch
from interlock.adapters.queues.rows import MOST_DUE, Held, Taken, lane_of, later
from interlock.adapters.queues.stored import StoredQueue, Timing
from interlock.kernel import Backoff, Clock, IdSource, Store, Tx, from_micros, to_micros

LOOK_SECONDS: Final = 1.0
"""How soon a job whose worker died, or that a worker left, is seen."""

_CHANNEL: Final = "interlock_jobs"
_FOR_THE_SERVER: Final = "; ".join(
    f"SET tcp_{name}"
    for name in ("keepalives_idle = 5", "keepalives_interval = 2", "keepalives_count = 3", "user_timeout = 10000")
)
"""So that it, too, notices when one that listens is cut off: what is not read would fill its queue of notices."""

_RECONNECTING: Final = Backoff(base=0.1, cap=5.0)

# The engine's order is a 32-bit number, the highest first: tenths of seconds, counted down for thirteen years.
_PRIORITY_0_MS: Final = 1_767_225_600_000  # 2026
_GRAIN_MS: Final = 100
_HIGHEST: Final = 2**31 - 1

SETTINGS: Final = DBSettings.model_construct(
    prefix="interlock_",
    db_schema=None,
    channel=Channel(_CHANNEL),
    function="interlock_fn_pgqueuer_changed",
    statistics_table="interlock_pgqueuer_statistics",
    queue_status_type="interlock_pgqueuer_status",
    queue_table="interlock_pgqueuer",
    queue_table_log="interlock_pgqueuer_log",
    trigger="interlock_tg_pgqueuer_changed",
    schedules_table="interlock_pgqueuer_schedules",
    durability=Durability.durable,
    widen_id=False,
)
"""How the engine's objects are called: from here, and not from the environment, where it would look."""

_WITHDRAW = "DELETE FROM interlock_pgqueuer WHERE split_part(dedupe_key, ' ', 1) = ANY ($1::text[])"
_THERE = (
    "SELECT dedupe_key FROM interlock_pgqueuer WHERE dedupe_key = ANY ($1::text[]) AND status IN ('queued', 'picked')"
)
_FINISH = "DELETE FROM interlock_pgqueuer WHERE id = ANY ($1::bigint[]) AND queue_manager_id = $2"
# Only what the engine asks must not use its index, so it is over rows with `id > 0`, which they all are: by that index, the
# planner would sort all that is due to find the first few, until it has statistics.
# Who has which job need not survive a crash of the server, so nobody waits until that is on the disk: what is forgotten is
# handed over again, and the ledger says what has become of it. What is asked after this is planned once, by the indexes: planning
# to take a job takes twice as long as taking it.
_FINISH_AND_NOW_DUE = f"""
    WITH finished AS (
        {_FINISH}
    ), now_due AS (
        UPDATE interlock_pgqueuer SET entrypoint = substr(entrypoint, 2) WHERE id IN (
            SELECT due.id FROM unnest($3::text[]) AS lanes (lane) CROSS JOIN LATERAL (
                SELECT id FROM interlock_pgqueuer
                WHERE status = 'queued' AND id > 0 AND entrypoint = lanes.lane AND execute_after <= now()
                ORDER BY execute_after LIMIT $4 FOR UPDATE SKIP LOCKED
            ) due
        )
    )
    SELECT set_config('synchronous_commit', 'off', true),
        set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)
"""  # noqa: S608 - a constant
# Lane by lane: each by a look at the index.
_OLDEST = """
    WITH RECURSIVE lanes (lane) AS (
        SELECT min(entrypoint) FROM interlock_pgqueuer WHERE status = 'queued' AND id > 0
        UNION ALL
        SELECT (
            SELECT min(entrypoint) FROM interlock_pgqueuer WHERE status = 'queued' AND id > 0 AND entrypoint > lanes.lane
        ) FROM lanes WHERE lane IS NOT NULL
    )
    SELECT extract(epoch FROM now() - min(first.at))::float8 AS age FROM lanes CROSS JOIN LATERAL (
        SELECT execute_after AS at FROM interlock_pgqueuer
        WHERE status = 'queued' AND id > 0 AND entrypoint = lanes.lane ORDER BY execute_after LIMIT 1
    ) first
"""
_OLDEST_OF = """
    SELECT extract(epoch FROM now() - min(first.at))::float8 AS age
    FROM unnest($1::text[]) AS lanes (lane) CROSS JOIN LATERAL (
        SELECT execute_after AS at FROM interlock_pgqueuer
        WHERE status = 'queued' AND id > 0 AND entrypoint = lanes.lane ORDER BY execute_after LIMIT 1
    ) first
"""
_NEXT_IN = """
    SELECT extract(epoch FROM least(
        (SELECT min(first.at) FROM unnest($1::text[]) AS lanes (lane) CROSS JOIN LATERAL (
            SELECT execute_after AS at FROM interlock_pgqueuer
            WHERE status = 'queued' AND id > 0 AND entrypoint = lanes.lane ORDER BY execute_after LIMIT 1
        ) first),
        (SELECT min(heartbeat) + $2::interval FROM interlock_pgqueuer
            WHERE status = 'picked' AND entrypoint = ANY ($3::text[]))
    ) - now())::float8 AS seconds
"""
_BEAT = "UPDATE interlock_pgqueuer SET heartbeat = now() WHERE id = ANY ($1::bigint[]) AND queue_manager_id = $2"
_PUT_OFF = """
    UPDATE interlock_pgqueuer
    SET status = 'queued', queue_manager_id = NULL, execute_after = now() + $3::interval, attempts = attempts + 1,
        entrypoint = '~' || entrypoint
    WHERE id = ANY ($1::bigint[]) AND queue_manager_id = $2
"""
_LEAVE = """
    WITH there AS (
        UPDATE interlock_pgqueuer SET status = 'queued', queue_manager_id = NULL
        WHERE queue_manager_id = $1 AND status = 'picked' RETURNING id
    )
    SELECT pg_notify($2, '') FROM there LIMIT 1
"""


class _TxDriver:
    """pgqueuer's `SyncDriver`, over a transaction that somebody else ends."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        with psycopg.RawCursor(self._connection, row_factory=dict_row) as cursor:
            cursor.execute(cast("Any", query), args or None)
            return cursor.fetchall() if cursor.description else []


class _PgQueuerRows:
    """Implements `Rows`. Time is the database's own."""

    def __init__(self, connection: Callable[[Tx], Connection], lease_seconds: float) -> None:
        self._connection = connection
        self._lease = timedelta(seconds=lease_seconds)
        self._statements = QueryQueueBuilder(settings=SETTINGS)

    def put(self, tx: Tx, jobs: Sequence[dispatch.Job], *, now: datetime) -> None:
        SyncQueries(self._driver(tx), self._statements).enqueue(
            [lane_of(job, now) for job in jobs],
            [_payload(job) for job in jobs],
            [_priority(job.rank) for job in jobs],
            [max(job.due_at - now, timedelta()) for job in jobs],
            [_key(job) for job in jobs],
            on_conflict="skip",
        )

    def withdraw(self, tx: Tx, work_ids: Sequence[str]) -> None:
        self._driver(tx).fetch(_WITHDRAW, [*work_ids])

    def find_missing(self, tx: Tx, jobs: Sequence[dispatch.Job]) -> Sequence[dispatch.Job]:
        there = {row["dedupe_key"] for row in self._driver(tx).fetch(_THERE, [_key(job) for job in jobs])}
        return [job for job in jobs if _key(job) not in there]

    def oldest(self, tx: Tx, *, lanes: Sequence[str] | None, now: datetime) -> datetime | None:
        driver = self._driver(tx)
        [found] = driver.fetch(_OLDEST) if lanes is None else driver.fetch(_OLDEST_OF, [*lanes])
        age = cast("float | None", found["age"])
        return None if age is None or age < 0 else now - timedelta(seconds=age)

    def take(
        self, tx: Tx, worker: str, *, dealt: Collection[Held], lanes: Sequence[str], room: int, now: datetime
    ) -> Taken:
        driver, over = self._driver(tx), [each.ticket for each in dealt]
        driver.fetch(_FINISH_AND_NOW_DUE, over, _manager(worker), [later(lane) for lane in lanes], MOST_DUE)
        query = self._statements.build_dequeue_query(
            batch_size=room,
            entrypoints=[QueueEntrypoint(lane) for lane in lanes],
            concurrency_limits=[0] * len(lanes),
            queue_manager_id=cast("Any", _manager(worker)),
            global_concurrency_limit=None,
            heartbeat_timeout=self._lease,
        )
        held = [_held(row) for row in driver.fetch(query.sql, *query.args)]
        return Taken(held=held, next_in=None if held else self.next_in(tx, lanes=lanes, now=now))

    def next_in(self, tx: Tx, *, lanes: Sequence[str], now: datetime) -> float | None:
        both = [*lanes, *map(later, lanes)]
        return cast("float | None", self._driver(tx).fetch(_NEXT_IN, both, self._lease, [*lanes])[0]["seconds"])

    def beat(self, tx: Tx, worker: str, held: Collection[Held], *, now: datetime) -> None:
        self._driver(tx).fetch(_BEAT, [each.ticket for each in held], _manager(worker))

    def finish(self, tx: Tx, worker: str, held: Collection[Held]) -> None:
        if held:
            self._driver(tx).fetch(_FINISH, [each.ticket for each in held], _manager(worker))

    def put_off(self, tx: Tx, worker: str, held: Collection[Held], *, seconds: float, now: datetime) -> None:
        if held:
            later = timedelta(seconds=seconds)
            self._driver(tx).fetch(_PUT_OFF, [each.ticket for each in held], _manager(worker), later)

    def leave(self, tx: Tx, worker: str) -> None:
        self._driver(tx).fetch(_LEAVE, _manager(worker), _CHANNEL)

    def _driver(self, tx: Tx) -> _TxDriver:
        return _TxDriver(cast("psycopg.Connection", self._connection(tx).connection.driver_connection))


class _PostgresBell:
    """Implements `Bell` by LISTEN, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    async def listen(self, ring: Callable[[], None]) -> None:
        """As `Bell.listen`."""
        failures = 0
        while True:
            try:
                session = await psycopg.AsyncConnection.connect(
                    self._url,
                    autocommit=True,
                    application_name="interlock-bell",
                    connect_timeout=10,
                    keepalives_idle=5,  # nothing is sent on it, so nothing else would show that it is cut
                    keepalives_interval=2,
                    keepalives_count=3,
                )
                try:
                    await session.execute(f"{_FOR_THE_SERVER}; LISTEN {_CHANNEL}")
                    failures = 0
                    ring()  # for what was put before
                    async for _ in session.notifies():
                        ring()
                finally:
                    await (
                        session.close()
                    )  # waits for nothing; as a context it would roll back first, and be cancelled there
            except psycopg.Error:
                failures += 1
            await anyio.sleep(_RECONNECTING.delay(failures))


class PgQueuerQueue(StoredQueue):
    """Implements `dispatch.Queue` on Postgres. Workers are woken by NOTIFY; they take over from one another within ten
    seconds."""

    def __init__(
        self,
        store: Store,
        connection: Callable[[Tx], Connection],
        url: str,
        *,
        clock: Clock,
        ids: IdSource,
        timing: Timing,
    ) -> None:
        """`connection` opens the store's transactions (`sql.connection`), `url` is the database's."""
        super().__init__(
            store,
            _PgQueuerRows(connection, timing.lease),
            _PostgresBell(url),
            clock=clock,
            ids=ids,
            timing=timing,
            look_seconds=LOOK_SECONDS,
        )


def _key(job: dispatch.Job) -> str:
    return f"{job.work_id} {job.number}"


def _manager(worker: str) -> str:
    """The worker as the engine names it: by a UUID, which is in its id."""
    return worker.partition("_")[2]


def _priority(rank: int) -> int:
    """The rank, as the engine orders."""
    return max(-_HIGHEST, min(_HIGHEST, _HIGHEST - (rank - _PRIORITY_0_MS) // _GRAIN_MS))


def _payload(job: dispatch.Job) -> bytes:
    return orjson.dumps([job.work_id, job.tenant_id, job.number, to_micros(job.due_at), job.rank])


def _held(row: dict[str, Any]) -> Held:
    work_id, tenant_id, number, due_at, rank = orjson.loads(row["payload"])
    job = dispatch.Job(
        work_id=work_id,
        tenant_id=tenant_id,
        lane=row["entrypoint"],
        number=number,
        due_at=from_micros(due_at),
        rank=rank,
    )
    return Held(job=job, ticket=row["id"])
