"""The list of what is due: a row per run that workers carry out, and its job in the queue, always in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from interlock import runs
from interlock.dispatch import sequel
from interlock.dispatch.errors import Poison, WorkerStopped
from interlock.dispatch.model import Due, Priority, RetryPolicy, Standing
from interlock.dispatch.queue import Queue
from interlock.dispatch.records import Records
from interlock.kernel import Clock, InterlockError, Store, Tx, to_micros

STEP_MS = 50
"""How much each piece of a tenant's work moves that tenant's clock: a tenant with thousands that are due lets others pass."""

MOST_AHEAD_MS = 600_000
"""How far a tenant's clock may run ahead of the time: so long a burst is held against it."""

PRIORITY_MS = 60_000
"""By how much a priority goes before the next lower one."""

MOST_RANKED = 10_000
"""Clocks that are kept before those that are behind the time are dropped."""

MOST_CRASHES = 3
"""Work that has taken so many processes with it is given to no other."""

MOST_EXCUSED = 10
"""At so many attempts of one run a store that failed at the same time explains that a process died. A handler that kills its own
and has the store fail with that is given to no more."""


class Ranks:
    """What goes first: a clock for each tenant and priority, in milliseconds, that each piece of work moves on."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, Priority], int] = {}
        self._full = MOST_RANKED

    def next(self, tenant_id: str, priority: Priority, due_at: datetime) -> int:
        """The rank of one more piece of work."""
        at, key = to_micros(due_at) // 1000, (tenant_id, priority)
        clock = min(max(at, self._last.get(key, 0) + STEP_MS), at + MOST_AHEAD_MS)
        if len(self._last) >= self._full:
            self._last = {each: last for each, last in self._last.items() if last > at}
            self._full = max(MOST_RANKED, 2 * len(self._last))  # so that looking at all of them stays rare
        self._last[key] = clock
        return clock - (priority - Priority.NORMAL) * PRIORITY_MS


class Docket:
    """Enters work, has it handed over again, and strikes it off. It is `runs.Handed`: what becomes of a run by another hand
    than a worker's, it hears in the same transaction."""

    def __init__(self, store: Store, records: Records, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._records = records
        self.queue = queue
        """Where it puts jobs."""
        self._clock = clock
        self._ranks = Ranks()

    def due_of(
        self,
        run: runs.Run,
        *,
        lane: str,
        retry: RetryPolicy,
        priority: Priority = Priority.NORMAL,
        due_at: datetime | None = None,
        deadline_at: datetime | None = None,
        parked: str | None = None,
    ) -> Due:
        """A run that was admitted for workers, as it is to be entered; with `parked`, why it waits for more than its moment."""
        at = due_at or run.created_at
        return Due(
            run_id=run.run_id,
            tenant_id=run.tenant_id,
            lane=lane,
            capability=run.capability,
            connection_id=run.connection_id,
            rank=self._ranks.next(run.tenant_id, priority, at),
            priority=priority,
            due_at=at,
            number=1,
            tries=0,
            crashes=0,
            retry=retry,
            standing=Standing.DUE if parked is None else Standing.PARKED,
            why=parked,
            deadline_at=deadline_at,
            submitted_at=run.created_at,
        )

    def enter(self, tx: Tx, dues: Sequence[Due]) -> None:
        """Have them handed over when they are due."""
        self._records.add(tx, dues)
        self.queue.put(tx, [due.job for due in dues if due.standing is Standing.DUE])

    def again(self, tx: Tx, due: Due, *, due_at: datetime, why: str | None, if_still: bool = False) -> bool:
        """Have it handed over once more, under the next number. `due` carries the counts that hold from now on. With `if_still`
        only if it stands as it was read: for who does not change its run, which is fenced."""
        following = replace(
            due,
            number=due.number + 1,
            due_at=due_at,
            rank=self._ranks.next(due.tenant_id, due.priority, due_at),
            standing=Standing.DUE,
            why=why,
        )
        if not self._records.save(tx, following, before=due if if_still else None):
            return False
        self.queue.put(tx, [following.job])
        return True

    def park(self, tx: Tx, due: Due, *, why: str, if_still: bool = False) -> None:
        """It waits for more than its moment; whoever has it go on calls `again`. `if_still` as there."""
        self._records.save(tx, replace(due, standing=Standing.PARKED, why=why), before=due if if_still else None)

    def bury(self, tx: Tx, due: Due, *, why: str) -> None:
        """It is a dead letter."""
        self._records.save(tx, replace(due, standing=Standing.DEAD, why=why))

    def follow(self, tx: Tx, following: sequel.Sequel) -> None:
        """What was decided after an attempt that failed."""
        due = following.due
        if following.due_at is not None:
            self.again(tx, due, due_at=following.due_at, why=following.why)
        elif following.state is runs.State.DEAD:
            self.bury(tx, due, why=following.why)
        else:
            self.strike(tx, due.tenant_id, due.run_id)

    def strike(self, tx: Tx, tenant_id: str, run_id: str) -> None:
        """It is over."""
        self._records.drop(tx, [(tenant_id, run_id)])

    def strike_all(self, tx: Tx, over: Sequence[tuple[str, str]]) -> None:
        """They are over: runs by tenant and id."""
        self._records.drop(tx, over)

    async def find(self, run: runs.Run) -> Due | None:
        """The work of a run, if workers have to do with it. Raises StoreError."""
        return await self._store.read(lambda tx: self._records.find(tx, run.tenant_id, run.run_id))

    # -- runs.Handed

    def knows(self, tx: Tx, run: runs.Run) -> bool:
        return self._records.find(tx, run.tenant_id, run.run_id) is not None

    def moved(self, tx: Tx, run: runs.Run, state: runs.State, reason: str | None) -> None:
        due = self._records.find(tx, run.tenant_id, run.run_id)
        if due is None:
            return
        self.queue.withdraw(tx, [due.run_id])
        match state:
            case runs.State.DEAD:
                self.bury(tx, due, why=reason or state.value)
            case runs.State.WAITING | runs.State.HELD:
                self.park(tx, due, why=state.value)
            case _:
                self.strike(tx, due.tenant_id, due.run_id)

    def released(self, tx: Tx, run: runs.Run) -> None:
        due = self._records.find(tx, run.tenant_id, run.run_id)
        if due is not None:
            self.again(tx, due, due_at=max(due.due_at, self._clock.now()), why=None)

    async def following(self, run: runs.Run) -> runs.Following | None:
        due = await self.find(run)
        return None if due is None else Following(self, due, self._clock)

    async def take_over(self, lost: runs.Lost) -> bool:
        run = lost.run
        due = await self.find(run)
        if due is None:
            return False
        if lost.stop:
            await lost.end(runs.State.CANCELLED, beside=lambda tx: self.strike(tx, due.tenant_id, due.run_id))
            return True
        if lost.is_crash and not (lost.store_failed and run.attempt_count <= MOST_EXCUSED):
            await self._crashed(lost, due)
        else:
            await self._try_again(lost, due)
        return True

    async def _crashed(self, lost: runs.Lost, due: Due) -> None:
        """A process has died while it was at it: the next one may have it at once, unless it has taken too many."""
        due, at = replace(due, crashes=due.crashes + 1), self._clock.now()
        if due.crashes >= MOST_CRASHES:
            await self._give_up(lost, due)
        else:
            await lost.end(
                runs.State.RETRY_SCHEDULED, beside=lambda tx: self.again(tx, due, due_at=at, why=lost.error.code)
            )

    async def _try_again(self, lost: runs.Lost, due: Due) -> None:
        """What came of it could not be recorded: that is a try, as any failure, unless the store was not there."""
        following = sequel.after(
            due,
            lost.error,
            now=self._clock.now(),
            store_failed=lost.store_failed,
            attempts=lost.run.attempt_count,
        )
        if lost.doubtful and following.state is runs.State.DEAD:
            await lost.end(runs.State.WAITING, beside=lambda tx: self.park(tx, due, why=lost.error.code))
        else:
            await lost.end(following.state, beside=lambda tx: self.follow(tx, following))

    async def _give_up(self, lost: runs.Lost, due: Due) -> None:
        error = Poison(
            f"{due.crashes} processes died while they were at {due.capability}",
            run_id=due.run_id,
            details={"crashes": due.crashes, "effect": "unknown" if lost.doubtful else "none"},
        )
        if lost.doubtful:
            await lost.end(runs.State.WAITING, error, beside=lambda tx: self.park(tx, due, why=error.code))
        else:
            await lost.end(runs.State.DEAD, error, beside=lambda tx: self.bury(tx, due, why=error.code))


class Following:
    """`runs.Following` for one attempt."""

    def __init__(self, docket: Docket, due: Due, clock: Clock) -> None:
        self._docket = docket
        self._due = due
        self._clock = clock

    def done(self) -> runs.After:
        due = self._due
        return runs.After(
            state=runs.State.COMPLETED,
            reason=None,
            beside=lambda tx: self._docket.strike(tx, due.tenant_id, due.run_id),
        )

    def failed(self, error: InterlockError) -> runs.After:
        following = sequel.after(
            self._due, error, now=self._clock.now(), cancelled=isinstance(error, runs.RunCancelled)
        )
        return runs.After(
            state=following.state,
            reason=following.reason,
            beside=lambda tx: self._docket.follow(tx, following),
            told=[sequel.told(following)],
            error=error,
        )

    def unknown(self, error: InterlockError) -> runs.After:
        return runs.After(
            state=runs.State.WAITING,
            reason=error.code,
            beside=lambda tx: self._docket.park(tx, self._due, why=error.code),
            error=error,
        )

    def stopped(self) -> runs.After:
        return self.failed(WorkerStopped("the worker was stopped", run_id=self._due.run_id))
