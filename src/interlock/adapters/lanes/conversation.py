"""An open WebSocket, both ways at once: what is sent in leaves as messages, what arrives becomes output.

One task takes the input, one alone writes, and one reads. The reader never waits for the writer, except behind a flood of
pings, so that two sides which both talk before they listen do not wait for each other for ever.
"""

import logging
from typing import Final

import anyio
import anyio.lowlevel
from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from interlock import plane
from interlock.adapters.lanes.turns import SLICE
from interlock.adapters.lanes.wire import Wire
from interlock.kernel import Redactor

_CONTROL: Final = 125
"""Bytes that a control frame may have: they do not count against a message that it interrupts."""

_UNSENT: Final = 65_536
"""Bytes of answers to pings after which nothing more is read before they have left."""

_QUIET: Final = logging.Logger("websocket", logging.CRITICAL + 1)  # noqa: LOG001 - no setting shall turn it on
"""Frames hold what no log may."""

_TEXT_OR_DATA: Final = {Opcode.TEXT: plane.InputKind.TEXT, Opcode.BINARY: plane.InputKind.DATA}


class Conversation:
    """The WebSocket of one execution, after its opening handshake."""

    def __init__(self, wire: Wire, intent: plane.WebSocketIntent, exchange: plane.Exchange, redactor: Redactor) -> None:
        assert exchange.channel is not None
        self._wire = wire
        self._intent = intent
        self._exchange = exchange
        self._channel = exchange.channel
        self._redactor = redactor
        self._protocol = Protocol(Side.CLIENT, max_size=intent.max_message_bytes + _CONTROL, logger=_QUIET)
        self._wanted = anyio.Event()
        self._written = anyio.Event()
        self._writer_is_gone = False
        self._failure: plane.LaneFailure | None = None
        self._waits_since: float | None = None
        self._waited = 0.0
        self._kind = plane.InputKind.DATA
        self._message = bytearray()
        self._answers = 0
        self._bytes_in = 0
        self._messages_in = 0
        self._messages_out = 0

    async def hold(self, begun: bytes) -> None:
        """Talk to the end. `begun` is what the peer has said already. Raises LaneFailure."""
        failure = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                tasks.start_soon(self._take_input)
                failure = await self._listen(begun)
                with anyio.move_on_after(self._close_seconds):
                    await self._flush()  # the last words: an echo of the peer's close, or why we leave
                tasks.cancel_scope.cancel()
        finally:
            self._tell()
        if failure is not None:
            raise failure
        self._exchange.answered = True

    # -- to the peer

    async def _write(self) -> None:
        """Hand over what the protocol has to say, whenever there is some."""
        while True:
            data, self._answers = b"".join(self._protocol.data_to_send()), 0
            if data:
                try:
                    await self._wire.write(data, self._intent.timeouts.write_ms / 1000, self._exchange)
                except TimeoutError:
                    self._break(plane.FailureClass.WRITE_TIMEOUT, "the peer did not take what was sent to it in time")
                    break
                except ConnectionError:
                    break  # the reader finds out what the peer has said before
            else:
                self._written.set()
                self._wanted = anyio.Event()
                await self._wanted.wait()
        self._writer_is_gone = True
        self._written.set()

    def _want(self) -> None:
        """Have the writer look."""
        if not self._writer_is_gone:
            if self._written.is_set():
                self._written = anyio.Event()
            self._wanted.set()

    async def _flush(self) -> None:
        """Wait until all has been handed over, or nothing will be any more."""
        self._want()
        await self._written.wait()

    async def _take_input(self) -> None:
        """Send what is sent in; at its end close, and wait for the peer to do so, too."""
        while (piece := await self._channel.inbox.receive()) is not None:
            if self._protocol.state is not State.OPEN:
                return
            if piece.kind is plane.InputKind.TEXT:
                if not _is_text(piece.data):
                    self._break(
                        plane.FailureClass.FRAMING_FAILED, "a text was sent in that is not UTF-8", "input_no_text"
                    )
                    return
                self._protocol.send_text(piece.data)
            elif piece.kind is plane.InputKind.DATA:
                self._protocol.send_binary(piece.data)
            else:
                continue  # a WebSocket has no window and takes no signals
            self._messages_out += 1
            self._tell()
            await self._flush()
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            await self._flush()
        await self._patience()
        self._break(plane.FailureClass.CLOSE_TIMEOUT, f"the peer did not close within {self._close_seconds:g} seconds")

    async def _patience(self) -> None:
        """Wait as long as the peer may take to close. Only its own time counts, not what our readers take."""
        before = self._time_waited()
        while (left := before + self._close_seconds - self._time_waited()) > 0:  # noqa: ASYNC110 - time is the condition
            await anyio.sleep(left)

    def _time_waited(self) -> float:
        """How long nothing was there to be read, all in all, in seconds."""
        now = anyio.current_time()
        return self._waited + (0.0 if self._waits_since is None else now - self._waits_since)

    def _break(self, failure_class: plane.FailureClass, message: str, code: str | None = None) -> None:
        """End all for this reason: the reader wakes up, and says it."""
        self._failure = plane.LaneFailure(failure_class, message, code=code)
        self._wire.close()

    # -- from the peer

    async def _listen(self, data: bytes) -> plane.LaneFailure | None:
        """Pass on what comes, to the end. Returns what went wrong, if something did."""
        while True:
            self._bytes_in += len(data)
            self._tell()
            if self._bytes_in > self._intent.max_bytes:
                message = f"the peer has sent more than {self._intent.max_bytes} bytes"
                return self._leave(
                    CloseCode.POLICY_VIOLATION, plane.FailureClass.RESPONSE_TOO_LARGE, message, "stream_too_large"
                )
            for start in range(0, len(data), SLICE):
                before = len(self._protocol.writes)
                self._protocol.receive_data(data[start : start + SLICE])
                self._answers += sum(map(len, self._protocol.writes[before:]))
                for event in self._protocol.events_received():
                    assert isinstance(event, Frame)
                    failure = await self._take(event)
                    if failure is not None:
                        return failure
                if self._protocol.parser_exc is not None:
                    return self._misbehaved(self._protocol.parser_exc)
                if self._protocol.close_rcvd is not None:
                    return None
                await self._keep_up()
                await anyio.lowlevel.checkpoint()
            try:
                data = await self._next()
            except TimeoutError:
                message = f"nothing came for {self._intent.timeouts.idle_ms / 1000:g} seconds"
                return self._leave(CloseCode.GOING_AWAY, plane.FailureClass.IDLE_TIMEOUT, message)
            except ConnectionError:
                data = b""
            if not data:
                message = "the connection ended without a closing handshake"
                return self._failure or plane.LaneFailure(plane.FailureClass.PEER_LOST, message)

    async def _take(self, frame: Frame) -> plane.LaneFailure | None:
        """One frame, which the protocol has found to be in its place."""
        if frame.opcode in _TEXT_OR_DATA:
            self._kind = _TEXT_OR_DATA[frame.opcode]
        elif frame.opcode is not Opcode.CONT:
            return None
        self._message += frame.data
        if len(self._message) > self._intent.max_message_bytes:
            return self._too_big()
        if frame.fin:
            message = bytes(self._message)
            self._message.clear()
            if self._kind is plane.InputKind.TEXT and not _is_text(message):
                text = "the peer sent a text that is not UTF-8"
                return self._leave(CloseCode.INVALID_DATA, plane.FailureClass.FRAMING_FAILED, text, "text_not_utf8")
            await self._channel.output("message", message, {"kind": self._kind.value})
            self._messages_in += 1
            self._tell()
        return None

    async def _keep_up(self) -> None:
        """Let the answers to pings leave; behind a flood of them, wait for it."""
        if self._answers:
            self._want()
            if self._answers > _UNSENT:
                await self._flush()

    async def _next(self) -> bytes:
        """What arrives next; nothing at the end. Raises TimeoutError if the peer is silent, even when pinged."""
        ping_ms = self._intent.ping_ms
        self._waits_since = anyio.current_time()
        ends = self._waits_since + self._intent.timeouts.idle_ms / 1000
        try:
            while True:
                left = ends - anyio.current_time()
                try:
                    return await self._wire.read(left if ping_ms is None else min(left, ping_ms / 1000))
                except TimeoutError:
                    if anyio.current_time() >= ends:
                        raise
                    if self._protocol.state is State.OPEN:
                        self._protocol.send_ping(b"")
                        self._want()
        finally:
            self._waited, self._waits_since = self._time_waited(), None

    # -- the end

    def _misbehaved(self, error: Exception) -> plane.LaneFailure:
        """The protocol has told the peer already."""
        if isinstance(error, PayloadTooBig):
            return self._too_big()
        return plane.LaneFailure(
            plane.FailureClass.FRAMING_FAILED, "the peer broke the rules of the WebSocket protocol"
        )

    def _too_big(self) -> plane.LaneFailure:
        message = f"a message has more than {self._intent.max_message_bytes} bytes"
        return self._leave(
            CloseCode.MESSAGE_TOO_BIG, plane.FailureClass.RESPONSE_TOO_LARGE, message, "message_too_large"
        )

    def _leave(
        self, close_code: CloseCode, failure_class: plane.FailureClass, message: str, code: str | None = None
    ) -> plane.LaneFailure:
        """Tell the peer, if it can still be told, and say why."""
        if self._protocol.state is State.OPEN:
            self._protocol.fail(close_code)
        return plane.LaneFailure(failure_class, message, code=code)

    @property
    def _close_seconds(self) -> float:
        return self._intent.timeouts.close_ms / 1000

    def _tell(self) -> None:
        facts, received = self._exchange.facts, self._protocol.close_rcvd
        facts["bytes_in"] = self._bytes_in
        facts["messages_in"], facts["messages_out"] = self._messages_in, self._messages_out
        facts["close_code"] = CloseCode.ABNORMAL_CLOSURE.value if received is None else int(received.code)
        facts["close_reason"] = None if received is None else self._redactor.text(received.reason)[:120]


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
