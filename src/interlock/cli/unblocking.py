"""Ends a wait that holds up the event loop, which no deadline and no signal would end: code of others that blocks its thread, and
the wait for a whole stdin."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_AGAIN: Final = 0.2
"""Seconds after which a loop that gave no sign of life is asked once more, for the process itself may have been stopped."""

_ASKED: Final = 1.0
"""Seconds that a loop has to answer to a signal."""

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def watched(seconds: float, late: Callable[[], Exception]) -> Generator[None]:
    """What is done meanwhile never holds up the loop for much longer than so many seconds, or than one after a signal: that
    raises what `late` makes, or KeyboardInterrupt with the number of the signal, out of whatever is being waited for. Where
    that cannot be done (in another thread, on another system) it is as if this was not here."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    watch = _Watch(asyncio.get_running_loop(), seconds, late)
    watch.begin()
    try:
        yield
    finally:
        watch.end()


@contextmanager
def interruptible() -> Generator[None]:
    """What blocks the loop meanwhile, and is to, ends at a signal that would end the command: with KeyboardInterrupt, which has
    its number. In another thread it is as if this was not here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(number: int, frame: FrameType | None) -> None:
        del frame
        raise KeyboardInterrupt(number)

    before = {number: there for number in _ENDING if callable(there := signal.getsignal(number))}
    try:
        for number in before:
            signal.signal(number, hear)
        yield
    finally:
        for number, there in before.items():
            signal.signal(number, there)


class _Watch:
    """A timer of the system, which the loop sets back as long as it goes round."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, late: Callable[[], Exception]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._late = late
        self._missed = 0
        self._asked: int | None = None
        self._before: dict[int, Any] = {}
        self._next: asyncio.TimerHandle | None = None
        self._timer = (0.0, 0.0)
        """Somebody else's, which goes on afterwards."""

    def begin(self) -> None:
        for number in _ENDING:
            if callable(there := signal.getsignal(number)):  # else it is ignored, or ends the process
                self._before[number] = there
                signal.signal(number, self._hear)
        self._timer = signal.setitimer(signal.ITIMER_REAL, 0)
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._ring)
        self._live()

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._next is not None:
            self._next.cancel()
        for number, there in self._before.items():
            signal.signal(number, there)
        signal.setitimer(signal.ITIMER_REAL, *self._timer)

    def _live(self) -> None:
        self._missed = 0
        signal.setitimer(signal.ITIMER_REAL, self._seconds, _AGAIN)
        self._next = self._loop.call_later(min(1.0, self._seconds / 4), self._live)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked = number
        signal.setitimer(signal.ITIMER_REAL, _ASKED, _AGAIN)
        self._before[number](number, frame)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._missed += 1
        if self._missed < 2:
            return
        if self._asked is not None:
            raise KeyboardInterrupt(self._asked)
        raise self._late()
