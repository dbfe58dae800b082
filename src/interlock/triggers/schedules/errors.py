"""What can be wrong with a schedule.

RequestError
├── InvalidSchedule         invalid_schedule
├── NotFoundError
│   └── ScheduleNotFound    schedule_not_found
└── ConflictError
    ├── ScheduleExists      schedule_exists
    └── ScheduleChanged     schedule_changed
"""

from collections.abc import Iterable

from interlock.kernel import ConflictError, NotFoundError, RequestError, Retry, no_such


class InvalidSchedule(RequestError):
    """The times, or what is to be done at them, cannot be what was meant."""

    code = "invalid_schedule"
    next_step = "Correct what the message names: `interlock schedules create --help` has an example of each kind."


class ScheduleNotFound(NotFoundError):
    """No such schedule in this tenant."""

    code = "schedule_not_found"
    next_step = "`interlock schedules list` shows the schedules of this tenant."

    def __init__(self, ref: str, known: Iterable[str] = ()) -> None:
        super().__init__(no_such("schedule", ref, known))


class ScheduleExists(ConflictError):
    """A schedule has that name already."""

    code = "schedule_exists"
    next_step = "Choose another name, or delete the other one first: `interlock schedules delete NAME`."


class ScheduleChanged(ConflictError):
    """Others changed the schedule meanwhile, again and again."""

    code = "schedule_changed"
    retry = Retry.LATER
    next_step = "Look at it, and try again: `interlock schedules show NAME`."
