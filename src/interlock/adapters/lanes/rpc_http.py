"""JSON-RPC by HTTP: a POST for each text, whose answer is JSON or a stream of server-sent events."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup

from interlock import plane
from interlock.adapters.lanes.rpc_links import Under
from interlock.adapters.lanes.turns import SLICE

_JSON = frozenset({"application/json", "application/json-rpc"})
_EVENTS = "text/event-stream"


class HttpLink:
    """A POST for each text, several at a time; its answer brings the texts of the peer, whole or as a stream of events."""

    lingers = False
    broken = False

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

    async def receive(self) -> bytes | None:
        try:
            return await self._carried.receive()
        except anyio.EndOfStream:
            return None

    async def end(self) -> None:
        self._carry.close()

    async def _post(self, text: bytes, asks: bool) -> None:  # noqa: FBT001 - as a task it takes no keywords
        # Whoever sends what asks for nothing may be the very one who would have to take the answer.
        deliver = self._deliver if asks else self._deliver_later
        answer = _Answer(self._exchange, deliver, self._note_session, self._intent.limits)
        under = answer.under
        carrier = self._transport.carrier(self._intent, text, asks=asks, session=self._session)
        # An answer after the request's own time is not waited for: whoever asked is told so.
        with anyio.move_on_after(self._intent.timeouts.request_ms / 1000) as scope:
            try:
                await self._lane.execute(carrier, under)
            finally:
                under.settle()
        if not scope.cancelled_caught:
            await self._conclude(answer, text, asks=asks)

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


class _Answer(plane.Channel):
    """What comes to one POST, as it comes: the messages of a stream are handed on, all else is kept."""

    def __init__(
        self,
        exchange: plane.Exchange,
        deliver: Callable[[bytes], Awaitable[None]],
        on_head: Callable[[Mapping[str, str]], None],
        limits: plane.RpcLimits,
    ) -> None:
        inbox = plane.Inbox()
        inbox.end()
        super().__init__(plane.EventLog("", exchange.clock), inbox)
        self.under = Under(exchange, self)
        self.deliver = deliver
        self.messages = 0
        self._on_head = on_head
        self._limit = limits.max_message_bytes
        self._events = plane.EventStream(max_event_bytes=self._limit)
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
        except plane.EventTooLarge as error:
            raise self._too_large() from error

    def _too_large(self) -> plane.LaneFailure:
        message = f"a message has more than {self._limit} bytes"
        return plane.LaneFailure(plane.FailureClass.RESPONSE_TOO_LARGE, message, code="message_too_large")
