"""Times that are due: against a slow oracle that looks at every minute, and where clocks are put."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.triggers import schedules

MINUTE = timedelta(minutes=1)

CHANGES = {
    "America/New_York": ("2026-03-08T07:00Z", "2026-11-01T06:00Z"),
    "Europe/Berlin": ("2026-03-29T01:00Z", "2026-10-25T01:00Z"),
    "Australia/Lord_Howe": ("2026-04-04T15:00Z", "2026-10-03T15:30Z"),  # half an hour
    "America/Havana": ("2026-03-08T05:00Z", "2026-11-01T05:00Z"),  # at midnight
    "Africa/Cairo": ("2026-04-23T22:00Z", "2026-10-29T21:00Z"),  # back into the day before
    "Antarctica/Troll": ("2026-03-29T01:00Z", "2026-10-25T01:00Z"),  # two hours
    "Pacific/Apia": ("2011-12-30T10:00Z",),  # a whole day
    "Asia/Kathmandu": ("2026-06-01T00:00Z",),  # never
    "UTC": ("2026-06-01T00:00Z",),
}
"""Around which moments something happens."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Fields(NamedTuple):
    """A cron expression as the sets that its fields mean, besides how they are written."""

    written: tuple[str, str, str, str, str]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def match(self, shown: datetime) -> bool:
        day, weekday = shown.day in self.days, shown.isoweekday() % 7 in self.weekdays
        starred = self.written[2].startswith("*") or self.written[4].startswith("*")
        return (
            shown.minute in self.minutes
            and shown.hour in self.hours
            and shown.month in self.months
            and ((day and weekday) if starred else (day or weekday))
        )


@st.composite
def field(draw: st.DrawFn, low: int, high: int) -> tuple[str, frozenset[int]]:
    """A field, and what it means."""
    every = range(low, high + 1)
    match draw(st.sampled_from("*/,--")):
        case "*":
            return "*", frozenset(every)
        case "/":
            step = draw(st.integers(1, 20))
            return f"*/{step}", frozenset(every[::step])
        case ",":
            some = draw(st.sets(st.integers(low, high), min_size=1, max_size=3))
            return ",".join(map(str, some)), frozenset(some)
        case _:
            first = draw(st.integers(low, high))
            last = draw(st.integers(first, high))
            return f"{first}-{last}", frozenset(range(first, last + 1))


@st.composite
def expressions(draw: st.DrawFn) -> Fields:
    minute, hour = draw(field(0, 59)), draw(field(0, 23) | st.just(("0-3", frozenset(range(4)))))
    wide = st.just(("*", frozenset(range(1, 32))))
    day, month, weekday = (
        draw(wide | field(1, 31)),
        draw(st.just(("*", frozenset(range(1, 13)))) | field(1, 12)),
        draw(st.just(("*", frozenset(range(7)))) | field(0, 6)),
    )
    parts = (minute, hour, day, month, weekday)
    written = (minute[0], hour[0], day[0], month[0], weekday[0])
    return Fields(written, *(part[1] for part in parts))


def looked_up(fields: Fields, zone: ZoneInfo, first: datetime, until: datetime) -> Iterator[datetime]:
    """All times from `first` until `until`, by looking at every minute."""
    minutes = [first + count * MINUTE for count in range(int((until - first) / MINUTE) + 1)]
    walls = [moment.astimezone(zone) for moment in minutes]
    if fields.written[0].startswith("*") or fields.written[1].startswith("*"):
        yield from (moment for moment, wall in zip(minutes, walls, strict=True) if fields.match(wall))
        return
    before: datetime | None = None
    for moment, wall in zip(minutes, walls, strict=True):
        shown = wall.replace(tzinfo=None)
        # What the clock jumped over since the last minute, and this minute, unless it was shown before.
        jumped = before is not None and shown > before + MINUTE
        since = before + MINUTE if before is not None and jumped else shown
        passed = (since + count * MINUTE for count in range(int((shown - since) / MINUTE) + 1))
        if not wall.fold and any(fields.match(each) for each in passed):
            yield moment
        before = shown


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = draw(st.sampled_from(sorted(CHANGES)))
    around = at(draw(st.sampled_from(CHANGES[zone])))
    return zone, around + timedelta(
        minutes=draw(st.integers(-300, 300)), seconds=draw(st.sampled_from([0, 0, 1, 59.5]))
    )


@given(fields=expressions(), search=searches())
def test_the_next_time_is_the_one_that_looking_at_every_minute_finds(fields: Fields, search: tuple[str, datetime]):
    name, moment = search
    cron = " ".join(fields.written)
    try:
        timing = schedules.Cron(expression=cron, zone=name)
    except schedules.InvalidSchedule:
        return  # 31 February
    until = moment + timedelta(hours=26)
    first = moment.replace(second=0, microsecond=0) - MINUTE
    expected = [each for each in looked_up(fields, ZoneInfo(name), first, until) if each > moment]
    found = schedules.next_after(timing, moment)
    assert (found if found is not None and found <= until else None) == next(iter(expected), None)


@pytest.mark.parametrize(
    ("cron", "zone", "moment", "expected"),
    [
        # A time of the day that there is not is due when the clock goes on.
        ("30 2 * * *", "America/New_York", "2026-03-08T06:00Z", ["2026-03-08T07:00Z", "2026-03-09T06:30Z"]),
        ("0,30 2 * * *", "America/New_York", "2026-03-08T06:00Z", ["2026-03-08T07:00Z", "2026-03-09T06:00Z"]),
        # One that there is twice is due the first time.
        ("30 1 * * *", "America/New_York", "2026-11-01T04:00Z", ["2026-11-01T05:30Z", "2026-11-02T06:30Z"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T06:10Z", ["2026-11-02T06:30Z"]),
        # What begins with a star goes by what the clock shows.
        ("*/30 * * * *", "America/New_York", "2026-03-08T06:00Z", ["2026-03-08T06:30Z", "2026-03-08T07:00Z"]),
        ("*/30 1 * * *", "America/New_York", "2026-11-01T05:10Z", ["2026-11-01T05:30Z", "2026-11-01T06:00Z"]),
        ("*/15 3 * * *", "Australia/Lord_Howe", "2026-10-03T15:00Z", ["2026-10-03T16:00Z", "2026-10-03T16:15Z"]),
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00Z", ["2026-03-08T05:00Z", "2026-03-09T04:00Z"]),
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00Z", ["2011-12-30T10:00Z", "2012-12-29T22:00Z"]),
        # Far away.
        ("* 0 * 2 MON#5", "Europe/Berlin", "2026-01-01T00:00Z", ["2044-02-28T23:00Z", "2044-02-28T23:01Z"]),
        ("@daily", "Asia/Kathmandu", "2026-06-01T00:00Z", ["2026-06-01T18:15Z", "2026-06-02T18:15Z"]),
        ("0 9 LW * *", "UTC", "2026-01-01T00:00Z", ["2026-01-30T09:00Z", "2026-02-27T09:00Z"]),
    ],
)
def test_cron(cron: str, zone: str, moment: str, expected: list[str]):
    timing = schedules.Cron(expression=cron, zone=zone)
    assert schedules.preview(timing, at(moment), count=len(expected)) == [at(each) for each in expected]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "0 0 30 2 *",
        "*/0 * * * *",
        "MON * * * *",
        "0 0 * * 1L/2",
        "@never",
        "²L " * 5,
    ],
)
def test_what_is_no_cron_expression_is_refused(expression: str):
    with pytest.raises(schedules.InvalidSchedule):
        schedules.Cron(expression=expression)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "localtime", "../etc/passwd", "/etc/localtime", "Europe", "+01:00"]
)
def test_what_is_no_time_zone_is_refused(zone: str):
    with pytest.raises(schedules.InvalidSchedule, match="time zone"):
        schedules.Cron(expression="0 0 * * *", zone=zone)


def test_an_interval_is_counted_from_its_start():
    every = schedules.Every(interval=timedelta(minutes=5), start=at("2026-01-01T00:02Z"))
    for moment, expected in (
        ("2025-12-31T00:00Z", "2026-01-01T00:02Z"),
        ("2026-01-01T00:02Z", "2026-01-01T00:07Z"),
        ("2026-01-01T00:06:59Z", "2026-01-01T00:07Z"),
    ):
        assert schedules.next_after(every, at(moment)) == at(expected)
    for wrong in (timedelta(), timedelta(milliseconds=1500), timedelta(days=400)):
        with pytest.raises(schedules.InvalidSchedule):
            schedules.Every(interval=wrong, start=at("2026-01-01T00:02Z"))


def test_a_moment_is_due_once():
    once = schedules.Once(at=at("2026-01-01T12:00Z"))
    assert schedules.preview(once, at("2026-01-01T11:59Z"), count=3) == [at("2026-01-01T12:00Z")]
    assert schedules.preview(once, at("2026-01-01T12:00Z"), count=3) == []


TIMINGS = st.sampled_from(
    [
        schedules.Cron(expression="*/7 9-11 * * 1-5", zone="Europe/Berlin"),
        schedules.Cron(expression="30 2 * * *", zone="America/New_York"),
        schedules.Cron(expression="0 0 1 * *", zone="UTC"),
        schedules.Every(interval=timedelta(seconds=90), start=at("2026-03-01T00:00:10Z")),
        schedules.Every(interval=timedelta(days=1), start=at("2026-03-01T00:00Z")),
    ]
)


@given(timing=TIMINGS, hours=st.integers(0, 100), most=st.integers(1, 12))
@example(timing=schedules.Once(at=at("2026-03-06T00:00Z")), hours=1, most=1)
def test_the_latest_times_are_the_end_of_all_of_them(timing: schedules.Timing, hours: int, most: int):
    first = schedules.next_after(timing, at("2026-03-05T00:00Z"))
    assert first is not None
    until = first + timedelta(hours=hours, minutes=11)
    everything = [first]
    while (following := schedules.next_after(timing, everything[-1])) is not None and following <= until:
        everything.append(following)
    assert schedules.latest(timing, first, until, most=most) == everything[-most:]


@given(timing=TIMINGS)
def test_a_timing_is_kept_as_it_is(timing: schedules.Timing):
    data: Any = schedules.to_json(timing)
    assert schedules.from_json(data) == timing


@pytest.mark.parametrize(
    ("timing", "told"),
    [
        (schedules.Every(interval=timedelta(minutes=90), start=datetime(2026, 1, 1, tzinfo=UTC)), "every 90 min"),
        (schedules.Every(interval=timedelta(days=2), start=datetime(2026, 1, 1, tzinfo=UTC)), "every 2 d"),
        (schedules.Once(at=datetime(2026, 1, 1, tzinfo=UTC)), "once at 2026-01-01T00:00:00.000000Z"),
        (schedules.Cron(expression="0 0 * * *", zone="Europe/Berlin"), "0 0 * * * (Europe/Berlin)"),
    ],
)
def test_a_timing_in_words(timing: schedules.Timing, told: str):
    assert schedules.describe(timing) == told
