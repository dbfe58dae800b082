"""Starts what is due, once over all processes: whoever moves a schedule on first has started its work in the same transaction,
or under a key that gives everybody the same run."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio

from interlock import dispatch, runs
from interlock.kernel import (
    UNTRACED,
    Backoff,
    Caller,
    Clock,
    InterlockError,
    Retry,
    Store,
    StoreError,
    Tracing,
    Tx,
    to_rfc3339,
)
from interlock.triggers.schedules.model import Due, Schedule, due, moved_on, paused, rescheduled
from interlock.triggers.schedules.records import ScheduleRecords
from interlock.triggers.schedules.timing import lacking

_log = logging.getLogger(__name__)

_BATCH: Final = 100
_AT_ONCE: Final = 8
_BACKOFF: Final = Backoff(base=2.0, cap=60.0)
_MOST_WAITING: Final = 1000

PATIENCE: Final = timedelta(minutes=10)
"""For so long a process tries again what could not be started and may be later; then that time is given up."""

LEFT: Final = timedelta(minutes=1)
"""For so long a process leaves a schedule to others whose time zone its machine does not know."""

SET_BACK: Final = timedelta(hours=3)
"""A clock that is put back by more was wrong before, as cron has it: times count anew. By less, none is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A schedule, as it was at that revision, that is tried again. `since` and `until` are seconds of the monotonic clock."""

    revision: int
    failures: int
    since: float
    until: float
    problem: str


class Keeper:
    """Looks for schedules that are due. Any number of processes may each have one."""

    def __init__(
        self,
        store: Store,
        records: ScheduleRecords,
        intake: dispatch.Dispatch,
        *,
        clock: Clock,
        environment: str,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._tracing = tracing
        self._store = store
        self._records = records
        self._intake = intake
        self._clock = clock
        self._environment = environment
        self._ahead: timedelta | None = None
        self._waiting: dict[str, _Waiting] = {}

    async def keep(self, *, every: float) -> None:
        """For ever, at each time that is due, and at least once in so many seconds: another process may have made a schedule."""
        while True:
            pause = every
            try:
                if (following := await self.start_due()) is not None:
                    pause = min(every, max(0.0, (following - self._clock.now()).total_seconds()))
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("schedules will be seen to later: %s", error)
            await self._clock.sleep(pause)

    async def start_due(self) -> datetime | None:
        """Start all that is due now; when the next one is due. Raises StoreError."""
        await self._set_right()
        while True:
            now = self._clock.now()
            limit = _BATCH + len(self._waiting)
            first = await self._store.read(partial(self._records.list_next, limit=limit))
            passed = [each for each in first if each.next_at is not None and each.next_at <= now]
            waits = {each.schedule_id: found for each in passed if (found := self._waits(each)) is not None}
            if len(passed) < limit:
                self._waiting = waits  # the others were changed by somebody
            mono = self._clock.monotonic()
            ready = [each for each in passed if each.schedule_id not in waits or waits[each.schedule_id].until <= mono]
            if not ready:
                times = [now + timedelta(seconds=each.until - mono) for each in waits.values()]
                return min((*times, *(each.next_at for each in first[len(passed) :] if each.next_at)), default=None)
            await self._side_by_side(ready, now)

    def _waits(self, schedule: Schedule) -> _Waiting | None:
        found = self._waiting.get(schedule.schedule_id)
        return found if found is not None and found.revision == schedule.revision else None

    async def _side_by_side(self, ready: Sequence[Schedule], now: datetime) -> None:
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        failures: list[Exception] = []

        async def see_to(schedule: Schedule) -> None:
            async with limiter:
                try:
                    await self._see_to(schedule, now)
                except Exception as error:  # noqa: BLE001 - it is to keep no other schedule from being seen to
                    failures.append(error)

        async with anyio.create_task_group() as tasks:
            for each in ready:
                tasks.start_soon(see_to, each)
        if failures:
            raise failures[0]

    async def _see_to(self, schedule: Schedule, now: datetime) -> None:
        facts = {"interlock.schedule.id": schedule.schedule_id, "interlock.tenant.id": schedule.tenant_id}
        with self._tracing.span(f"schedule {schedule.does}", facts=facts):
            before = self._waits(schedule)
            self._waiting.pop(schedule.schedule_id, None)
            if (problem := lacking(schedule.timing)) is not None:
                self._leave(schedule, before, problem)
                return
            started: list[datetime] = []
            try:
                await self._see_to_it(schedule, before, now, started)
            except StoreError:
                raise
            except InterlockError as error:
                if error.retry is not Retry.LATER or not self._wait(schedule, before, error):
                    await self._give_up(schedule, started, now, error.message)
            except Exception as error:  # noqa: BLE001 - nobody else is to wait for it
                _log.error("%s cannot be started", schedule.schedule_id, exc_info=error)
                await self._give_up(schedule, started, now, f"internal_error: {type(error).__name__}")

    async def _see_to_it(
        self, schedule: Schedule, before: _Waiting | None, now: datetime, started: list[datetime]
    ) -> None:
        seen_to = due(schedule, now)
        if before is not None and not seen_to.times:
            await self._move_on(schedule, seen_to, now, problem=before.problem)  # it was missed while it waited
        elif schedule.does == "handler":
            await self._store.write(partial(self._start, schedule, seen_to, now))
        else:
            await self._ask(schedule, seen_to, now, started)

    def _wait(self, schedule: Schedule, before: _Waiting | None, error: InterlockError) -> bool:
        """Whether it is tried again."""
        mono = self._clock.monotonic()
        failures, since = (1, mono) if before is None else (before.failures + 1, before.since)
        until = mono + _BACKOFF.delay(failures, at_least=error.retry_after)
        if until - since > PATIENCE.total_seconds() or len(self._waiting) >= _MOST_WAITING:
            return False
        _log.info("%s is tried again in %.1f s: %s", schedule.schedule_id, until - mono, error)
        self._waiting[schedule.schedule_id] = _Waiting(
            revision=schedule.revision, failures=failures, since=since, until=until, problem=error.message
        )
        return True

    def _leave(self, schedule: Schedule, before: _Waiting | None, problem: str) -> None:
        """To other machines, for a while, or until this one knows better."""
        if before is None:
            _log.warning("%s is left to other machines: %s", schedule.schedule_id, problem)
        mono = self._clock.monotonic()
        self._waiting[schedule.schedule_id] = _Waiting(
            revision=schedule.revision, failures=0, since=mono, until=mono + LEFT.total_seconds(), problem=problem
        )

    async def _give_up(self, schedule: Schedule, started: Sequence[datetime], now: datetime, problem: str) -> None:
        """Go on with its next time, since this one would fail again and again; what was `started` counts. Where the next time
        cannot be reckoned it is paused."""
        try:
            seen_to = Due(times=tuple(started), missed_at=schedule.next_at)
            after = moved_on(schedule, seen_to, now, problem=problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would be the same each second
            told = error.message if isinstance(error, InterlockError) else type(error).__name__
            _log.error("%s is paused: its next time cannot be reckoned", schedule.schedule_id, exc_info=error)
            after = replace(
                paused(schedule, now),
                missed_at=schedule.next_at,
                problem=f"paused, since its next time cannot be reckoned: {told}",
            )
        await self._store.write(lambda tx: self._records.replace(tx, schedule, after))

    def _start(self, schedule: Schedule, seen_to: Due, now: datetime, tx: Tx) -> None:
        after = moved_on(schedule, seen_to, now, problem=None)
        if not self._records.replace(tx, schedule, after):
            return  # another process was first
        run_id: str | None = None
        for at in seen_to.times:
            run_id = self._intake.admit_in(tx, _maker(schedule), _work(schedule, at)).run_id
        if run_id is not None:
            self._records.replace(tx, after, replace(after, last_run_id=run_id))

    async def _ask(self, schedule: Schedule, seen_to: Due, now: datetime, started: list[datetime]) -> None:
        """Whether a capability may be asked for is not decided within a transaction. A process that ends before the schedule is
        moved on leaves it to the next, which is given the same runs by their keys."""
        outcome: runs.Outcome | None = None
        for number, at in enumerate(seen_to.times, schedule.number):
            request = runs.Request(
                capability=schedule.subject,
                input=schedule.input,
                connection=schedule.connection,
                environment=self._environment,
                idempotency_key=f"{schedule.schedule_id}:{number}",
                origin=runs.Origin.SCHEDULE,
            )
            outcome = await self._intake.submit_call(_maker(schedule), request, priority=_priority(schedule))
            started.append(at)
        refused = outcome is not None and outcome.state in (runs.State.DENIED, runs.State.SHED)
        problem = f"{outcome.state.value}: {'; '.join(outcome.reasons)}" if refused and outcome is not None else None
        run_id = None if outcome is None else outcome.run_id
        await self._move_on(schedule, seen_to, now, problem=problem, run_id=run_id)

    async def _move_on(
        self, schedule: Schedule, seen_to: Due, now: datetime, *, problem: str | None, run_id: str | None = None
    ) -> None:
        after = moved_on(schedule, seen_to, now, problem=problem)
        after = replace(after, last_run_id=run_id or after.last_run_id)
        await self._store.write(lambda tx: self._records.replace(tx, schedule, after))

    async def _set_right(self) -> None:
        """Where this machine's clock was put back by hours, times that were reckoned by the wrong one are reckoned anew."""
        now = self._clock.now()
        ahead = now - datetime.fromtimestamp(0, now.tzinfo) - timedelta(seconds=self._clock.monotonic())
        before, self._ahead = self._ahead, ahead
        if before is None or before - ahead <= SET_BACK:
            return
        back = timedelta(seconds=round((before - ahead).total_seconds()))
        _log.warning("the clock was put back by %s: schedules that ran ahead are reckoned anew", back)

        left: frozenset[str] = frozenset()
        more = True
        while more:
            failed, more = await self._store.write(partial(self._reckon, now, left))
            left |= failed

    def _reckon(self, now: datetime, left: frozenset[str], tx: Tx) -> tuple[frozenset[str], bool]:
        """Reckon a batch anew, but for what is `left`; what cannot be, and whether there may be more."""
        found = self._records.list_fired_after(tx, now, limit=_BATCH + len(left))
        fresh = [each for each in found if each.schedule_id not in left]
        failed: set[str] = set()
        for each in fresh:
            try:
                after = replace(rescheduled(each, now), last_fired_at=now)
            except Exception as error:  # noqa: BLE001 - nobody else is to wait for it
                _log.warning("%s cannot be reckoned anew: %s", each.schedule_id, error)
                failed.add(each.schedule_id)
            else:
                self._records.replace(tx, each, after)
        return frozenset(failed), len(fresh) >= _BATCH


def _maker(schedule: Schedule) -> Caller:
    """Whoever made it, without the roles that they had then."""
    return Caller(tenant_id=schedule.tenant_id, actor=schedule.created_by)


def _priority(schedule: Schedule) -> dispatch.Priority:
    return dispatch.Priority[schedule.priority.upper()]


def _work(schedule: Schedule, at: datetime) -> dispatch.Work:
    return dispatch.Work(
        handler=schedule.subject,
        payload={
            "schedule": schedule.name,
            "schedule_id": schedule.schedule_id,
            "due_at": to_rfc3339(at),
            "input": dict(schedule.input),
        },
        origin=runs.Origin.SCHEDULE,
        priority=_priority(schedule),
    )
