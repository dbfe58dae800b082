"""The lines of a lane: as many as may be open at once, and idle ones kept a while for the next exchange."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import anyio
import anyio.lowlevel

from interlock import plane
from interlock.adapters.lanes.egress import Egress, TlsUse
from interlock.adapters.lanes.line import Line
from interlock.adapters.lanes.wire import Dialler

KEEPALIVE_SECONDS: Final = 1.5
"""How long an idle connection is kept. Shorter than any common server's own limit (gunicorn closes after 2 seconds), so
that a write is practically never sent into a connection that the peer is just closing, which would leave it unknown."""

Origin: TypeAlias = tuple[str, str, int, str | None]
"""Scheme, host and port, and the digest of what was asked of TLS."""


class Pool:
    """Lends lines to checked addresses, at most `most` at a time; idle ones count until they are closed to make room."""

    def __init__(self, egress: Egress) -> None:
        self._dialler = Dialler(egress, "http/1.1")
        self._most = egress.max_connections
        self._places = anyio.Semaphore(self._most)
        self._lent: dict[Line, Origin | None] = {}
        """With where each is kept afterwards; None for one that serves no other."""
        self._closed = False
        self._idle: dict[Origin, dict[Line, asyncio.TimerHandle]] = {}
        """With what will close each, the latest used last."""

    async def take(self, url: plane.Url, timeouts: plane.Timeouts, use: TlsUse | None = None) -> Line:
        """A line to the URL's origin, to be given back. Raises plane.LaneFailure."""
        self._check_open()
        await self._place(timeouts.pool_ms / 1000)
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()  # with a line at hand nothing else would ask
            # Who has shown a certificate may have lost the right to it before the next request.
            origin = None if use and use.key else (*url.origin, use and use.options.digest)
            line = None if origin is None else self._find(origin)
            if line is None:
                self._make_room()
                line = Line(await self._dialler.dial(url, timeouts.connect_ms / 1000, use))
                try:
                    self._check_open()
                except plane.LaneFailure:
                    line.close()
                    raise
        except BaseException:
            self._places.release()
            raise
        self._lent[line] = origin
        return line

    def give_back(self, line: Line) -> None:
        """Keep a line for the next exchange, if it can carry one; else close it."""
        origin = self._lent.pop(line)
        self._places.release()
        if origin is not None and line.renew() and not self._closed:
            timer = asyncio.get_running_loop().call_later(KEEPALIVE_SECONDS, self._drop, origin, line)
            self._idle.setdefault(origin, {})[line] = timer
        else:
            line.close()

    @asynccontextmanager
    async def lend(self, url: plane.Url, timeouts: plane.Timeouts, use: TlsUse | None = None) -> AsyncGenerator[Line]:
        """A line to the URL's origin, while the block lasts. Raises LaneFailure."""
        line = await self.take(url, timeouts, use)
        try:
            yield line
        finally:
            self.give_back(line)

    async def aclose(self) -> None:
        """Close all lines; exchanges under way end with what a broken connection means."""
        self._closed = True
        for origin, lines in list(self._idle.items()):
            for line in list(lines):
                self._drop(origin, line)
        for line in self._lent:
            line.close()
        await anyio.lowlevel.checkpoint()  # then they are gone

    async def _place(self, patience: float) -> None:
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(patience):
                    await self._places.acquire()
            except TimeoutError as error:
                message = "no connection of the lane became free in time"
                raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message) from error

    def _check_open(self) -> None:
        if self._closed:
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, "the lane is closed", code="lane_closed")

    def _find(self, origin: Origin) -> Line | None:
        """The idle line that was used last, if any is still good."""
        while lines := self._idle.get(origin):
            line = next(reversed(lines))
            if line.is_idle():
                self._forget(origin, line)
                return line
            self._drop(origin, line)
        return None

    def _make_room(self) -> None:
        """Close an idle line, if the one that is about to be made would be too many."""
        taken = self._most - self._places.value
        if taken + sum(map(len, self._idle.values())) > self._most:
            origin, lines = next(iter(self._idle.items()))
            self._drop(origin, next(iter(lines)))

    def _drop(self, origin: Origin, line: Line) -> None:
        self._forget(origin, line)
        line.close()

    def _forget(self, origin: Origin, line: Line) -> None:
        lines = self._idle[origin]
        lines.pop(line).cancel()
        if not lines:
            del self._idle[origin]
