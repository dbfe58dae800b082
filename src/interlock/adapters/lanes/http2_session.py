"""HTTP/2 over one connection without I/O: streams that each carry one exchange (RFC 9113)."""

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error, TooManyStreamsError
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple

from interlock import plane
from interlock.adapters.lanes.http2_frames import FRAME, Frames, GoAway, Violation

WINDOW: Final = 262_144
"""Bytes of one answer that may wait here to be read before the peer has to wait with it."""

_CONNECTION_WINDOW: Final = 1_048_576
_MAX_HEADERS: Final = 65_536
"""Bytes of an answer's headers, unpacked (RFC 9113 §6.5.2)."""

_MOST_UNSENT: Final = 65_536
"""Bytes of answers to pings and settings that may wait to leave: a peer that does not listen to them is left."""

MOST_STREAMS: Final = 100
"""Exchanges at once on one connection, if the peer allows as many."""

_MOST_NUMBER: Final = 2**30
"""After it a connection takes no more exchanges; the numbers end at twice that."""

_FOR_THE_CONNECTION: Final = frozenset({b"host", b"connection", b"transfer-encoding"})

for _name in ("hpack.hpack", "hpack.huffman", "hpack.table"):  # they would log heads, with the secret in them
    logging.getLogger(_name).disabled = True


class Stream:
    """One exchange: what has arrived of its answer, and why no more does."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.head: h11.Response | None = None
        self.data: list[bytes] = []
        self.ended = False
        self.failure: plane.LaneFailure | None = None
        self.rejected = False
        """Whether the peer says that it has done nothing with it."""
        self.credit = 0
        """Bytes that the peer may send again, and has not been told of yet."""
        self.on_change: Callable[[], object] = lambda: None
        """Called when something of it has arrived, or its end."""

    @property
    def over(self) -> bool:
        """Whether nothing more arrives."""
        return self.ended or self.failure is not None

    def fail(self, failure_class: plane.FailureClass, message: str, code: str | None = None) -> None:
        """It ends without an answer, unless it has ended already."""
        if not self.over:
            self.failure = plane.LaneFailure(failure_class, message, code=code)
            self.on_change()

    def reject(self, message: str) -> None:
        """The peer's word that it has done nothing with it."""
        if self.head is None and not self.over:
            self.rejected = True
        failed = plane.FailureClass.WRITE_FAILED if self.rejected else plane.FailureClass.READ_FAILED
        self.fail(failed, message, "stream_refused")


class Session:
    """What is said and heard on one connection, as a client. `say` takes what is to leave that belongs to no exchange, or
    ends one; `unsent` tells how much of it has not left yet.

    Nothing is put into the table by which heads are packed: all executions on the connection would share it, with the
    secrets in it, and a head that was packed and may not leave would make all others unreadable.
    """

    def __init__(self, say: Callable[[bytes], object], unsent: Callable[[], int]) -> None:
        self._say = say
        self._unsent = unsent
        self._frames = Frames()
        self._streams: dict[int, Stream] = {}
        self._credit = 0
        self.greeted = False
        """Whether the peer has said that it speaks HTTP/2, and what it allows."""
        self.closing = False
        """Whether no more exchanges can begin."""
        self.violation: Violation | None = None
        self._over = False
        self._unheard = 0
        self._http = H2Connection(H2Configuration(header_encoding=None))
        self._http.local_settings = Settings(
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_FRAME_SIZE: FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: _MAX_HEADERS,
            }
        )
        self._http.max_inbound_frame_size = FRAME
        self._http.decoder.max_header_list_size = _MAX_HEADERS
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_CONNECTION_WINDOW - 65_535)
        self._flush()

    # -- exchanges

    @property
    def room(self) -> int:
        """How many exchanges there may be at once, if any may begin now."""
        if self.closing or not self.greeted:
            return 0
        return min(self._http.remote_settings.max_concurrent_streams, MOST_STREAMS)

    def begin(
        self, scheme: str, method: str, target: str, headers: Sequence[tuple[bytes, bytes]], *, ends: bool
    ) -> tuple[Stream, bytes]:
        """A new exchange, and its head as it is to leave, all at once. Raises LaneFailure."""
        lines = [(name.lower(), value) for name, value in headers]
        host = next(value for name, value in lines if name == b"host")
        packed = [(b":method", method.encode()), (b":scheme", scheme.encode()), (b":authority", host)]
        packed += [(b":path", target.encode()), *(line for line in lines if line[0] not in _FOR_THE_CONNECTION)]
        size = sum(len(name) + len(value) + 32 for name, value in packed)
        most = self._http.remote_settings.max_header_list_size
        if most is not None and size > most:
            message = f"the headers have {size} bytes; the peer takes {most}"
            raise plane.LaneFailure(plane.FailureClass.REQUEST_TOO_LARGE, message, code="headers_too_large")
        try:
            number = self._http.get_next_available_stream_id()
            self._http.send_headers(number, [NeverIndexedHeaderTuple(*line) for line in packed], end_stream=ends)
        except TooManyStreamsError as error:
            message = "the peer takes no more requests on this connection"
            raise plane.LaneFailure(plane.FailureClass.WRITE_FAILED, message, code="http2_no_streams") from error
        except H2Error as error:
            raise plane.LaneFailure(plane.FailureClass.PROTOCOL_ERROR, "the exchange does not fit HTTP/2") from error
        self.closing = self.closing or number > _MOST_NUMBER
        stream = self._streams[number] = Stream(number)
        self._frames.useful()
        return stream, self._http.data_to_send()

    def window(self, stream: Stream) -> int:
        """Bytes of a body that the peer takes in one frame now."""
        if stream.over:
            return 0
        return min(self._http.local_flow_control_window(stream.number), FRAME - 9)

    def data(self, stream: Stream, data: bytes, *, ends: bool) -> bytes:
        """A piece of a body, no more than the window, as it is to leave."""
        self._http.send_data(stream.number, data, end_stream=ends)
        self._frames.useful()
        return self._http.data_to_send()

    def take(self, stream: Stream) -> bytes:
        """What has arrived of an answer's body; the peer may send as much again."""
        data = b"".join(stream.data)
        stream.data.clear()
        stream.credit += len(data)
        if stream.credit >= WINDOW // 2 and not stream.over:
            self._http.increment_flow_control_window(stream.credit, stream.number)
            stream.credit = 0
            self._flush()
        return data

    def let_go(self, stream: Stream) -> None:
        """Nobody listens any more: an exchange that is not through is broken off."""
        self._streams.pop(stream.number, None)
        known = self._http.streams.get(stream.number)
        if known is not None and not (known.closed or self._over):
            self._http.reset_stream(stream.number, ErrorCodes.CANCEL)
            self._flush()

    # -- what arrives

    @property
    def unread(self) -> int:
        """Bytes that were heard and not looked at."""
        return self._frames.waiting

    def hear(self, data: bytes) -> None:
        """Take what has arrived; `turn` looks at it."""
        self._frames.add(data)

    def turn(self, frames: int) -> bool:
        """Look at so many frames at most. True if there may be more."""
        seen = 0
        try:
            for frame in islice(self._frames.take(), frames):
                seen += 1
                self._look(frame)
        except (Violation, H2Error) as error:
            self._violated(error)
            return False
        return seen == frames

    def end(self, *, broke: bool) -> None:
        """Nothing more arrives."""
        self.closing = True
        message, code = "the peer closed the connection before the answer was complete", "answer_cut_off"
        if broke:
            message, code = "the connection broke before the answer was complete", None
        for stream in self._streams.values():
            stream.fail(plane.FailureClass.READ_FAILED, message, code)

    def close(self) -> None:
        """Say goodbye."""
        if not self._over:
            self._over = True
            self._http.close_connection()
            self._flush()

    def _look(self, frame: bytes | GoAway) -> None:
        if isinstance(frame, GoAway):
            self.closing = True
            for stream in self._streams.values():
                if stream.number > frame.last:
                    stream.reject("the peer ends the connection, and did nothing with the request")
            return
        for event in self._http.receive_data(frame):
            self._happened(event)
        if answer := self._http.data_to_send():
            self._unheard = len(answer) + (self._unheard if self._unsent() else 0)
            if self._unheard > _MOST_UNSENT:
                raise Violation("the peer does not listen to its answers", code="frame_flood")
            self._say(answer)

    def _happened(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            self.greeted = True
        elif isinstance(event, DataReceived):
            self._credit += event.flow_controlled_length
            if self._credit >= _CONNECTION_WINDOW // 2:
                # At once, whether anybody reads: who does not holds up nobody else, and each stream has its own bound.
                self._http.increment_flow_control_window(self._credit)
                self._credit = 0
        if isinstance(event, ResponseReceived | DataReceived | StreamEnded | StreamReset):
            stream = self._streams.get(event.stream_id)
            if stream is not None and not stream.over:
                self._answered(stream, event)
                stream.on_change()

    def _answered(self, stream: Stream, event: ResponseReceived | DataReceived | StreamEnded | StreamReset) -> None:
        if isinstance(event, ResponseReceived):
            stream.head = _head(event.headers)
            self._frames.useful()
        elif isinstance(event, DataReceived):
            stream.credit += event.flow_controlled_length - len(event.data)
            if event.data:
                stream.data.append(event.data)
                self._frames.useful()
            elif event.flow_controlled_length:
                self._frames.count()
        elif isinstance(event, StreamEnded):
            stream.ended = True
        elif event.error_code == ErrorCodes.REFUSED_STREAM:
            stream.reject("the peer refused the request, and did nothing with it")
        else:
            message = f"the peer broke off the exchange: {_reason(event.error_code)}"
            stream.fail(plane.FailureClass.READ_FAILED, message, "stream_reset")

    def _violated(self, error: Exception) -> None:
        known = isinstance(error, Violation)
        self.violation = error if known else Violation("the peer's answer is not HTTP/2")
        if known:
            self._http.close_connection(ErrorCodes.ENHANCE_YOUR_CALM if error.code else ErrorCodes.PROTOCOL_ERROR)
        self._flush()
        self.closing = self._over = True
        for stream in self._streams.values():
            stream.fail(plane.FailureClass.PROTOCOL_ERROR, str(self.violation), self.violation.code)

    def _flush(self) -> None:
        if data := self._http.data_to_send():
            self._say(data)


def _head(headers: Sequence[tuple[bytes, bytes]]) -> h11.Response:
    """An answer's head in the words of the other version. Raises Violation if it does not fit there."""
    status = next((value for name, value in headers if name == b":status"), b"")
    lines = [(name, value) for name, value in headers if not name.startswith(b":")]
    try:
        return h11.Response(status_code=int(status), headers=lines, http_version=b"2")
    except (ValueError, h11.LocalProtocolError) as error:
        raise Violation("the answer's head is not HTTP") from error


def _reason(code: ErrorCodes | int) -> str:
    return code.name.lower() if isinstance(code, ErrorCodes) else f"error {code}"
