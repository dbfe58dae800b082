"""HTTP/2 on one connection for several exchanges at once, each a line like those of HTTP/1.1."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import h11

from interlock import plane
from interlock.adapters.lanes.http2_session import Session, Stream
from interlock.adapters.lanes.line import Part
from interlock.adapters.lanes.turns import Turns
from interlock.adapters.lanes.waiting import Waiting
from interlock.adapters.lanes.wire import READ_AHEAD, Wire

_FRAMES: Final = 64
"""Frames that are looked at before others have a turn."""

_HEADER: Final = 9
"""Bytes before the payload of each frame."""


class Http2:
    """A connection that speaks HTTP/2. What arrives is taken apart as it comes, so that it needs no task of its own; whoever
    waits for a part of it is told."""

    def __init__(self, wire: Wire, scheme: str) -> None:
        self.wire = wire
        self.scheme = scheme
        self.waiting = Waiting()
        """For all that concerns more than one exchange."""
        self.session = Session(wire.hand_over, lambda: wire.unsent)
        self._loop = asyncio.get_running_loop()
        self._lines: set[Http2Line] = set()
        self._goes_on = False
        wire.listen(self._hear)

    async def greet(self, limit: float) -> None:
        """Wait until the peer has said that it speaks HTTP/2, so that no request goes to one that does not. Raises
        LaneFailure."""
        session = self.session
        try:
            await self.waiting.until(lambda: session.greeted or session.closing, limit)
        except TimeoutError as error:
            message = f"the peer did not say within {limit:g} seconds that it speaks HTTP/2"
            raise _failure(plane.FailureClass.CONNECT_TIMEOUT, message, "http2_timeout") from error
        if session.violation is not None:
            message = "the peer does not speak HTTP/2"
            raise _failure(plane.FailureClass.PROTOCOL_ERROR, message, "http2_not_spoken")
        if not self.has_room():
            message = "the peer speaks HTTP/2, and takes no requests on this connection"
            raise _failure(plane.FailureClass.CONNECT_FAILED, message, "http2_no_streams")

    def has_room(self) -> bool:
        """Whether a next exchange may begin here."""
        return len(self._lines) < self.session.room and not self.wire.has_hung_up()

    @property
    def shares(self) -> bool:
        """Whether others may have a line over the connection at the same time."""
        return True

    @property
    def is_busy(self) -> bool:
        """Whether exchanges are under way."""
        return len(self._lines) > 0

    def line(self) -> "Http2Line":
        """For one exchange."""
        line = Http2Line(self)
        self._lines.add(line)
        return line

    def take_back(self, line: "Http2Line") -> bool:
        """The exchange is over, or is broken off. False if the connection carries no others."""
        line.close()
        self._lines.discard(line)
        return not (self.session.closing or self.wire.ended)

    def close(self) -> None:
        """End the connection, and all exchanges on it."""
        self.session.close()
        self.session.end(broke=True)
        self.wire.close()
        self.waiting.look()

    def _hear(self) -> None:
        if not self._goes_on:
            self._go_on()

    def _go_on(self) -> None:
        """Look at what has arrived, and at the rest of it after the others' turn."""
        session, wire, self._goes_on = self.session, self.wire, False
        if session.violation is None:
            if not (is_behind := session.unread >= READ_AHEAD):
                session.hear(wire.take())
            more = session.turn(_FRAMES)
            if session.violation is not None:
                wire.close()
            elif more or is_behind:  # then more may wait in the wire, which tells nobody of it again
                self._goes_on = True
                self._loop.call_soon(self._go_on)
            elif wire.ended:
                session.end(broke=wire.error is not None)
        self.waiting.look()


class Http2Line:
    """One exchange of a connection. Raises plane.LaneFailure, in our own words only."""

    def __init__(self, connection: Http2) -> None:
        self._connection = connection
        self._waiting = Waiting()
        self._turns = Turns()
        self._stream: Stream | None = None
        self._exchange: plane.Exchange | None = None
        self._headed = False
        self._alone = False
        """Whether nothing has left for the execution before, where a redirect led here."""

    async def send(
        self,
        exchange: plane.Exchange,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        limit: float,
    ) -> None:
        """Send a whole request, counted in the exchange before it leaves. `limit` is in seconds."""
        ends = asyncio.get_running_loop().time() + limit
        await self._send_head(exchange, method, target, headers, ends=ends, is_all=not body)
        if body:
            await self._send_data(exchange, body, ends=ends, is_last=True)
        await self._drained(ends)

    async def begin(
        self,
        exchange: plane.Exchange,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        limit: float,
    ) -> None:
        """Send the head of a request whose body follows by `send_more`."""
        ends = asyncio.get_running_loop().time() + limit
        await self._send_head(exchange, method, target, headers, ends=ends, is_all=False)
        await self._drained(ends)

    async def send_more(self, exchange: plane.Exchange, data: bytes | None, *, limit: float) -> bool:
        """Send a piece of the body, or its end if None. False if nobody listens any more."""
        ends = asyncio.get_running_loop().time() + limit
        if data == b"":
            return True
        if not await self._send_data(exchange, data or b"", ends=ends, is_last=data is None):
            return False
        await self._drained(ends)
        return True

    async def receive(self, *, limit: float) -> Part:
        """The next part of the answer. `limit` is for one wait, in seconds."""
        await self._turns.take()
        stream, exchange = self._stream, self._exchange
        assert stream is not None
        assert exchange is not None
        try:
            await self._waiting.until(lambda: self._has_part(stream), limit)
        except TimeoutError as error:
            self._connection.session.closing = True  # it may be dead: others had better not rely on it
            raise _failure(plane.FailureClass.READ_TIMEOUT, "the peer sent nothing in time") from error
        if stream.head is not None and not self._headed:
            self._headed = True
            return stream.head
        if stream.data:
            return h11.Data(data=self._connection.session.take(stream))
        if stream.failure is not None:
            exchange.rejected = stream.rejected and self._alone
            raise stream.failure
        return h11.EndOfMessage()

    def close(self) -> None:
        """End the exchange; the peer is told if it is not through."""
        stream = self._stream
        if stream is not None:
            self._connection.session.let_go(stream)
            stream.fail(plane.FailureClass.READ_FAILED, "the exchange was broken off here")

    def _has_part(self, stream: Stream) -> bool:
        return stream.over or bool(stream.data) or (stream.head is not None and not self._headed)

    async def _send_head(
        self,
        exchange: plane.Exchange,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        ends: float,
        is_all: bool,
    ) -> None:
        connection = self._connection
        session, wire = connection.session, connection.wire
        wire.introduce(exchange)
        exchange.facts["http_version"] = "2"
        await self._drained(ends)
        if session.closing:
            raise _failure(plane.FailureClass.WRITE_FAILED, "the connection ended before any of the request was sent")
        exchange.leave(1)  # asked before the head is made, and made good below: nothing else happens between
        try:
            stream, head = session.begin(connection.scheme, method, target, headers, ends=is_all)
        except plane.LaneFailure:
            exchange.bytes_sent -= 1
            raise
        exchange.bytes_sent += len(head) - 1
        if not wire.hand_over(head):
            exchange.bytes_sent -= len(head)
            session.let_go(stream)
            raise _failure(plane.FailureClass.WRITE_FAILED, "the connection broke before any of the request was sent")
        self._alone = exchange.bytes_sent == len(head)
        self._exchange, self._stream, stream.on_change = exchange, stream, self._waiting.look

    async def _send_data(self, exchange: plane.Exchange, data: bytes, *, ends: float, is_last: bool) -> bool:
        """Piece by piece, as the peer allows. False if it does not listen any more: it may have answered already."""
        connection, stream = self._connection, self._stream
        session, wire = connection.session, connection.wire
        assert stream is not None
        sent = 0
        while True:
            await self._until(lambda: stream.over or (not wire.full and (session.window(stream) > 0 or not data)), ends)
            if stream.over:
                return False
            piece = data[sent : sent + session.window(stream)]
            sent += len(piece)
            exchange.leave(len(piece) + _HEADER)
            frame = session.data(stream, piece, ends=is_last and sent == len(data))
            if not wire.hand_over(frame):
                exchange.bytes_sent -= len(frame)
                return False
            if sent == len(data):
                return True

    async def _drained(self, ends: float) -> None:
        wire = self._connection.wire
        await self._until(lambda: not wire.full or wire.ended, ends)

    async def _until(self, done: Callable[[], bool], ends: float) -> None:
        connection = self._connection
        try:
            await connection.waiting.until(done, ends - asyncio.get_running_loop().time())
        except TimeoutError as error:
            connection.session.closing = True
            message = "the peer did not take the request in time"
            raise _failure(plane.FailureClass.WRITE_TIMEOUT, message) from error


def _failure(failure_class: plane.FailureClass, message: str, code: str | None = None) -> plane.LaneFailure:
    return plane.LaneFailure(failure_class, message, code=code)
