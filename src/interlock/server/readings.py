"""Readers of events who may lose their link and come back: for a while, what they have not acknowledged is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from interlock import plane
from interlock.kernel import Clock

LINGER: Final = 60.0
"""Seconds for which a reader is waited for who is gone without a word."""

MAX_READERS: Final = 16
"""Readers of one client at one execution."""

Key: TypeAlias = tuple[str, str]
"""Execution and reader, as the client calls it."""


@dataclass(slots=True)
class Reading:
    """One reader, over one connection at a time."""

    reader: plane.Reader
    connection: anyio.CancelScope
    connected: bool = True


class Readings:
    """All readers of a node's clients."""

    def __init__(self, clock: Clock, *, linger: float = LINGER) -> None:
        self._clock = clock
        self._linger = linger
        self._all: dict[Key, Reading] = {}

    def take(self, key: Key, after: int, attach: Callable[[], plane.Reader]) -> Reading:
        """The reader of that name, over a new connection; an earlier one of it ends. Raises plane.InvalidPacket when there
        are too many."""
        known = self._all.get(key)
        if known is not None:
            known.connection.cancel()
            known.reader.go_back(after)
            reader = known.reader
        elif sum(1 for execution_id, _ in self._all if execution_id == key[0]) >= MAX_READERS:
            raise plane.InvalidPacket(f"{MAX_READERS} readers of this execution are open already")
        else:
            reader = attach()
        reading = self._all[key] = Reading(reader, anyio.CancelScope())
        return reading

    def part(self, key: Key, reading: Reading, tasks: TaskGroup, *, for_good: bool) -> None:
        """The connection has ended; unless the reader has left for good, wait for it to come back."""
        if self._all.get(key) is not reading:
            return  # it is read over another connection by now
        reading.connected = False
        if for_good:
            self._forget(key)
        else:
            tasks.start_soon(self._wait_for, key, reading)

    async def drained(self) -> None:
        """Come back when nobody is connected any more."""
        while any(reading.connected for reading in self._all.values()):
            await self._clock.sleep(0.05)

    async def _wait_for(self, key: Key, reading: Reading) -> None:
        await self._clock.sleep(self._linger)
        if self._all.get(key) is reading:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        self._all.pop(key).reader.leave()
