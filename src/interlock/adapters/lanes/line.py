"""HTTP/1.1 over one connection, one exchange after another."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, TypeAlias

import h11

from interlock import plane
from interlock.adapters.lanes.turns import Turns
from interlock.adapters.lanes.wire import Wire

MAX_HEAD: Final = 102_400
"""The longest status line with headers that is read, in bytes."""

_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

SWITCHED: Final = 101
"""The status of an informational answer after which both sides speak another protocol."""

Part: TypeAlias = h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage
"""What an answer consists of: its head, pieces of its body, its end. An informational head stands only where the peer
switches to the protocol that it was asked for."""


class Line:
    """A connection that speaks HTTP/1.1. Raises plane.LaneFailure, in our own words only: foreign texts may quote what was
    sent."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._turns = Turns()
        self._write_broke = False
        self._peer_ended = False

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
        request = _head(method, target, headers)
        data = [h11.Data(data=body)] if body else []
        await self._send(exchange, request, *data, h11.EndOfMessage(), limit=limit)

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
        await self._send(exchange, _head(method, target, headers), limit=limit)

    async def send_more(self, exchange: plane.Exchange, data: bytes | None, *, limit: float) -> bool:
        """Send a piece of the body, or its end if None. False if nobody listens any more."""
        event = h11.EndOfMessage() if data is None else h11.Data(data=data)
        await self._send(exchange, event, limit=limit)
        return not self._write_broke

    async def _send(self, exchange: plane.Exchange, *events: h11.Event, limit: float) -> None:
        try:
            data = b"".join([self._http.send(event) or b"" for event in events])
        except h11.LocalProtocolError as error:
            raise _unfit() from error
        try:
            await self._wire.write(data, limit, exchange)
        except TimeoutError as error:
            raise _failure(plane.FailureClass.WRITE_TIMEOUT, "the peer did not take the request in time") from error
        except ConnectionError as error:
            if not exchange.bytes_sent:
                message = "the connection broke before any of the request was sent"
                raise _failure(plane.FailureClass.WRITE_FAILED, message) from error
            # Read on: a peer that stops listening may have answered already.
            self._write_broke = True

    async def receive(self, *, limit: float) -> Part:
        """The next part of the answer. `limit` is for one wait, in seconds."""
        try:
            return await self._receive(limit)
        except (TimeoutError, ConnectionError, h11.RemoteProtocolError) as error:
            raise self._told(error) from error

    async def _receive(self, limit: float) -> Part:
        await self._turns.take()  # many small chunks may have come at once
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._wire.read(limit)
                self._peer_ended = not data
                self._http.receive_data(data)
            elif isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
                return event
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code == SWITCHED:
                    return event
            else:
                raise h11.RemoteProtocolError(f"{event} is not part of an answer")

    def _told(self, error: Exception) -> plane.LaneFailure:
        if self._write_broke:
            return _failure(plane.FailureClass.WRITE_FAILED, "the connection broke while the request was sent")
        if isinstance(error, TimeoutError):
            return _failure(plane.FailureClass.READ_TIMEOUT, "the peer sent nothing in time")
        if isinstance(error, ConnectionError):
            return _failure(plane.FailureClass.READ_FAILED, "the connection broke before the answer was complete")
        if self._peer_ended:
            message = "the peer closed the connection before the answer was complete"
            return plane.LaneFailure(plane.FailureClass.READ_FAILED, message, code="answer_cut_off")
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == _TOO_LARGE:
            message = f"the headers of the peer's answer have more than {MAX_HEAD} bytes"
            return plane.LaneFailure(plane.FailureClass.RESPONSE_TOO_LARGE, message, code="headers_too_large")
        return _failure(plane.FailureClass.PROTOCOL_ERROR, "the peer's answer is not HTTP/1.1")

    def release(self) -> tuple[Wire, bytes]:
        """The connection, once its peer has switched to another protocol, and what it has already said in that."""
        return self._wire, self._http.trailing_data[0]

    # -- as the pool knows a connection: it carries one exchange at a time

    def has_room(self) -> bool:
        """Whether the connection is still there, and silent."""
        return self._wire.is_idle()

    @property
    def shares(self) -> bool:
        """Whether others may have a line over the connection at the same time."""
        return False

    @property
    def is_busy(self) -> bool:
        """Whether exchanges are under way: the pool asks only when none is."""
        return False

    def line(self) -> "Line":
        """For the next exchange."""
        return self

    def take_back(self, line: object) -> bool:
        """Make ready for a next exchange. False if the last one has left something behind."""
        http = self._http
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE or http.trailing_data[0]:
            return False
        http.start_next_cycle()
        return True

    def close(self) -> None:
        """End the connection at once."""
        self._wire.close()


def _head(method: str, target: str, headers: Sequence[tuple[bytes, bytes]]) -> h11.Request:
    try:
        return h11.Request(method=method, target=target, headers=[*headers])
    except h11.LocalProtocolError as error:
        raise _unfit() from error


def _unfit() -> plane.LaneFailure:
    return _failure(plane.FailureClass.PROTOCOL_ERROR, "the exchange does not fit HTTP/1.1")


def _failure(failure_class: plane.FailureClass, message: str) -> plane.LaneFailure:
    return plane.LaneFailure(failure_class, message)
