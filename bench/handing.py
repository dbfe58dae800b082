"""Suite `queue`: a job is put in a transaction of its own and handed to a worker, and nothing else; and a run is submitted,
carried out and recorded in full. Both against bare loops and against other engines, which do the bare job. All in one process:
with one caller the time is from putting to the end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Final

import anyio

from bench import bare_loops, engines, whole
from bench.place import Place
from bench.report import Row, compare
from bench.targets import TARGETS
from bench.timing import Contestant, Trial, race
from interlock import dispatch
from interlock.adapters import queues, sql
from interlock.kernel import SystemClock, Uuid7Ids

_CALLERS: Final = (1, 64)


class Jobs:
    """Those that are under way; a worker in any thread says which are done."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[str, anyio.Event] = {}
        self._loop = asyncio.get_running_loop()

    async def one(self, put: Callable[[str], Awaitable[object]]) -> None:
        """Put one, and wait until it is done."""
        key = f"job_{next(self._numbers)}"
        done = self._waiting[key] = anyio.Event()
        await put(key)
        await done.wait()

    def done(self, key: str) -> None:
        """On the event loop's own thread."""
        if waiting := self._waiting.pop(key, None):  # at least once is not exactly once
            waiting.set()

    def done_elsewhere(self, key: str) -> None:
        """On any other thread."""
        self._loop.call_soon_threadsafe(self.done, key)


@asynccontextmanager
async def ours(url: str, jobs: Jobs) -> AsyncGenerator[Callable[[str], Awaitable[object]]]:
    """The queue on that store, with a worker."""
    clock = SystemClock()
    ids = Uuid7Ids(clock)
    store = sql.open_store(url, create=True)
    queue = queues.make_queue(url, store, sql.connection, clock=clock, ids=ids)

    async def put(key: str) -> None:
        now = clock.now()
        rank = int(now.timestamp() * 1000)
        job = dispatch.Job(work_id=key, tenant_id="t", lane="bench", number=1, due_at=now, rank=rank)
        await store.write(lambda tx: queue.put(tx, [job]))

    async def handle(job: dispatch.Job, _seen: object) -> None:
        jobs.done(job.work_id)

    async def serve() -> None:
        await queue.serve(handle, lanes=["bench"], at_once=64)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield put
        tasks.cancel_scope.cancel()
    store.close()


async def run(place: Place) -> list[Row]:
    """On both databases."""
    rows: list[Row] = []
    for engine, loop, rivals in (
        ("Postgres", bare_loops.skip_locked, (engines.pgqueuer, engines.procrastinate, engines.dbos)),
        ("SQLite", bare_loops.ungrouped, (engines.dbos,)),
    ):
        for callers in _CALLERS:
            rows += await _compare(place, engine, callers, loop, rivals)
    return rows


async def _compare(
    place: Place, engine: str, callers: int, loop: engines.Maker, rivals: tuple[engines.Maker, ...]
) -> list[Row]:
    makers = [ours, whole.full_runs, loop, *rivals]
    async with AsyncExitStack() as stack:
        contestants: list[Contestant] = []
        for make in makers:
            url = await stack.enter_async_context(place.store(engine.lower()))
            jobs = Jobs()
            put = await stack.enter_async_context(make(url, jobs))
            contestants.append(Contestant(_once(jobs, put), callers))
        bare, full, *others = await race(contestants, place.pace)
    named = [(make.__name__, other) for make, other in zip(makers[2:], others, strict=True)]
    rows = [
        *(_row("queue", engine, callers, bare, name, other) for name, other in named),
        *(_row("run", engine, callers, full, name, other) for name, other in named),
    ]
    if callers == 1:
        micros = [each * 1e6 for each in full.medians]
        rows.append(
            Row(
                what=f"run, {engine}",
                measured=full,
                values=micros,
                baseline="µs each",
                key=_key("run", engine, 1, "time"),
            )
        )
    return rows


def _row(kind: str, engine: str, callers: int, mine: Trial, name: str, other: Trial) -> Row:
    what = {"queue": "queue", "run": "async run, full ledger"}[kind]
    key = _key(kind, engine, callers, name)
    return compare(f"{what}, {engine}, {callers:>2} callers", mine, name.replace("_", " "), other, key=key)


def _key(kind: str, engine: str, callers: int, name: str) -> str | None:
    """The target of a row, if it has one."""
    key = f"{kind}-{engine.lower()}-{callers}-{name}"
    return key if key in TARGETS else None


def _once(jobs: Jobs, put: Callable[[str], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    async def once() -> None:
        await jobs.one(put)

    return once
