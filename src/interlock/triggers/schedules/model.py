"""A schedule, and how it moves on. Frozen; a change is a new value that the records compare and set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from interlock.kernel import JSON, to_rfc3339
from interlock.triggers.schedules.timing import Once, Timing, describe, latest, next_after, to_json

Priority: TypeAlias = Literal["low", "normal", "high"]

PUNCTUAL: Final = timedelta(minutes=1)
"""A time that is noticed later than this was missed."""


class State(StrEnum):
    """Whether it starts anything. `done`: there is no further time."""

    ACTIVE = "active"
    PAUSED = "paused"
    DONE = "done"


class CatchUp(StrEnum):
    """What becomes of times that were missed, while nothing ran or the clock was put forward: nothing, one run for all of
    them, or one for each, up to the schedule's cap, of which the last ones count."""

    SKIP = "skip"
    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is done at which times. `does` says what `subject` names: a handler, or a capability, which is asked for on
    `connection`. `next_at` is the next time that nobody has seen to; `number` counts the runs that it started; `problem` is
    why the last one could not be started, if so."""

    schedule_id: str
    tenant_id: str
    name: str
    timing: Timing
    does: Literal["handler", "capability"]
    subject: str
    input: Mapping[str, JSON]
    connection: str | None
    priority: Priority
    catch_up: CatchUp
    cap: int
    state: State
    next_at: datetime | None
    number: int = 0
    last_due_at: datetime | None = None
    last_fired_at: datetime | None = None
    last_run_id: str | None = None
    missed_at: datetime | None = None
    problem: str | None = None
    revision: int = 0
    created_by: str
    created_at: datetime
    updated_at: datetime

    def record(self) -> dict[str, JSON]:
        """For programs."""
        moments = ("next_at", "last_due_at", "last_fired_at", "missed_at", "created_at", "updated_at")
        found = {name: getattr(self, name) for name in moments}
        return {
            "schedule_id": self.schedule_id,
            "tenant_id": self.tenant_id,
            "name": self.name,
            "state": self.state.value,
            "timing": to_json(self.timing),
            "when": describe(self.timing),
            self.does: self.subject,
            "input": dict(self.input),
            "connection": self.connection,
            "priority": self.priority,
            "catch_up": self.catch_up.value,
            "cap": self.cap,
            "runs": self.number,
            "last_run_id": self.last_run_id,
            "problem": self.problem,
            "created_by": self.created_by,
            **{name: None if moment is None else to_rfc3339(moment) for name, moment in found.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The times for which a run is to be started now, and the last one that is let go of, if any."""

    times: tuple[datetime, ...] = ()
    missed_at: datetime | None = None


def due(schedule: Schedule, now: datetime) -> Due:
    """What is to be done now."""
    first = schedule.next_at
    if schedule.state is not State.ACTIVE or first is None or first > now:
        return Due()
    most = schedule.cap if schedule.catch_up is CatchUp.ALL else 1
    times = latest(schedule.timing, first, now, most=most)
    if schedule.catch_up is CatchUp.SKIP and times[-1] < now - PUNCTUAL:
        return Due(missed_at=times[-1])
    before = times[0] - timedelta(seconds=1)
    dropped = latest(schedule.timing, first, before, most=1) if first < times[0] else [None]
    return Due(times=tuple(times), missed_at=dropped[-1])


def moved_on(schedule: Schedule, seen_to: Due, now: datetime, *, problem: str | None) -> Schedule:
    """The schedule, once what was due is seen to."""
    times = seen_to.times
    return replace(
        rescheduled(schedule, now),
        number=schedule.number + len(times),
        last_due_at=times[-1] if times else schedule.last_due_at,
        last_fired_at=now if times else schedule.last_fired_at,
        missed_at=seen_to.missed_at or schedule.missed_at,
        problem=problem,
    )


def rescheduled(schedule: Schedule, now: datetime) -> Schedule:
    """The schedule, active, with its first time after now; done if there is none."""
    following = next_after(schedule.timing, now)
    state = State.DONE if following is None else State.ACTIVE
    return replace(schedule, state=state, next_at=following, revision=schedule.revision + 1, updated_at=now)


def paused(schedule: Schedule, now: datetime) -> Schedule:
    """The schedule, which starts nothing until it is resumed. Times that pass meanwhile are no missed ones."""
    return replace(schedule, state=State.PAUSED, next_at=None, revision=schedule.revision + 1, updated_at=now)


def first_time(timing: Timing, now: datetime) -> datetime | None:
    """The first time of a new schedule: a moment that has just passed is due at once, as whoever named it did so before."""
    if isinstance(timing, Once):
        return timing.at if timing.at > now - PUNCTUAL else None
    return next_after(timing, now - timedelta(microseconds=1))
