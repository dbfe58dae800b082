"""Moments on the command line."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from interlock.cli.errors import Usage
from interlock.kernel import from_rfc3339

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_span(text: str, *, option: str) -> timedelta:
    """How long: `30s`, `5m`. Raises Usage."""
    found = _AGO.fullmatch(text)
    if found is None:
        raise Usage(f"{option}: {text[:60]!r} is no length of time", next_step="Write a number and its unit: 30s, 5m.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def parse_moment(text: str, *, option: str, now: datetime, ahead: bool = False) -> datetime:
    """A moment: how long ago, or how far `ahead` (`30m`, `2h`, `7d`), a day in UTC, or RFC 3339. Raises Usage."""
    try:
        if found := _AGO.fullmatch(text):
            span = timedelta(**{_UNITS[found[2]]: int(found[1])})
            return now + span if ahead else now - span
        if len(text) == len("2026-01-31"):
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return from_rfc3339(text)
    except (ValueError, OverflowError) as error:
        how = "from now" if ahead else "ago"
        next_step = f"Write how long {how} (30m, 2h, 7d), a day (2026-01-31), or a moment (2026-01-31T12:00:00Z)."
        raise Usage(f"{option}: {text[:60]!r} is no time", next_step=next_step) from error
