"""A tenant's schedules: made, shown, paused, resumed, deleted."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Literal

from interlock import dispatch
from interlock.kernel import JSON, Caller, Clock, IdSource, JsonLimits, RequestError, Store, Tx, check_json
from interlock.triggers.schedules import model
from interlock.triggers.schedules.errors import InvalidSchedule, ScheduleChanged, ScheduleExists, ScheduleNotFound
from interlock.triggers.schedules.model import CatchUp, Priority, Schedule, State
from interlock.triggers.schedules.records import ScheduleRecords
from interlock.triggers.schedules.timing import Timing

MAX_CAP: Final = 100
_MOST: Final = 500
_TRIES: Final = 5
_NAME: Final = re.compile(r"(?!sch_)[a-z0-9][a-z0-9._-]{0,62}")
_INPUT: Final = JsonLimits(max_bytes=262_144)


class Schedules:
    """Everything raises StoreError besides what it names."""

    def __init__(self, store: Store, records: ScheduleRecords, *, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._records = records
        self._clock = clock
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
        if not _NAME.fullmatch(name):
            raise InvalidSchedule(f"a name is 1 to 63 lower-case letters, digits, '.', '_' and '-', not {name[:70]!r}")
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

    async def fetch(self, caller: Caller, ref: str) -> Schedule:
        """The tenant's schedule of that name or id. Raises ScheduleNotFound."""
        return await self._store.read(partial(self._fetch, caller.tenant_id, ref))

    async def list_schedules(
        self, caller: Caller, *, cursor: str | None = None, limit: int = 100
    ) -> Sequence[Schedule]:
        """The tenant's schedules by their names, after `cursor`. Raises RequestError for a bad limit."""
        if not 1 <= limit <= _MOST:
            raise RequestError(f"limit must be 1 to {_MOST}, not {limit}")
        return await self._store.read(
            lambda tx: self._records.list_schedules(tx, caller.tenant_id, cursor=cursor, limit=limit)
        )

    async def pause(self, caller: Caller, ref: str) -> Schedule:
        """Start nothing until it is resumed. Raises ScheduleNotFound, InvalidSchedule, ScheduleChanged."""
        return await self._change(caller, ref, model.paused)

    async def resume(self, caller: Caller, ref: str) -> Schedule:
        """Go on with the first time from now; what passed meanwhile was not missed. Also for one whose next time was
        reckoned by a clock that was wrong. Raises ScheduleNotFound, InvalidSchedule, ScheduleChanged."""
        return await self._change(caller, ref, model.rescheduled)

    async def delete(self, caller: Caller, ref: str) -> Schedule:
        """Keep it no more; what it started goes on. Raises ScheduleNotFound."""

        def delete(tx: Tx) -> Schedule:
            found = self._fetch(caller.tenant_id, ref, tx)
            if not self._records.delete(tx, found):
                raise ScheduleNotFound(ref)
            return found

        return await self._store.write(delete)

    async def _change(self, caller: Caller, ref: str, change: Callable[[Schedule, datetime], Schedule]) -> Schedule:
        def step(tx: Tx) -> Schedule | None:
            before = self._fetch(caller.tenant_id, ref, tx)
            if before.state is State.DONE:
                raise InvalidSchedule(
                    f"{before.name} is done: there is no further time", next_step="Delete it, or create another one."
                )
            after = change(before, self._clock.now())
            return after if self._records.replace(tx, before, after) else None

        for _ in range(_TRIES):
            if (changed := await self._store.write(step)) is not None:
                return changed
        raise ScheduleChanged(f"{ref} is being changed by others")

    def _fetch(self, tenant_id: str, ref: str, tx: Tx) -> Schedule:
        if (found := self._records.find(tx, tenant_id, ref)) is None:
            known = self._records.list_schedules(tx, tenant_id, cursor=None, limit=_MOST)
            raise ScheduleNotFound(ref, [each.name for each in known])
        return found
