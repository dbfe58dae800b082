"""JSON-RPC by HTTP: a POST for each text, whose answer is JSON or a stream of server-sent events; and where it is asked for,
the stream of the session itself, and streams that are resumed."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from interlock import plane
from interlock.adapters.lanes.rpc_links import Under
from interlock.adapters.lanes.turns import SLICE

Deliver: TypeAlias = Callable[[bytes], Awaitable[None]]

_JSON = frozenset({"application/json", "application/json-rpc"})
_EVENTS = "text/event-stream"

RETRY_MS: Final = 1_000
"""Before a stream is asked for again, unless it says itself how long; twice as long after each time that brought nothing."""

MOST_RETRY_MS: Final = 30_000

_LASTING: Final = frozenset(
    {plane.FailureClass.AUTHORITY_DENIED, plane.FailureClass.CANCELLED, plane.FailureClass.RESPONSE_TOO_LARGE}
)
"""What another connection would not mend."""

_FAREWELL: Final = 1.0
"""Seconds for the end of a session; whoever leaves waits no longer for it."""


class HttpLink:
    """A POST for each text, several at a time; its answer brings the texts of the peer, whole or as a stream of events."""

    lingers = False
    broken = False
    bad_end: plane.LaneFailure | None = None

    def __init__(
        self,
        lane: plane.Lane,
        transport: plane.HttpTransport,
        intent: plane.JsonRpcIntent,
        exchange: plane.Exchange,
        tasks: TaskGroup,
    ) -> None:
        self._lane = lane
        self._transport = transport
        self._intent = intent
        self._exchange = exchange
        self._tasks = tasks
        self._session: str | None = None
        self._hears = False
        self._carry, self._carried = anyio.create_memory_object_stream[bytes](0)

    def close(self) -> None:
        """Let go of what nobody will read."""
        self._carry.close()
        self._carried.close()

    async def send(self, text: bytes, *, asks: bool) -> None:
        if asks:
            self._tasks.start_soon(self._post, text, asks)
        else:
            await self._post(text, asks)
            if self._transport.listens and self._session is not None and not self._hears:
                self._hears = True
                self._tasks.start_soon(self._hear)

    async def receive(self) -> bytes | None:
        try:
            return await self._carried.receive()
        except anyio.EndOfStream:
            return None

    async def end(self) -> None:
        self._carry.close()

    async def leave(self) -> None:
        """End the session, if it has begun one; how the peer takes that is its own affair."""
        if not self._transport.listens or self._session is None:
            return
        under = Under(self._exchange)
        with anyio.move_on_after(_FAREWELL, shield=True), suppress(plane.LaneFailure):
            await self._lane.execute(self._transport.farewell(self._intent, session=self._session), under)
        under.uncount()

    async def _post(self, text: bytes, asks: bool) -> None:  # noqa: FBT001 - as a task it takes no keywords
        # Whoever sends what asks for nothing may be the very one who would have to take the answer.
        deliver = self._deliver if asks else self._deliver_later
        place = _Place(owed=self._replies_to(text) if asks and self._transport.listens else None)
        answer = _Answer(self._exchange, deliver, self._note_session, self._intent.limits, place)
        under = answer.under
        carrier = self._transport.carrier(self._intent, text, asks=asks, session=self._session)
        # An answer after the request's own time is not waited for: whoever asked is told so.
        with anyio.move_on_after(self._intent.timeouts.request_ms / 1000) as scope:
            try:
                await self._lane.execute(carrier, under)
            except plane.LaneFailure:
                if not await self._resume(answer):
                    raise
            else:
                await self._resume(answer)
            finally:
                under.settle()
        if not scope.cancelled_caught:
            await self._conclude(answer, text, asks=asks)

    async def _hear(self) -> None:
        """What the peer says by itself, as long as the session goes on; a peer that has no such stream says so."""
        await self._follow(_Place(), self._deliver, at_once=True)

    async def _resume(self, answer: "_Answer") -> bool:
        """Go on with a stream that ended before all replies had come, after the last of its events. Whether they have come
        now."""
        place = answer.place
        if answer.is_stream and place.owed and place.last_event_id:
            await self._follow(place, answer.deliver, at_once=False)
            return not place.owed
        return False

    async def _follow(self, place: "_Place", deliver: Deliver, *, at_once: bool) -> None:
        """Ask for a stream again and again: until it owes nothing more, or the peer has it no more. Raises LaneFailure for
        what another try would not mend."""
        idle = 0
        while plane.fits_header(place.last_event_id):
            if not at_once:
                await self._exchange.clock.sleep(place.pause_ms(idle) / 1000)
            at_once, before = False, place.last_event_id
            heard = _Answer(self._exchange, deliver, self._note_session, self._intent.limits, place)
            carrier = self._transport.listener(self._intent, session=self._session, after=before)
            try:
                await self._lane.execute(carrier, heard.under)
            except plane.LaneFailure as error:
                if error.failure.failure_class in _LASTING:
                    raise
            finally:
                heard.under.uncount()
            if not (heard.is_stream or (heard.under.status or 500) >= 500) or place.owed == set():
                return
            idle = idle + 1 if place.last_event_id == before else 0

    def _replies_to(self, text: bytes) -> set[plane.RpcId | None]:
        asked = plane.read_rpc(text, bounds=self._intent.limits.bounds)
        return {message.request_id for message in asked if message.kind is plane.RpcKind.REQUEST}

    def _note_session(self, headers: Mapping[str, str]) -> None:
        """Before any message is handed on: what follows it may be sent at once."""
        session = headers.get((self._transport.session_header or "").lower(), "")
        self._session = session or self._session

    async def _deliver(self, text: bytes) -> None:
        with suppress(anyio.ClosedResourceError):  # after the last word nobody listens
            await self._carry.send(text)

    async def _deliver_later(self, text: bytes) -> None:
        self._tasks.start_soon(self._deliver, text)

    async def _conclude(self, answer: "_Answer", text: bytes, *, asks: bool) -> None:
        """What is left of an answer at its end. Raises LaneFailure."""
        status, body = answer.under.status or 0, answer.whole()
        if body and answer.content_type in _JSON:
            # Also under a status that tells of an error: what it means stands in it.
            await answer.deliver(plane.rpc_attributed(body, text, bounds=self._intent.limits.bounds))
            return
        if answer.is_stream and answer.messages:
            return
        self._exchange.answered = self._intent.mode == "call"
        if not 200 <= status < 300:
            message = f"the answer has the status {status} and no JSON"
            raise plane.LaneFailure(plane.FailureClass.STATUS_REFUSED, message, code=f"status_{status}")
        if body:
            message = f"the answer is {answer.content_type[:80]!r} and no JSON"
            raise plane.LaneFailure(plane.FailureClass.CONTENT_TYPE_REFUSED, message)
        if asks:
            raise plane.LaneFailure(plane.FailureClass.FRAMING_FAILED, "the answer is empty", code="answer_missing")


@dataclass(slots=True)
class _Place:
    """Where a stream stands, over all its connections: after which event, how long it wants to be left alone before the
    next one, and to which requests it still owes replies (None: nobody counts)."""

    last_event_id: str = ""
    retry_ms: int | None = None
    owed: set[plane.RpcId | None] | None = None

    def pause_ms(self, idle: int) -> int:
        """Before the next connection, after so many that brought nothing."""
        return min(RETRY_MS << min(idle, 10) if self.retry_ms is None else self.retry_ms, MOST_RETRY_MS)


class _Answer(plane.Channel):
    """What comes to one request, as it comes: the messages of a stream are handed on, all else is kept."""

    def __init__(
        self,
        exchange: plane.Exchange,
        deliver: Deliver,
        on_head: Callable[[Mapping[str, str]], None],
        limits: plane.RpcLimits,
        place: _Place,
    ) -> None:
        inbox = plane.Inbox()
        inbox.end()
        super().__init__(plane.EventLog("", exchange.clock), inbox)
        self.under = Under(exchange, self)
        self.deliver = deliver
        self.place = place
        self.messages = 0
        self._on_head = on_head
        self._bounds = limits.bounds
        self._limit = limits.max_message_bytes
        self._events = plane.EventStream(max_event_bytes=self._limit, last_event_id=place.last_event_id)
        self._body = bytearray()

    @property
    def content_type(self) -> str:
        value = next((value for name, value in self.under.headers if name == "content-type"), "")
        return value.partition(";")[0].strip().lower()

    @property
    def is_stream(self) -> bool:
        """Whether it is one of messages."""
        return self.content_type == _EVENTS and self.under.status == 200

    async def output(self, stream: str, data: bytes, facts: Mapping[str, plane.Fact] | None = None) -> None:
        """Raises LaneFailure for a message that is too large."""
        if stream == "head":
            if 200 <= (self.under.status or 0) < 300:
                self._on_head(dict(self.under.headers))
        elif self.is_stream:
            for start in range(0, len(data), SLICE):
                await self._hear(data[start : start + SLICE])
        else:
            self._body += data
            if len(self._body) > self._limit:
                raise self._too_large()

    def whole(self) -> bytes:
        """What was kept; of a redirect, the lane itself keeps it."""
        return bytes(self._body) or self.under.body

    async def _hear(self, data: bytes) -> None:
        try:
            for event in self._events.feed(data):
                if event.event == "message" and event.data:
                    self.messages += 1
                    await self.deliver(event.data)
                    self._settle(event.data)
                self.place.last_event_id = event.event_id
        except plane.EventTooLarge as error:
            raise self._too_large() from error
        self.place.last_event_id = self._events.last_event_id
        self.place.retry_ms = self._events.retry_ms or self.place.retry_ms

    def _settle(self, text: bytes) -> None:
        if self.place.owed:
            with suppress(plane.FramingError):  # whoever reads it says so
                replies = plane.read_rpc(text, bounds=self._bounds)
                self.place.owed -= {each.request_id for each in replies if each.kind is plane.RpcKind.RESPONSE}

    def _too_large(self) -> plane.LaneFailure:
        message = f"a message has more than {self._limit} bytes"
        return plane.LaneFailure(plane.FailureClass.RESPONSE_TOO_LARGE, message, code="message_too_large")
