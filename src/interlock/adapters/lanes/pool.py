"""The lines of a lane: as many as may be in use at once, over connections that are kept a while for the next exchange."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import anyio
import anyio.lowlevel

from interlock import plane
from interlock.adapters.lanes.egress import Egress, TlsUse
from interlock.adapters.lanes.line import Line, Part
from interlock.adapters.lanes.wire import Dialler, Wire

if TYPE_CHECKING:
    from interlock.adapters.lanes.http2 import Http2

KEEPALIVE_SECONDS: Final = 1.5
"""How long an idle connection is kept. Shorter than any common server's own limit (gunicorn closes after 2 seconds), so
that a write is practically never sent into a connection that the peer is just closing, which would leave it unknown."""

Origin: TypeAlias = tuple[str, str, int, str | None, tuple[str, ...]]
"""Scheme, host and port, the digest of what was asked of TLS and of who we are there, and the versions of HTTP. Whoever shows
a certificate has just redeemed it, so a connection that was made with the same one shows nothing that was taken back."""

_PROTOCOLS: Final = {"1.1": "http/1.1", "2": "h2"}
"""As they are offered under TLS (RFC 7301, RFC 9113 §3.1)."""


class HttpLine(Protocol):
    """What one exchange is carried by, in whichever version of HTTP (`line.Line`)."""

    async def send(
        self,
        exchange: plane.Exchange,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        limit: float,
    ) -> None: ...
    async def begin(
        self,
        exchange: plane.Exchange,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        limit: float,
    ) -> None: ...
    async def send_more(self, exchange: plane.Exchange, data: bytes | None, *, limit: float) -> bool: ...
    async def receive(self, *, limit: float) -> Part: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """What lines go over: one at a time, or several."""

    def has_room(self) -> bool: ...
    @property
    def shares(self) -> bool: ...
    @property
    def is_busy(self) -> bool: ...
    def line(self) -> HttpLine: ...
    def take_back(self, line: Any) -> bool: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Dialling:
    """A connection in the making, and once it is done whether others may share it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    shares: bool = False


class Pool:
    """Lends lines to checked addresses, at most `most` at a time; idle connections count until they are closed to make room."""

    def __init__(self, egress: Egress) -> None:
        self._dialler = Dialler(egress)
        self._most = egress.max_connections
        self._places = anyio.Semaphore(self._most)
        self._lent: dict[HttpLine, tuple[Connection, Origin]] = {}
        """With where each is kept afterwards."""
        self._closed = False
        self._ready: dict[Origin, dict[Connection, None]] = {}
        """Those that may carry a next exchange, the latest used last."""
        self._idle: dict[Connection, tuple[Origin, asyncio.TimerHandle]] = {}
        """Those of them that carry none, with what will close each."""
        self._dialling: dict[Origin, _Dialling] = {}
        """Where a connection is being made that others may share."""

    async def take(
        self, url: plane.Url, timeouts: plane.Timeouts, use: TlsUse | None = None, versions: tuple[str, ...] = ("1.1",)
    ) -> HttpLine:
        """A line to the URL's origin, to be given back. Raises plane.LaneFailure."""
        self._check_open()
        await self._place(timeouts.pool_ms / 1000)
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()  # with a line at hand nothing else would ask
            origin = (*url.origin, use and use.digest, versions)
            connection = self._find(origin)
            if connection is None and "2" in versions:
                connection = await self._share(origin, url, timeouts, use)
            if connection is None:
                connection = await self._dial(url, timeouts, use, versions)
            line = connection.line()
        except BaseException:
            self._places.release()
            raise
        self._lent[line] = connection, origin
        return line

    def give_back(self, line: HttpLine) -> None:
        """Keep a line's connection for the next exchange, if it can carry one; else close it."""
        connection, origin = self._lent.pop(line)
        self._places.release()
        keeps = connection.take_back(line) and not self._closed
        if keeps:
            self._keep(origin, connection)
        elif not connection.is_busy:
            self._forget(origin, connection)
            connection.close()

    @asynccontextmanager
    async def lend(
        self, url: plane.Url, timeouts: plane.Timeouts, use: TlsUse | None = None, versions: tuple[str, ...] = ("1.1",)
    ) -> AsyncGenerator[HttpLine]:
        """A line to the URL's origin, while the block lasts. Raises LaneFailure."""
        line = await self.take(url, timeouts, use, versions)
        try:
            yield line
        finally:
            self.give_back(line)

    async def aclose(self) -> None:
        """Close all connections; exchanges under way end with what a broken connection means."""
        self._closed = True
        for connection, (origin, _timer) in list(self._idle.items()):
            self._drop(origin, connection)
        for connection, _origin in self._lent.values():
            connection.close()
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

    async def _share(
        self, origin: Origin, url: plane.Url, timeouts: plane.Timeouts, use: TlsUse | None
    ) -> Connection | None:
        """A connection that others may share, too. None if the peer is known by now not to speak such a version."""
        while (dialling := self._dialling.get(origin)) is not None:
            with anyio.move_on_after(timeouts.connect_ms / 1000):
                await dialling.done.wait()
            if not dialling.shares:
                return None
            if (found := self._find(origin)) is not None:
                return found
        dialling = self._dialling[origin] = _Dialling()
        try:
            connection = await self._dial(url, timeouts, use, origin[-1])
            dialling.shares = connection.shares
            if dialling.shares:
                self._ready.setdefault(origin, {})[connection] = None
            return connection
        finally:
            del self._dialling[origin]
            dialling.done.set()

    async def _dial(
        self, url: plane.Url, timeouts: plane.Timeouts, use: TlsUse | None, versions: tuple[str, ...]
    ) -> Connection:
        http2 = _http2() if "2" in versions else None
        self._make_room()
        limit = timeouts.connect_ms / 1000
        offered = [_PROTOCOLS[version] for version in reversed(versions)]
        wire = await self._dialler.dial(url, limit, use, *offered)
        try:
            if http2 is None or not _speaks_2(wire, url, versions):
                connection: Connection = Line(wire)
            else:
                connection = shared = http2(wire, url.scheme)
                await shared.greet(limit)
            self._check_open()
        except BaseException:
            wire.close()
            raise
        return connection

    def _find(self, origin: Origin) -> Connection | None:
        """The one that was used last, if any is still good."""
        while ready := self._ready.get(origin):
            connection = next(reversed(ready))
            if connection.has_room():
                if connection.shares:
                    self._wake(connection)
                else:
                    self._forget(origin, connection)
                return connection
            self._forget(origin, connection)
            if not connection.is_busy:
                connection.close()
        return None

    def _make_room(self) -> None:
        """Close an idle connection, if the one that is about to be made would be too many."""
        taken = self._most - self._places.value
        if taken + len(self._idle) > self._most:
            connection, (origin, _timer) = next(iter(self._idle.items()))
            self._drop(origin, connection)

    def _keep(self, origin: Origin, connection: Connection) -> None:
        self._ready.setdefault(origin, {})[connection] = None
        if not connection.is_busy:
            timer = asyncio.get_running_loop().call_later(KEEPALIVE_SECONDS, self._drop, origin, connection)
            self._idle[connection] = origin, timer

    def _drop(self, origin: Origin, connection: Connection) -> None:
        self._forget(origin, connection)
        connection.close()

    def _forget(self, origin: Origin, connection: Connection) -> None:
        self._wake(connection)
        ready = self._ready.get(origin, {})
        ready.pop(connection, None)
        if not ready:
            self._ready.pop(origin, None)

    def _wake(self, connection: Connection) -> None:
        if (idle := self._idle.pop(connection, None)) is not None:
            idle[1].cancel()


def _http2() -> "type[Http2]":
    """Only for whoever asks for it: the library is an extra."""
    try:
        from interlock.adapters.lanes.http2 import Http2
    except ModuleNotFoundError as error:
        message = "HTTP/2 needs h2: install interlock[http2]"
        raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message, code="extra_missing") from error
    return Http2


def _speaks_2(wire: Wire, url: plane.Url, versions: tuple[str, ...]) -> bool:
    """Whether HTTP/2 is spoken: under TLS the peer has chosen, else who asks for nothing else knows. Raises LaneFailure."""
    chosen = wire.protocol == "h2" if url.scheme == "https" else versions == ("2",)
    if not chosen and "1.1" not in versions:
        message = f"{url.host} did not choose HTTP/2, and nothing else may be spoken"
        raise plane.LaneFailure(plane.FailureClass.TLS_FAILED, message, code="http2_not_spoken")
    return chosen
