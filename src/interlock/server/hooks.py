"""Where services report: POST /hooks/TOKEN, as a bare ASGI application. What is not proven is answered as what is unknown.

What is too large, too slow or compressed is refused before anybody looks whose address it is. The answer comes after the commit.
"""

import logging
import re
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from interlock import kernel, sdk
from interlock.server.bodies import read_body
from interlock.server.errors import NodeBusy, RequestTooLarge, RequestTooSlow
from interlock.server.gate import Door, frames

if TYPE_CHECKING:
    from interlock import triggers

PREFIX: Final = "/hooks/"

ROUTE: Final = PREFIX + "{token}"
"""What of an address may be told: who knows the rest may send to it."""

MAX_BODY: Final = sdk.MAX_BYTES
"""Bytes of a delivery, whosever it is; a route takes as much as its verification says."""

TOLD_SECONDS: Final = 1.0
"""Between two lines of the log about errors of one kind."""

MAX_HELD: Final = 64 * 1_048_576
"""Bytes of deliveries that have come and are not answered: of further ones the service is asked to come again."""

MAX_HEADERS: Final = 100

UNPROVEN: Final = 401
"""What who is not proven is answered, whatever is wrong. Discord sends what is badly signed, and wants no other answer to it."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_log = logging.getLogger(__name__)
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (RequestTooLarge, 413),
    (RequestTooSlow, 408),
    (TimeoutError, 503),
    (kernel.StoreError, 503),
    (kernel.ConflictError, 503),
    (kernel.ProviderError, 503),
    (NodeBusy, 503),
)


class Hooks(Door):
    """The addresses of one Interlock, which services reach below `origin`, such as `https://hooks.example.com`."""

    def __init__(
        self,
        intake: "triggers.webhooks.Intake",
        *,
        origin: str,
        clock: kernel.Clock | None = None,
        counts: kernel.Counts | None = None,
        tracing: kernel.Tracing = kernel.UNTRACED,
    ) -> None:
        super().__init__(self._take)
        self._clock = clock or kernel.SystemClock()
        self._counts = counts or kernel.Counts()
        self._tracing = tracing
        self._intake = intake
        self._origin = origin
        self._held = 0
        self._told: dict[str, float] = {}

    def answer(self, error: Exception) -> Response:
        status = _status(error)
        return _answer(status, retry=status == 503)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, begun, result = Request(scope, receive), self._clock.monotonic(), "failed"
        try:
            if (response := _refusal(scope, request)) is None:
                result, response = await self._carried_in(scope, request)
            else:
                result = "not_looked_at"
        except Exception as error:
            if _status(error) == 500:
                self._tell_operator(error, scope["path"].removeprefix(PREFIX))
            raise
        finally:
            self._counts.add("webhooks", result=result)
            self._counts.time("webhook", self._clock.monotonic() - begun, result=result)
        await response(scope, receive, send)

    def _tell_operator(self, error: Exception, token: str) -> None:
        """Where a delivery broke, and on which route: once a second for each kind of error."""
        kind, now = type(error).__name__, self._clock.monotonic()
        if now - self._told.get(kind, now - TOLD_SECONDS) < TOLD_SECONDS:
            return
        self._told[kind] = now
        route = self._intake.route_id(token) or "of which nothing is known yet"
        _log.error("a delivery to the route %s broke: %s\n%s", route, kind, frames(error))

    async def _carried_in(self, scope: Scope, request: Request) -> tuple[str, Response]:
        """What came to an address that takes nothing is read as well, so that it is answered as any other, and not kept."""
        _check_size(request)
        expected, held = await self._intake.expects(scope["path"].removeprefix(PREFIX)), 0

        def keep(size: int) -> bool:
            nonlocal held
            if expected:
                if self._held + size > MAX_HELD:
                    raise NodeBusy("as much is being read as this server holds")
                held += size
                self._held += size
            return expected

        try:
            return await self._judged(scope, await read_body(request, limit=MAX_BODY, keep=keep))
        finally:
            self._held -= held

    async def _judged(self, scope: Scope, body: bytes) -> tuple[str, Response]:
        from interlock import triggers  # here: a node has none of it

        query: str = scope["query_string"].decode("latin-1")
        target: str = scope["raw_path"].decode("latin-1")
        incoming = triggers.webhooks.Incoming(
            method=scope["method"],
            url=f"{self._origin}{target}" + (f"?{query}" if query else ""),
            query=query,
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
            body=body,
        )
        token = scope["path"].removeprefix(PREFIX)
        # Who sends is somebody else, proven or not: a trace of theirs is linked, and decides nothing about ours.
        facts = {"http.request.method": "POST", "http.route": ROUTE, "url.scheme": scope["scheme"]}
        with self._tracing.span(f"POST {ROUTE}", role="server", facts=facts) as span:
            outcome = await self._intake.take(token, incoming)
            answer = _answered(scope, outcome)
            span.note({"http.response.status_code": answer.status_code, "interlock.webhook.result": outcome.came.value})
            if outcome.came is not triggers.webhooks.Came.REFUSED:
                span.follows(Request(scope).headers.get("traceparent"))
                span.note({"interlock.delivery.id": outcome.delivery_id})
            return outcome.came.value, answer


def _answered(scope: Scope, outcome: "triggers.webhooks.Outcome") -> Response:
    from interlock import triggers

    if outcome.came is triggers.webhooks.Came.REFUSED:
        return _answer(UNPROVEN)
    if (known := scope.get("state", {}).get("known")) is not None:
        known()
    if outcome.came is triggers.webhooks.Came.UNREADABLE:
        return _answer(400)
    if outcome.came is triggers.webhooks.Came.TOO_LARGE:
        return _answer(413)
    told = outcome.answer or triggers.webhooks.Answer()
    headers = {**_HEADERS, **told.headers}
    if not told.body:
        return Response(status_code=outcome.acknowledge, headers=headers)
    return Response(told.body, 200, headers=headers, media_type=told.media_type)


def _status(error: Exception) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _refusal(scope: Scope, request: Request) -> Response | None:
    """What is answered to a request that nobody looks at. It depends on nothing that an address knows."""
    if scope["type"] != "http" or not _TOKEN.fullmatch(scope["path"].removeprefix(PREFIX)):
        return _answer(404)
    if scope["method"] != "POST":
        return Response(status_code=405, headers={**_HEADERS, "Allow": "POST"})
    if len(scope["headers"]) > MAX_HEADERS:
        return _answer(431)
    # Where its body ends is told in two ways, and a proxy in front may have taken the other one.
    if {"content-length", "transfer-encoding"} <= set(request.headers.keys()):
        return Response(status_code=400, headers={**_HEADERS, "Connection": "close"})
    # A signature is over the bytes as they came, and what is small may become large.
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return Response(status_code=415, headers={**_HEADERS, "Accept-Encoding": "identity"})
    return None


def _check_size(request: Request) -> None:
    """Raises RequestTooLarge for what says so before it is read."""
    stated = request.headers.get("content-length", "")
    if stated.isascii() and stated.isdecimal() and (len(stated) >= 16 or int(stated) > MAX_BODY):
        raise RequestTooLarge(f"the request has more than {MAX_BODY} bytes")


def _answer(status: int, *, retry: bool = False) -> Response:
    more = {"Retry-After": "5"} if retry else {"WWW-Authenticate": "Signature"} if status == UNPROVEN else {}
    return Response(status_code=status, headers={**_HEADERS, **more})
