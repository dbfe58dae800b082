"""Readings of how strained the installation is, which policy may judge."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from interlock.kernel import Clock

SMOOTHING = 0.2
"""The weight of the newest reading in the moving average."""


class Pressure:
    """The latest readings by name (`queue_age_s`, `store_latency_ms` …); rooms feed them, policy reads them."""

    def __init__(self) -> None:
        self._readings: dict[str, float] = {}

    def feed(self, name: str, value: float) -> None:
        """Set a reading."""
        self._readings[name] = value

    def average(self, name: str, value: float) -> None:
        """Take a reading into a moving average."""
        before = self._readings.get(name, value)
        self._readings[name] = before + SMOOTHING * (value - before)

    @contextmanager
    def timing(self, name: str, clock: Clock) -> Generator[None]:
        """Take how long the block lasts, in milliseconds, into a moving average; also of one that fails."""
        before = clock.monotonic()
        try:
            yield
        finally:
            self.average(name, (clock.monotonic() - before) * 1000)

    def readings(self) -> Mapping[str, float]:
        """All readings as of now."""
        return dict(self._readings)
