"""Work that is due at its times: by cron expressions in time zones, every so often, or once.

Owns: the times, what becomes of those that were missed, and who is due now. Refuses: doing the work. Invariants: a time starts
its work once, however many processes see to it; a time that the clock leaves out or shows twice is due once, or as its
expression says; a clock that is put back repeats nothing.
"""

from interlock.triggers.schedules.errors import InvalidSchedule, ScheduleChanged, ScheduleExists, ScheduleNotFound
from interlock.triggers.schedules.keeper import Keeper
from interlock.triggers.schedules.model import CatchUp, Due, Priority, Schedule, State, due
from interlock.triggers.schedules.records import ScheduleRecords
from interlock.triggers.schedules.schedules import Schedules
from interlock.triggers.schedules.timing import (
    Cron,
    Every,
    Once,
    Timing,
    describe,
    find_zone,
    from_json,
    lacking,
    latest,
    next_after,
    preview,
    to_json,
)

__all__ = [
    "CatchUp",
    "Cron",
    "Due",
    "Every",
    "InvalidSchedule",
    "Keeper",
    "Once",
    "Priority",
    "Schedule",
    "ScheduleChanged",
    "ScheduleExists",
    "ScheduleNotFound",
    "ScheduleRecords",
    "Schedules",
    "State",
    "Timing",
    "describe",
    "due",
    "find_zone",
    "from_json",
    "lacking",
    "latest",
    "next_after",
    "preview",
    "to_json",
]
