"""What is started at its time, in this process or another."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio

from interlock import dispatch, runs, triggers
from interlock.adapters import sql
from interlock.app.settings import Settings

LOOKS: Final = 1.0
"""Seconds between two looks for what other processes made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Schedules and polls, and what sees to them."""

    schedules: triggers.schedules.Schedules
    keeper: triggers.schedules.Keeper
    polls: triggers.polling.Polls
    poller: triggers.polling.Poller

    async def keep(self) -> None:
        """For ever, start what is due."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(self.keeper.keep, every=LOOKS))
            tasks.start_soon(partial(self.poller.keep, every=LOOKS))


def furnish(
    settings: Settings, wiring: runs.Wiring, reading: runs.Reading, invoker: runs.Invoker, intake: dispatch.Dispatch
) -> Timed:
    """Put it together."""
    store, clock, ids, environment = wiring.store, wiring.clock, wiring.ids, settings.environment
    kept, met, came = sql.ScheduleRecords(), sql.PollRecords(), sql.WebhookRecords()
    asking = triggers.polling.Asking(wiring.catalog, invoker, reading, environment=environment)
    return Timed(
        schedules=triggers.schedules.Schedules(store, kept, clock=clock, ids=ids),
        keeper=triggers.schedules.Keeper(
            store, kept, intake, clock=clock, environment=environment, tracing=wiring.tracing
        ),
        polls=triggers.polling.Polls(store, met, asking, clock=clock, ids=ids),
        poller=triggers.polling.Poller(store, met, came, asking, intake, clock=clock, ids=ids, tracing=wiring.tracing),
    )
