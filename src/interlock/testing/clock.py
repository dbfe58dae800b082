"""Time that moves when the test says so."""

import threading
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """A `kernel.Clock` that stands still until it is advanced, from any thread.

    With `autojump` a sleeper moves the clock to its own deadline and goes on after one turn of the event loop. Without
    it a sleeper waits until `advance` has reached its deadline.
    """

    def __init__(self, start: datetime | None = None, *, autojump: bool = True) -> None:
        start = start or _START
        if start.tzinfo is None:
            raise ValueError(f"naive datetime {start!r}: give it a time zone")
        self._start = start.astimezone(UTC)
        self._autojump = autojump
        self._elapsed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The start plus what was advanced."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Move on by that many seconds. Raises ValueError if that is backwards."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back ({seconds} s); make a second one to test a jump")
        with self._lock:
            self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait for that much of this clock's time, cancellably."""
        import anyio  # here, so that `from interlock import testing` stays quick

        deadline = self._elapsed + max(seconds, 0.0)
        if self._autojump:
            self.advance(max(seconds, 0.0))
            await anyio.lowlevel.checkpoint()
            return
        # A real pause between looks: the advance may come from another thread, or from another event loop.
        while self._elapsed < deadline:  # noqa: ASYNC110
            await anyio.sleep(0.001)
