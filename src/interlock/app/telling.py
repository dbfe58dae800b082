"""Telling a program what happens to its connections, while it goes on with its work."""

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import anyio

if TYPE_CHECKING:
    from interlock import connections

_log = logging.getLogger(__name__)

_MOST: Final = 1000
_LAST: Final = 5.0
"""Seconds for what is still to be told at the end."""


class OnEvent(Protocol):
    """What a program has awaited for each event."""

    async def __call__(self, event: "connections.ConnectionEvent", /) -> None:
        """Hear of one event."""
        ...


class Teller:
    """Hands events to a callback, one after the other, outside of the calls that caused them. What it raises is logged.

    If more than 1,000 wait, the newer ones are left out, and the log says so: the store has them all.
    """

    def __init__(self, callback: OnEvent) -> None:
        self._callback = callback
        self._waiting: deque[connections.ConnectionEvent] = deque()
        self._news = anyio.Event()
        self._over = False
        self._done = anyio.Event()

    def hear(self, events: "Sequence[connections.ConnectionEvent]") -> None:
        """Take what was committed. Never waits."""
        for event in events:
            if len(self._waiting) < _MOST:
                self._waiting.append(event)
            else:
                _log.warning("an event of %s is not told: %d others wait", event.connection_id, _MOST)
        self._news.set()

    async def keep(self) -> None:
        """Tell until `finish`."""
        while self._waiting or not self._over:
            self._news = anyio.Event()
            while self._waiting:
                await self._tell(self._waiting.popleft())
            if not self._over:
                await self._news.wait()
        self._done.set()

    async def finish(self) -> None:
        """Tell what was heard, for at most five seconds."""
        self._over = True
        self._news.set()
        with anyio.move_on_after(_LAST):
            await self._done.wait()

    async def _tell(self, event: "connections.ConnectionEvent") -> None:
        try:
            await self._callback(event)
        except Exception:  # noqa: BLE001 - it is the program's, and the next event is to be told, too
            _log.exception("the callback for events of connections failed at %s", event.event_id)
