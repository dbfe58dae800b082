"""`il.schedules`: what is started at its times."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from interlock.app.arguments import checked
from interlock.kernel import JSON, Caller, RequestError

if TYPE_CHECKING:  # and late in the functions
    from interlock import triggers
    from interlock.app.assembly import Parts

_MOST_SHOWN: Final = 1000


class Schedules:
    """Schedules of this tenant."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def create(
        self,
        name: str,
        *,
        cron: str | None = None,
        zone: str = "UTC",
        every: float | None = None,
        start: datetime | None = None,
        at: datetime | None = None,
        handler: str | None = None,
        capability: str | None = None,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        connection: str | None = None,
        priority: "triggers.schedules.Priority" = "normal",
        catch_up: Literal["skip", "one", "all"] = "one",
        cap: int = 10,
    ) -> "triggers.schedules.Schedule":
        """Start a handler, or ask for a capability, at the times of `cron` as clocks in `zone` show them, `every` so many seconds
        from `start` on (without it, from one interval from now), or once `at` a moment. `catch_up` says what becomes of times
        that were missed; `all` starts at most `cap` runs. Raises InvalidSchedule, ScheduleExists, UnknownCapability.
        """
        from interlock import triggers

        timing = self._timing(cron=cron, zone=zone, every=every, start=start, at=at)
        does, subject = _one_of(handler=handler, capability=capability)
        if catch_up not in ("skip", "one", "all") or priority not in ("low", "normal", "high"):
            raise triggers.schedules.InvalidSchedule(
                f"catch_up is skip, one or all, and priority low, normal or high, not {catch_up!r} and {priority!r}"
            )
        if does == "capability":
            await self._parts.wiring.catalog.fetch_for(self._caller.tenant_id, subject)
        return await self._parts.timed.schedules.create(
            self._caller,
            name,
            timing,
            does="capability" if does == "capability" else "handler",
            subject=subject,
            input=input or {},
            connection=connection,
            priority=priority,
            catch_up=triggers.schedules.CatchUp(catch_up),
            cap=cap,
        )

    def _timing(
        self, *, cron: str | None, zone: str, every: float | None, start: datetime | None, at: datetime | None
    ) -> "triggers.schedules.Timing":
        from interlock import triggers

        way, _ = _one_of(cron=cron, every=every, at=at)
        if way == "cron":
            return triggers.schedules.Cron(expression=str(cron), zone=zone)
        if at is not None:
            return triggers.schedules.Once(at=at)
        try:
            interval = timedelta(seconds=every or 0)
        except (ValueError, OverflowError) as error:
            raise triggers.schedules.InvalidSchedule(f"{every} seconds is no interval") from error
        now = self._parts.wiring.clock.now()
        return triggers.schedules.Every(interval=interval, start=start or now + min(interval, timedelta(days=1000)))

    @checked
    async def fetch(self, schedule: str) -> "triggers.schedules.Schedule":
        """One schedule, by its name or id. Raises ScheduleNotFound."""
        return await self._parts.timed.schedules.fetch(self._caller, schedule)

    @checked
    async def list(self, *, cursor: str | None = None, limit: int = 100) -> "Sequence[triggers.schedules.Schedule]":
        """Schedules in the order of their names; go on with `cursor` = the last name."""
        return await self._parts.timed.schedules.list_named(self._caller, cursor=cursor, limit=limit)

    @checked
    async def preview(self, schedule: str, *, limit: int = 5) -> Sequence[datetime]:
        """The next times of a schedule, in UTC; none while it is paused. Raises ScheduleNotFound."""
        from interlock import triggers

        if limit > _MOST_SHOWN:
            raise RequestError(f"limit must be 1 to {_MOST_SHOWN}, not {limit}")
        found = await self.fetch(schedule)
        if found.next_at is None:
            return []
        rest = triggers.schedules.preview(found.timing, found.next_at, count=limit - 1)
        return [found.next_at, *rest]

    @checked
    async def pause(self, schedule: str) -> "triggers.schedules.Schedule":
        """Start nothing until it is resumed. Raises ScheduleNotFound, InvalidSchedule."""
        return await self._parts.timed.schedules.pause(self._caller, schedule)

    @checked
    async def resume(self, schedule: str) -> "triggers.schedules.Schedule":
        """Go on with the first time from now. Raises ScheduleNotFound, InvalidSchedule."""
        return await self._parts.timed.schedules.resume(self._caller, schedule)

    @checked
    async def delete(self, schedule: str) -> "triggers.schedules.Schedule":
        """Keep it no more; what it started goes on. Raises ScheduleNotFound."""
        return await self._parts.timed.schedules.delete(self._caller, schedule)


def _one_of(**given: object) -> tuple[str, str]:
    """The name and the text of the one that is given. Raises InvalidSchedule."""
    from interlock import triggers

    found = [(name, str(value)) for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise triggers.schedules.InvalidSchedule(f"give exactly one of {', '.join(given)}")
    return found[0]
