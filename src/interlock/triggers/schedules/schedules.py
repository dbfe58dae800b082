"""A tenant's schedules: made, shown, paused, resumed, deleted."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final, Literal

from interlock import dispatch
from interlock.kernel import JSON, Caller, Clock, IdSource, JsonLimits, Store, check_json
from interlock.triggers.named import Named, name_problem
from interlock.triggers.schedules import model
from interlock.triggers.schedules.errors import InvalidSchedule, ScheduleChanged, ScheduleExists, ScheduleNotFound
from interlock.triggers.schedules.model import CatchUp, Priority, Schedule, State
from interlock.triggers.schedules.records import ScheduleRecords
from interlock.triggers.schedules.timing import Timing

MAX_CAP: Final = 100
_INPUT: Final = JsonLimits(max_bytes=262_144)


class Schedules(Named[Schedule]):
    """Everything raises StoreError besides what it names."""

    def __init__(self, store: Store, records: ScheduleRecords, *, clock: Clock, ids: IdSource) -> None:
        super().__init__(store, records, clock=clock, missing=ScheduleNotFound, changed=ScheduleChanged)
        self._records = records
        self._ids = ids

    async def create(
        self,
        caller: Caller,
        name: str,
        timing: Timing,
        *,
        does: Literal["handler", "capability"],
        subject: str,
        input: Mapping[str, JSON],  # noqa: A002 - the domain's word
        connection: str | None = None,
        priority: Priority = "normal",
        catch_up: CatchUp = CatchUp.ONE,
        cap: int = 10,
    ) -> Schedule:
        """Keep a schedule; what it starts acts as its maker, without roles. Raises InvalidSchedule, InvalidJson,
        ScheduleExists."""
        now = self._clock.now()
        if (problem := name_problem(name, prefix="sch_")) is not None:
            raise InvalidSchedule(problem)
        if not 1 <= cap <= MAX_CAP:
            raise InvalidSchedule(f"cap must be 1 to {MAX_CAP}, not {cap}")
        check_json(dict(input), limits=_INPUT)
        if does == "handler":
            dispatch.Work(handler=subject, payload={})  # which knows what a handler may be called
        if (first := model.first_time(timing, now)) is None:
            raise InvalidSchedule("there is no such time any more: it has passed")
        made = Schedule(
            schedule_id=self._ids.new("sch"),
            tenant_id=caller.tenant_id,
            name=name,
            timing=timing,
            does=does,
            subject=subject,
            input=input,
            connection=connection,
            priority=priority,
            catch_up=catch_up,
            cap=cap,
            state=State.ACTIVE,
            next_at=first,
            created_by=caller.actor,
            created_at=now,
            updated_at=now,
        )
        if not await self._store.write(lambda tx: self._records.insert(tx, made)):
            raise ScheduleExists(f"there is a schedule {name!r} already")
        return made

    async def pause(self, caller: Caller, ref: str) -> Schedule:
        """Start nothing until it is resumed. Raises ScheduleNotFound, InvalidSchedule, ScheduleChanged."""
        return await self.change(caller, ref, partial(_unless_done, model.paused))

    async def resume(self, caller: Caller, ref: str) -> Schedule:
        """Go on with the first time from now; what passed meanwhile was not missed. Also for one whose next time was
        reckoned by a clock that was wrong. Raises ScheduleNotFound, InvalidSchedule, ScheduleChanged."""
        return await self.change(caller, ref, partial(_unless_done, model.rescheduled))


def _unless_done(change: Callable[[Schedule, datetime], Schedule], before: Schedule, now: datetime) -> Schedule:
    if before.state is State.DONE:
        raise InvalidSchedule(
            f"{before.name} is done: there is no further time", next_step="Delete it, or create another one."
        )
    return change(before, now)
