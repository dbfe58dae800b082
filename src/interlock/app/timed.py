"""What is started at its time, in this process or another."""

from dataclasses import dataclass
from typing import Final

from interlock import dispatch, runs, triggers
from interlock.adapters import sql
from interlock.app.settings import Settings

LOOKS: Final = 1.0
"""Seconds between two looks for what other processes made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Schedules, and what sees to them."""

    schedules: triggers.schedules.Schedules
    keeper: triggers.schedules.Keeper

    async def keep(self) -> None:
        """For ever, start what is due."""
        await self.keeper.keep(every=LOOKS)


def furnish(settings: Settings, wiring: runs.Wiring, intake: dispatch.Dispatch) -> Timed:
    """Put it together."""
    store, clock, kept = wiring.store, wiring.clock, sql.ScheduleRecords()
    return Timed(
        schedules=triggers.schedules.Schedules(store, kept, clock=clock, ids=wiring.ids),
        keeper=triggers.schedules.Keeper(store, kept, intake, clock=clock, environment=settings.environment),
    )
