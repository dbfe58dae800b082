"""Moments on the command line."""

from datetime import UTC, datetime, timedelta

import pytest

from interlock.cli.errors import Usage
from interlock.cli.times import parse_moment

NOW = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", datetime(2026, 3, 8, 11, 58, 30, tzinfo=UTC)),
        ("30m", datetime(2026, 3, 8, 11, 30, tzinfo=UTC)),
        ("2h", datetime(2026, 3, 8, 10, 0, tzinfo=UTC)),
        ("7d", datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
        ("1w", datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_moment_is_relative_a_day_or_exact(text: str, moment: datetime):
    assert parse_moment(text, option="--since", now=NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "2", "h", "2y", "-2h", "yesterday", "2026-02-30", "2026-01-31T12:00:00", "999999w"]
)
def test_what_is_no_time_is_told_with_what_is(text: str):
    with pytest.raises(Usage, match=r"^--until: .* is no time$") as caught:
        parse_moment(text, option="--until", now=NOW)
    assert "30m, 2h, 7d" in caught.value.next_step


def test_what_is_ahead_counts_from_now():
    assert parse_moment("2h", option="--expires-at", now=NOW, ahead=True) - NOW == timedelta(hours=2)
