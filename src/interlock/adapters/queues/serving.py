"""The loop that hands jobs over, the same for every database.

One transaction a turn says what was dealt with and takes what is due: while it is under way, what ends and what is put adds up
to the next, and what has ended waits a moment for something to take. A turn that finds the store gone keeps what it had to say
for a later one.
"""

import logging
from collections.abc import Collection, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from interlock import dispatch
from interlock.adapters.queues.bells import Bell
from interlock.adapters.queues.rows import Held, Rows, Taken
from interlock.kernel import Backoff, Clock, Retry, Store, StoreError, Tx

BEATS: Final = 4
"""How often a worker beats in a lease: so a commit may take most of one before another worker is handed its jobs."""

AGAIN_SECONDS: Final = 1.0
"""When a job that was not dealt with is handed over again."""

_RIVALS_SECONDS: Final = 0.05
"""The pause when what is due is just being looked at by another worker, which may leave it."""

_GIVEN_SECONDS: Final = 0.05
"""How soon after it was given jobs a worker asks when the next ones are due, if nothing moves: while much is to do, it never
asks."""

_DEALT_SECONDS: Final = 0.05
"""How long a worker waits for the next job before it says only that the last one was dealt with: mostly it takes another in the
same transaction."""

_PARTING_SECONDS: Final = 5.0
"""How long a worker that stops tries to say so. Otherwise its lease lapses."""

_OUTAGE: Final = Backoff(base=0.1, cap=2.0)

T = TypeVar("T")

_Key: TypeAlias = tuple[str, int]

_log = logging.getLogger(__name__)


class _Unseen(Exception):
    """What the jobs are about could not be seen."""


class Serving(Generic[T]):
    """One call of `serve`: a worker with its jobs."""

    def __init__(
        self,
        handle: dispatch.Handle[T],
        look: dispatch.Look[T] | None,
        *,
        store: Store,
        rows: Rows,
        bell: Bell,
        clock: Clock,
        worker: str,
        lanes: Collection[str],
        at_once: int,
        lease_seconds: float,
        look_seconds: float,
        drain_seconds: float,
    ) -> None:
        """`worker` is an id of its own. It looks for work every `look_seconds`, even if no bell rings."""
        if at_once < 1:
            raise ValueError(f"at_once is {at_once}: a worker does at least one job at a time")
        self._handle = handle
        self._look = look
        self._store = store
        self._rows = rows
        self._bell = bell
        self._clock = clock
        self._worker = worker
        self._lanes = tuple(sorted(set(lanes)))
        self._at_once = at_once
        self._lease_seconds = lease_seconds
        self._look_seconds = look_seconds
        self._drain_seconds = drain_seconds
        self._running: dict[_Key, tuple[Held, anyio.CancelScope]] = {}
        self._dealt: list[Held] = []
        self._dealt_at = 0.0
        self._undone: list[Held] = []
        self._moved = anyio.Event()
        self._may_be_due = True
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled, and then until what is at work has ended. Raises StoreClosed."""
        broken: Exception | None = None
        async with anyio.create_task_group() as jobs:
            try:
                async with anyio.create_task_group() as helpers:
                    helpers.start_soon(self._bell.listen, self._ring)
                    helpers.start_soon(self._keep_beating)
                    try:
                        await self._hand_over(jobs)
                    except Exception as error:  # noqa: BLE001 - it is raised once its jobs have ended
                        broken = error
                    helpers.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._drain()
        if broken is not None:
            raise broken

    def _ring(self) -> None:
        self._may_be_due = True
        self._moved.set()

    # -- turns

    async def _hand_over(self, jobs: TaskGroup) -> None:
        while True:
            self._moved = anyio.Event()
            try:
                pause = await self._turn(jobs)
            except StoreError as error:
                await self._wait_for_store(error)
                continue
            if self._failures:
                _log.warning("jobs are handed over again")
                self._failures = 0
            with anyio.move_on_after(pause):
                await self._moved.wait()

    async def _turn(self, jobs: TaskGroup) -> float | None:
        """What there is to do. Returns after how many seconds to look again, though nothing moves; None: never."""
        room = self._at_once - len(self._running)
        look, self._may_be_due = self._may_be_due and room > 0, self._may_be_due and not room
        if look or self._undone or (self._dealt and self._dealt_waits() <= 0):
            try:
                taken, seen = await self._exchange(room)
            except BaseException:
                self._may_be_due = self._may_be_due or look
                raise
            for held, each in zip(taken.held, seen, strict=True):
                self._begin(held, each, jobs)
            self._may_be_due = self._may_be_due or 0 < room == len(taken.held)
            if taken.held:
                return min(self._look_seconds, _GIVEN_SECONDS)
            next_in = taken.next_in
        elif self._dealt:
            return self._dealt_waits()
        elif room:
            next_in = await self._store.read(
                lambda tx: self._rows.next_in(tx, lanes=self._lanes, now=self._clock.now())
            )
            if next_in is not None and next_in <= 0:
                self._ring()
        else:
            return None
        if next_in is None:
            return self._look_seconds
        return min(self._look_seconds, next_in if next_in > 0 else _RIVALS_SECONDS)

    def _dealt_waits(self) -> float:
        return self._dealt_at + _DEALT_SECONDS - anyio.current_time()

    async def _exchange(self, room: int) -> tuple[Taken, Sequence[T | None]]:
        """Say what was dealt with and what was not, and take what is due. Raises StoreError."""
        try:
            return await self._exchanged(room, self._look)
        except _Unseen as error:
            _log.info("jobs are taken without a look at them: %s", error.__cause__)
            return await self._exchanged(room, None)

    async def _exchanged(self, room: int, look: dispatch.Look[T] | None) -> tuple[Taken, Sequence[T | None]]:
        dealt, self._dealt = self._dealt, []
        undone, self._undone = self._undone, []

        def exchange(tx: Tx) -> tuple[Taken, Sequence[T | None]]:
            now = self._clock.now()
            self._rows.put_off(tx, self._worker, undone, seconds=AGAIN_SECONDS, now=now)
            if not room:
                self._rows.finish(tx, self._worker, dealt)
                return Taken(), ()
            taken = self._rows.take(tx, self._worker, dealt=dealt, lanes=self._lanes, room=room, now=now)
            return taken, self._see(tx, look, [held.job for held in taken.held])

        try:
            return await self._store.write(exchange)
        except BaseException:
            self._dealt += dealt
            self._undone += undone
            raise

    def _see(self, tx: Tx, look: dispatch.Look[T] | None, jobs: Sequence[dispatch.Job]) -> Sequence[T | None]:
        if look is None or not jobs:
            return [None] * len(jobs)
        try:
            return look(tx, jobs)
        except Exception as error:
            raise _Unseen from error

    async def _wait_for_store(self, error: StoreError) -> None:
        if error.retry is Retry.NEVER:
            raise error
        self._failures += 1
        if self._failures == 1:
            _log.warning("no jobs are handed over for now: %s", error)
        await anyio.sleep(_OUTAGE.delay(self._failures))

    # -- jobs

    def _begin(self, held: Held, seen: T | None, jobs: TaskGroup) -> None:
        key = (held.job.work_id, held.job.number)
        if key in self._running:  # put anew while it is at work here, or lost by a late beat: it has to wait for that
            self._undone.append(held)
            self._moved.set()
            return
        scope = anyio.CancelScope(shield=True)
        self._running[key] = (held, scope)
        jobs.start_soon(self._carry_out, key, held, seen, scope)

    async def _carry_out(self, key: _Key, held: Held, seen: T | None, scope: anyio.CancelScope) -> None:
        done = False
        try:
            with scope:
                try:
                    await self._handle(held.job, seen)
                except Exception as error:  # noqa: BLE001 - whatever it is, the job is not dealt with
                    _log.warning("job %s, attempt %d, was not dealt with: %s", *key, type(error).__name__)
                else:
                    done = True
                    self._dealt_at = self._dealt_at if self._dealt else anyio.current_time()
        finally:
            del self._running[key]
            (self._dealt if done else self._undone).append(held)  # as they are now: each turn begins new lists
            self._moved.set()

    async def _keep_beating(self) -> None:
        while True:
            await anyio.sleep(self._lease_seconds / BEATS)
            if held := [held for held, _ in self._running.values()]:
                try:
                    await self._store.write(lambda tx, held=held: self._beat(tx, held), urgent=True)
                except StoreError as error:
                    _log.debug("worker %s cannot beat: %s", self._worker, error)

    def _beat(self, tx: Tx, held: Collection[Held]) -> None:
        self._rows.beat(tx, self._worker, held, now=self._clock.now())

    # -- the end

    async def _drain(self) -> None:
        """Let what is at work end, or else end it."""
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._keep_beating)
            with anyio.move_on_after(self._drain_seconds):
                await self._run_out()
            for _, scope in tuple(self._running.values()):
                scope.cancel()
            await self._run_out()
            helpers.cancel_scope.cancel()
        with anyio.move_on_after(_PARTING_SECONDS):
            try:
                await self._store.write(self._leave)
            except StoreError as error:
                _log.warning(
                    "worker %s left without a word, its jobs wait until its lease is over: %s", self._worker, error
                )

    async def _run_out(self) -> None:
        while self._running:
            self._moved = anyio.Event()
            await self._moved.wait()

    def _leave(self, tx: Tx) -> None:
        self._rows.finish(tx, self._worker, self._dealt)
        self._rows.leave(tx, self._worker)
