"""Moments: aware, exact to the microsecond, the same after every round trip."""

import sys
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kernel import SystemClock, from_micros, from_rfc3339, to_micros, to_rfc3339

ZONES = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
    lambda gap: timezone(timedelta(seconds=gap.total_seconds() // 60 * 60))
)
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)


@given(MOMENTS)
def test_round_trips(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment
    assert from_rfc3339(to_rfc3339(moment)) == moment


@given(MOMENTS)
def test_texts_have_one_form(moment: datetime) -> None:
    text = to_rfc3339(moment)
    assert len(text) == len("2026-11-20T11:25:09.000001Z")
    assert text.endswith("Z")
    assert to_rfc3339(moment.astimezone(UTC)) == text


def test_naive_moments_are_refused() -> None:
    for convert in (to_micros, to_rfc3339):
        with pytest.raises(ValueError, match="naive datetime"):
            convert(datetime.fromisoformat("2026-01-01T00:00:00"))
    with pytest.raises(ValueError, match="outside the calendar"):
        from_rfc3339("0001-01-01T00:00:00+23:59")
    with pytest.raises(ValueError, match="no time zone"):
        from_rfc3339("2026-01-01T00:00:00")


@pytest.mark.skipif(sys.platform != "linux", reason="the clock that counts sleep has another name elsewhere")
def test_the_machines_sleep_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 7.0}.__getitem__)
    assert SystemClock().monotonic() == 7.0
