from datetime import UTC, datetime

import pytest

from interlock.adapters.sql.latency import Latency


class Steps:
    """A clock whose commits take the seconds that are given."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_the_average_follows_the_last_commits() -> None:
    clock = Steps()
    latency = Latency(clock)
    assert latency.milliseconds == 0
    for _ in range(100):
        with latency.measured():
            clock.at += 0.010
    assert latency.milliseconds == pytest.approx(10, rel=0.01)
    for _ in range(100):
        with latency.measured():
            clock.at += 0.002
    assert latency.milliseconds == pytest.approx(2, rel=0.01)
