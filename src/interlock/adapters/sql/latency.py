"""How long commits take at present: a reading for policy's pressure rules."""

from collections.abc import Generator
from contextlib import contextmanager

from interlock.kernel import Clock

_WEIGHT = 0.1
"""The share of the newest commit; about the last twenty count."""


class Latency:
    """A moving average over commits. Several threads may feed it: a lost update does no harm."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.milliseconds = 0.0

    @contextmanager
    def measured(self) -> Generator[None]:
        """Count the block as one commit."""
        begun = self._clock.monotonic()
        yield
        self.milliseconds += _WEIGHT * ((self._clock.monotonic() - begun) * 1000 - self.milliseconds)
