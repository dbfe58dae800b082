"""When something is due: by a cron expression in a time zone, every so often, or once. Pure.

Cron expressions are read, and their calendar is computed, by `cronsim`, which tries to be Debian's cron. It is asked about the
times on a wall alone; which moments those are where clocks are put forward or back is decided here, since its own answers to
that depend on where the search begins:

- Expressions whose minute or hour begins with `*` go by what the clock shows: what it never shows is left out, and what it
  shows twice counts twice. So "every quarter of an hour" stays that.
- All others mean times of the day. One that the clock leaves out is due at once when it goes on; one that it shows twice is due
  the first time.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import InitVar, dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from interlock.kernel import JSON, from_rfc3339, to_rfc3339
from interlock.triggers.schedules.errors import InvalidSchedule

MAX_EXPRESSION: Final = 200
MAX_INTERVAL: Final = timedelta(days=366)

_NAMED: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,2}")
_OF_THE_MACHINE: Final = {"localtime", "posixrules", "Factory"}
_SECOND: Final = timedelta(seconds=1)
_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1), "s": _SECOND}
_FAR: Final = timedelta(days=2)
"""Further than any clock was ever put forward or back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """At the times of a cron expression of five fields, as the clocks of a time zone show them.
    Raises InvalidSchedule, unless it was `checked` before, perhaps on a machine that knows more time zones."""

    expression: str
    zone: str = "UTC"
    checked: InitVar[bool] = False

    def __post_init__(self, checked: bool) -> None:
        if not checked:
            find_zone(self.zone)
            _check(self.expression)


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Every so often, counted from `start`, which is the first time. Raises InvalidSchedule."""

    interval: timedelta
    start: datetime

    def __post_init__(self) -> None:
        if not _SECOND <= self.interval <= MAX_INTERVAL or self.interval % _SECOND:
            raise InvalidSchedule(f"an interval is 1 s to {MAX_INTERVAL.days} d, in whole seconds, not {self.interval}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """At one moment."""

    at: datetime


Timing: TypeAlias = Cron | Every | Once


def next_after(timing: Timing, moment: datetime) -> datetime | None:
    """The first time after that moment, in UTC; None if there is none."""
    match timing:
        case Once(at=at):
            return at if at > moment else None
        case Every(interval=interval, start=start):
            return start if moment < start else start + ((moment - start) // interval + 1) * interval
        case Cron(expression=expression, zone=name):
            way = _of_the_day_after if _means_times_of_the_day(expression) else _shown_after
            return way(expression, find_zone(name), moment.astimezone(UTC).replace(microsecond=0))


def upcoming(timing: Timing, moment: datetime) -> Iterator[datetime]:
    """All times after that moment, in order."""
    while (found := next_after(timing, moment)) is not None:
        yield found
        moment = found


def preview(timing: Timing, moment: datetime, *, count: int) -> list[datetime]:
    """The next times after that moment, at most so many."""
    return list(islice(upcoming(timing, moment), count))


def latest(timing: Timing, first: datetime, until: datetime, *, most: int) -> list[datetime]:
    """The last times from `first` to `until`, at most so many; in order. `first` is one itself, and not after `until`."""
    back = timedelta(minutes=1)
    while True:
        since = max(first - _SECOND, until - back)
        found: list[datetime] = []
        for each in upcoming(timing, since):
            if each > until:
                break
            found = [*found[-(most - 1) :], each] if most > 1 else [each]
        if len(found) == most or since < first:
            return found
        back *= 2


def to_json(timing: Timing) -> dict[str, JSON]:
    """Plain data, which `from_json` takes."""
    match timing:
        case Once(at=at):
            return {"at": to_rfc3339(at)}
        case Every(interval=interval, start=start):
            return {"every": int(interval.total_seconds()), "start": to_rfc3339(start)}
        case Cron(expression=expression, zone=zone):
            return {"cron": expression, "zone": zone}


def from_json(data: Mapping[str, Any]) -> Timing:
    """The inverse of `to_json`. It knows every time zone; what asks for the times may not."""
    if "at" in data:
        return Once(at=from_rfc3339(data["at"]))
    if "every" in data:
        return Every(interval=timedelta(seconds=data["every"]), start=from_rfc3339(data["start"]))
    return Cron(expression=data["cron"], zone=data["zone"], checked=True)


def describe(timing: Timing) -> str:
    """For people."""
    match timing:
        case Once(at=at):
            return f"once at {to_rfc3339(at)}"
        case Every(interval=interval):
            count, unit = next((interval // size, unit) for unit, size in _UNITS.items() if not interval % size)
            return f"every {count} {unit}"
        case Cron(expression=expression, zone=zone):
            return f"{expression} ({zone})"


@lru_cache(maxsize=256)
def find_zone(name: str) -> tzinfo:
    """The time zone of that name in the IANA database. Raises InvalidSchedule."""
    if name == "UTC":
        return UTC  # there is always this one
    problem = f"there is no time zone {name[:60]!r}"
    if not _ZONE.fullmatch(name) or name in _OF_THE_MACHINE:
        raise InvalidSchedule(f"{problem}: write one such as Europe/Berlin or UTC")
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError) as error:
        raise InvalidSchedule(
            f"{problem} on this machine: write one such as Europe/Berlin or UTC",
            next_step="If there is one of that name, the machine lacks the database: install the package `tzdata`.",
        ) from error


def lacking(timing: Timing) -> str | None:
    """Why this machine cannot tell the times, where another one can: it does not know the time zone."""
    try:
        find_zone(timing.zone if isinstance(timing, Cron) else "UTC")
    except InvalidSchedule as error:
        return error.message
    return None


# -- cron


def _fields(expression: str) -> list[str]:
    """Its five fields. Raises InvalidSchedule."""
    fields = _NAMED.get(expression.strip().lower(), expression).split()
    if len(fields) != 5 or len(expression) > MAX_EXPRESSION:
        raise InvalidSchedule(
            f"{expression[:60]!r} is no cron expression: write minute, hour, day of the month, month and day of the week, "
            f"such as '30 9 * * MON-FRI', or one of {', '.join(_NAMED)}"
        )
    return fields


@lru_cache(maxsize=1024)
def _check(expression: str) -> None:
    """Raises InvalidSchedule."""
    if _after(expression, datetime(2000, 1, 1)) is None:  # noqa: DTZ001 - the time on a wall
        raise InvalidSchedule(f"no day is like this: {expression!r}")


def _after(expression: str, shown: datetime) -> datetime | None:
    """The first time on the wall after this one that the expression means. Raises InvalidSchedule."""
    import cronsim  # here: only who has schedules needs it

    try:
        return next(cronsim.CronSim(" ".join(_fields(expression)), shown))
    except StopIteration:  # none in 50 years
        return None
    except OverflowError:  # the calendar's end
        return None
    except (cronsim.CronSimError, ValueError, TypeError, AssertionError) as error:
        raise InvalidSchedule(
            f"{expression!r} is no cron expression: {str(error) or 'a step of what has none'}"
        ) from error


def _means_times_of_the_day(expression: str) -> bool:
    minute, hour, *_ = _fields(expression)
    return not minute.startswith("*") and not hour.startswith("*")


def _of_the_day_after(expression: str, zone: tzinfo, moment: datetime) -> datetime | None:
    shown: datetime | None = _on_the_wall(zone, moment)
    while shown is not None:
        shown = _after(expression, shown)
        if shown is not None and (found := _first_time(zone, shown)) > moment:
            return found
    return None


def _first_time(zone: tzinfo, shown: datetime) -> datetime:
    """When a clock shows this for the first time; where it never does, when it goes on beyond."""
    early, late = (shown.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert early is not None
    assert late is not None
    found = (shown - early).replace(tzinfo=UTC)
    if _on_the_wall(zone, found) == shown:
        return found
    return _change(zone, (shown - late).replace(tzinfo=UTC), found)


def _shown_after(expression: str, zone: tzinfo, moment: datetime) -> datetime | None:
    """For as long as nobody puts the clock, the next time on the wall is the next moment. Where somebody does, the search goes
    on from there."""
    at, shown = moment, _on_the_wall(zone, moment)
    while (following := _after(expression, shown)) is not None:
        offset = _offset(zone, at)
        found = (following - offset).replace(tzinfo=UTC)
        near = min(found, at + _FAR)
        if _offset(zone, near) != offset:
            at = _change(zone, at, near)
            shown = _on_the_wall(zone, at) - _SECOND  # what it shows just then counts
        elif near == found:
            return found
        else:  # nothing is due until shortly before, however often the clock is put
            at = max(near, found - _FAR)
            shown = _on_the_wall(zone, at)
    return None


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _on_the_wall(zone: tzinfo, moment: datetime) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _change(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """The second at which the clock is put, which is after `low` and not after `high`."""
    low, before = low.replace(microsecond=0), _offset(zone, low)
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high
