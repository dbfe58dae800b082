"""The lane for streams of server-sent events: one request, and another where the stream may be resumed."""

from typing import Final

import anyio.lowlevel
import h11

from interlock import plane
from interlock.adapters.lanes import request
from interlock.adapters.lanes.credentials import Shown, show
from interlock.adapters.lanes.egress import Egress
from interlock.adapters.lanes.pool import HttpLine, Pool
from interlock.adapters.lanes.redirects import MAX_REDIRECTS, REDIRECTS, redirected, too_many
from interlock.adapters.lanes.refusal import read_refusal
from interlock.adapters.lanes.turns import SLICE

_DEFAULTS: Final = (request.USER_AGENT, ("Accept", "text/event-stream"), ("Cache-Control", "no-store"))
_BROKEN: Final = frozenset(
    {
        plane.FailureClass.DNS_FAILED,
        plane.FailureClass.CONNECT_FAILED,
        plane.FailureClass.CONNECT_TIMEOUT,
        plane.FailureClass.WRITE_FAILED,
        plane.FailureClass.WRITE_TIMEOUT,
        plane.FailureClass.READ_FAILED,
        plane.FailureClass.READ_TIMEOUT,
        plane.FailureClass.IDLE_TIMEOUT,
    }
)
"""After these, and after a proper end, a stream that had begun is asked for again."""


class SseLane:
    """Carries `plane.SseIntent`. Each event is an output of the stream `event`: its data, with its type and the last id. A
    GET follows redirects within its own origin."""

    def __init__(self, *, credentials: plane.CredentialResolver, egress: Egress) -> None:
        self._credentials = credentials
        self._pool = Pool(egress)

    @property
    def lane_id(self) -> str:
        return "sse"

    @property
    def carries(self) -> type[plane.SseIntent]:
        return plane.SseIntent

    async def execute(self, intent: plane.SseIntent, exchange: plane.Exchange) -> None:
        request.check_host(intent)
        following = _Following(intent, exchange)
        while True:
            try:
                await self._connect(following)
            except plane.LaneFailure as error:
                if not following.may_resume(error.failure):
                    raise following.final(error) from error
            else:
                if following.is_over():
                    exchange.answered = True
                    return
            await following.pause()

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _connect(self, following: "_Following") -> None:
        """One connection, behind redirects if there are some, to its end."""
        intent, exchange = following.intent, following.exchange
        shown = await show(self._credentials, intent)
        headers = request.header_lines(intent, shown, defaults=_DEFAULTS, own=following.headers())
        url = intent.target
        for _hop in range(MAX_REDIRECTS + 1):
            location = await self._ask(following, url, headers, shown)
            if location is None:
                return
            url = redirected(intent.method, url, location, exchange)
        raise too_many(exchange)

    async def _ask(self, following: "_Following", url: plane.Url, headers: request.Lines, shown: Shown) -> str | None:
        """One request, and its answer to the end. Returns where it redirects to, if it does."""
        intent, exchange, timeouts = following.intent, following.exchange, following.intent.timeouts
        exchange.answered = False
        async with self._pool.lend(url, timeouts, shown.tls) as line:
            limit = timeouts.write_ms / 1000
            await line.send(exchange, intent.method, shown.target(url), headers, intent.body, limit=limit)
            answer = await line.receive(limit=timeouts.read_ms / 1000)
            assert isinstance(answer, h11.Response)
            exchange.status = answer.status_code
            received = request.received_headers(answer.headers)
            exchange.headers = shown.told(received)
            if exchange.status == 204:
                following.done = True
                return None
            refusal = _refusal(exchange)
            if refusal is None:
                await following.read(line)
                return None
            await read_refusal(line, exchange, limit=timeouts.read_ms / 1000)
            location = dict(received).get("location") if exchange.status in REDIRECTS else None
            if location is None:
                raise refusal
            exchange.body = b""
            return location


class _Following:
    """A stream over one or several connections."""

    def __init__(self, intent: plane.SseIntent, exchange: plane.Exchange) -> None:
        assert exchange.channel is not None
        self.intent = intent
        self.exchange = exchange
        self.done = False
        self._channel = exchange.channel
        self._began = False
        self._reconnects = 0
        self._events = 0
        self._bytes = 0
        self._wait_ms = intent.reconnect_ms
        self._last_event_id = intent.last_event_id
        self._tell()

    def headers(self) -> list[tuple[str, str]]:
        """What the lane adds to the request."""
        lines = [("Accept-Encoding", "identity")]
        if self.intent.body or self.intent.method == "POST":
            lines.append(("Content-Length", str(self.intent.body_size)))
        if self._last_event_id:
            lines.append(("Last-Event-ID", self._last_event_id))
        return lines

    async def read(self, line: HttpLine) -> None:
        """Pass on what comes, to the end of this connection or of the stream. Raises LaneFailure."""
        self._began = True
        stream = plane.EventStream(max_event_bytes=self.intent.max_event_bytes, last_event_id=self._last_event_id)
        while isinstance(part := await self._receive(line), h11.Data):
            self._bytes += len(part.data)
            self._tell()
            if self._bytes > self.intent.max_bytes:
                message = f"the stream has more than {self.intent.max_bytes} bytes"
                raise plane.LaneFailure(plane.FailureClass.RESPONSE_TOO_LARGE, message, code="stream_too_large")
            try:
                for start in range(0, len(part.data), SLICE):
                    await self._pass_on(stream, bytes(part.data[start : start + SLICE]))
                    if self.done:
                        return
                    await anyio.lowlevel.checkpoint()
            except plane.EventTooLarge as error:
                too_large = plane.FailureClass.RESPONSE_TOO_LARGE
                raise plane.LaneFailure(too_large, str(error), code="event_too_large") from error

    async def _pass_on(self, stream: plane.EventStream, data: bytes) -> None:
        for event in stream.feed(data):
            facts: dict[str, plane.Fact] = {"event": event.event, "id": event.event_id}
            await self._channel.output("event", event.data, facts)
            self._events += 1
            self._last_event_id = event.event_id
            self._tell()
            if self._events == self.intent.max_events:
                self.done = True
                return
        self._last_event_id = stream.last_event_id
        if stream.retry_ms is not None:
            self._wait_ms = stream.retry_ms

    async def _receive(self, line: HttpLine) -> object:
        try:
            return await line.receive(limit=self.intent.timeouts.idle_ms / 1000)
        except plane.LaneFailure as error:
            if error.failure.failure_class is not plane.FailureClass.READ_TIMEOUT:
                raise
            message = f"nothing came for {self.intent.timeouts.idle_ms / 1000:g} seconds"
            raise plane.LaneFailure(plane.FailureClass.IDLE_TIMEOUT, message) from error

    def is_over(self) -> bool:
        """After a proper end: whether that was all."""
        return self.done or self._reconnects == self.intent.max_reconnects

    def may_resume(self, failure: plane.Failure) -> bool:
        """After a failure: whether to ask again."""
        return self._began and failure.failure_class in _BROKEN and self._reconnects < self.intent.max_reconnects

    def final(self, error: plane.LaneFailure) -> plane.LaneFailure:
        """What a failure is for the whole: one that would prove that nothing was sent does not, after the beginning."""
        if not self._began or error.failure.effect != "none":
            return error
        message = f"the stream could not be resumed: {error.failure.message}"
        return plane.LaneFailure(plane.FailureClass.PEER_LOST, message, code=error.failure.code)

    async def pause(self) -> None:
        """Wait before the next connection. Raises LaneFailure if the stream cannot be resumed where it ended."""
        if not plane.fits_header(self._last_event_id):
            message = "the stream could not be resumed: its last event id does not fit into a header"
            raise plane.LaneFailure(plane.FailureClass.PEER_LOST, message, code="event_id_unfit")
        self._reconnects += 1
        wait_ms = min(self._wait_ms, self.intent.max_reconnect_ms)
        self.exchange.note("reconnecting", {"number": self._reconnects, "wait_ms": wait_ms})
        self._tell()
        await self.exchange.clock.sleep(wait_ms / 1000)

    def _tell(self) -> None:
        facts = self.exchange.facts
        facts["events"], facts["bytes_in"], facts["reconnects"] = self._events, self._bytes, self._reconnects
        facts["last_event_id"] = self._last_event_id[:200]


def _refusal(exchange: plane.Exchange) -> plane.LaneFailure | None:
    """Why the answer is no stream of events, if it is none."""
    if exchange.status != 200:
        message = f"the answer has the status {exchange.status}"
        return plane.LaneFailure(plane.FailureClass.STATUS_REFUSED, message, code=f"status_{exchange.status}")
    headers = dict(exchange.headers)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "text/event-stream":
        return plane.LaneFailure(plane.FailureClass.CONTENT_TYPE_REFUSED, "the answer is not text/event-stream")
    if headers.get("content-encoding", "identity").lower() != "identity":
        message = "the answer has a content coding, which was not asked for"
        return plane.LaneFailure(plane.FailureClass.PROTOCOL_ERROR, message, code="undecodable_body")
    return None
