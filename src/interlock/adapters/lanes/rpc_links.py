"""What JSON-RPC messages travel by: a connection of their own, another lane that streams, or a POST for each."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from interlock import plane
from interlock.adapters.lanes.turns import Turns
from interlock.adapters.lanes.wire import Wire

_FOREVER: Final = 1_000_000.0
"""Seconds; longer than any execution may take."""

_BAD_ENDS: Final = frozenset({plane.FailureClass.EXIT_NONZERO, plane.FailureClass.KILLED_BY_SIGNAL})
"""How a command may end that has said all it had to say; what it means, the open requests tell."""


class Link(Protocol):
    """Carries whole texts both ways. Raises LaneFailure, and FramingError for what the peer sends."""

    lingers: bool
    """Whether the peer is given time to end, too, after our last word."""
    broken: bool
    """Whether a text could not be handed over because the peer takes no more."""
    bad_end: plane.LaneFailure | None
    """How the peer ended by itself, other than well, where that is known."""

    async def send(self, text: bytes, *, asks: bool) -> None:
        """Hand a text over; it `asks` if an answer is due."""
        ...

    async def receive(self) -> bytes | None:
        """The next text; None when the peer has ended."""
        ...

    async def end(self) -> None:
        """That was the last word."""
        ...


class _Inflow:
    """Texts out of a stream. What came whole before a fault is handed out before the fault is raised."""

    def __init__(self, framing: plane.Framing, read: Callable[[], Awaitable[bytes]]) -> None:
        self._framing = framing
        self._read = read
        self._turns = Turns()
        self._whole: deque[bytes] = deque()
        self._fault: plane.FramingError | None = None

    async def next(self) -> bytes | None:
        while not self._whole:
            if self._fault is not None:
                raise self._fault
            data = await self._read()
            if not data:
                self._framing.finish()
                return None
            self._take(data)
        await self._turns.take()
        return self._whole.popleft()

    def _take(self, data: bytes) -> None:
        try:
            for text in self._framing.feed(data):
                self._whole.append(text)
        except plane.FramingError as fault:
            self._fault = fault


class TcpLink:
    """Over a connection that is this conversation's alone."""

    def __init__(
        self, wire: Wire, transport: plane.TcpTransport, intent: plane.JsonRpcIntent, exchange: plane.Exchange
    ) -> None:
        self.lingers = intent.mode == "session" and not transport.tls  # TLS cannot end one direction alone
        self.broken = False
        self.bad_end: plane.LaneFailure | None = None
        self._wire = wire
        self._exchange = exchange
        self._write_seconds = intent.timeouts.write_ms / 1000
        self._framing = plane.make_framing(transport.framing, max_bytes=intent.limits.max_message_bytes)
        self._inflow = _Inflow(self._framing, self._read)

    async def send(self, text: bytes, *, asks: bool) -> None:
        data = self._framing.encode(text)
        try:
            await self._wire.write(data, self._write_seconds, self._exchange)
        except TimeoutError as error:
            raise _not_taken() from error
        except ConnectionError:
            self.broken = True  # read on: the peer may have answered before

    async def receive(self) -> bytes | None:
        return await self._inflow.next()

    async def end(self) -> None:
        self._wire.end()

    async def _read(self) -> bytes:
        try:
            return await self._wire.read(_FOREVER)
        except ConnectionError as error:
            raise plane.LaneFailure(plane.FailureClass.PEER_LOST, "the connection broke") from error


class Under(plane.Exchange):
    """The exchange of a lane that carries for this one: what leaves there is counted here at the same moment."""

    def __init__(self, outer: plane.Exchange, channel: plane.Channel | None = None) -> None:
        super().__init__(outer.clock, notes=outer.notes, channel=channel, ends_at=outer.ends_at)
        self._outer = outer
        self._counted = 0

    def leave(self, count: int) -> None:
        self._outer.leave(count)
        self._counted += count
        self.bytes_sent += count

    def settle(self) -> None:
        """Tell what is known in the end, also if nothing left after all."""
        outer = self._outer
        self.uncount()
        outer.peer, outer.status, outer.headers = self.peer, self.status, self.headers
        outer.facts.update(self.facts)

    def uncount(self) -> None:
        """Only that: what did not leave after all does not count."""
        self._outer.bytes_sent -= self._counted - self.bytes_sent


class _Pipe(plane.Channel):
    """What a lane below talks through: one stream of it carries the messages, all else is for whoever follows."""

    def __init__(self, stream: str, carry: MemoryObjectSendStream[bytes], exchange: plane.Exchange) -> None:
        super().__init__(plane.EventLog("", exchange.clock), plane.Inbox())
        self._stream = stream
        self._carry = carry
        self._outer = exchange.channel

    async def output(self, stream: str, data: bytes, facts: Mapping[str, plane.Fact] | None = None) -> None:
        if stream == self._stream:
            await self._carry.send(data or b" ")  # an empty message is no end
        elif self._outer is not None:
            await self._outer.output(stream, data, facts)


class _Whole:
    """The framing of what comes in messages anyway."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass

    def encode(self, message: bytes) -> bytes:
        return message


class LaneLink:
    """Over an execution of another lane that streams. `stream` is the one that carries the messages; `framing` is None
    where that lane knows messages itself."""

    lingers = True

    def __init__(
        self,
        lane: plane.Lane,
        carrier: plane.Intent,
        exchange: plane.Exchange,
        *,
        stream: str,
        framing: plane.Framing | None,
        write_ms: int,
    ) -> None:
        self.broken = False
        self.bad_end: plane.LaneFailure | None = None
        self._lane = lane
        self._carrier = carrier
        self._carry, self._carried = anyio.create_memory_object_stream[bytes](0)
        self._channel = _Pipe(stream, self._carry, exchange)
        self._under = Under(exchange, self._channel)
        self._kind = plane.InputKind.TEXT if framing is None else plane.InputKind.DATA
        self._framing: plane.Framing = framing or _Whole()
        self._inflow = _Inflow(self._framing, self._read)
        self._write_seconds = write_ms / 1000
        self._failure: plane.LaneFailure | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["LaneLink"]:
        """The link, while the lane below is at work; nothing of it is left afterwards."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._run)
                yield self
                tasks.cancel_scope.cancel()
        finally:
            self._carry.close()
            self._carried.close()

    async def _run(self) -> None:
        try:
            await self._lane.execute(self._carrier, self._under)
        except plane.LaneFailure as failure:
            if failure.failure.failure_class in _BAD_ENDS:
                self.bad_end = failure
            elif failure.failure.failure_class is not plane.FailureClass.CLOSE_TIMEOUT:
                self._failure = failure
        finally:
            self._under.settle()
            self._channel.inbox.end()
            self._carry.close()

    async def send(self, text: bytes, *, asks: bool) -> None:
        piece = plane.Input(kind=self._kind, data=self._framing.encode(text))
        try:
            with anyio.fail_after(self._write_seconds):
                await self._channel.inbox.send(piece)
        except TimeoutError as error:
            raise _not_taken() from error
        except plane.InputClosed:
            self.broken = True

    async def receive(self) -> bytes | None:
        return await self._inflow.next()

    async def end(self) -> None:
        self._channel.inbox.end()

    async def _read(self) -> bytes:
        try:
            return await self._carried.receive()
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from None
            return b""


def _not_taken() -> plane.LaneFailure:
    return plane.LaneFailure(plane.FailureClass.WRITE_TIMEOUT, "the peer did not take a message in time")
