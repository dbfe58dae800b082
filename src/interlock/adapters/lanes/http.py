"""The HTTP lane: one request, one answer, whole or as they come, on pooled connections to checked addresses."""

from typing import Final

import h11

from interlock import plane
from interlock.adapters.lanes import request
from interlock.adapters.lanes.body import Body
from interlock.adapters.lanes.credentials import Shown, show
from interlock.adapters.lanes.egress import Egress
from interlock.adapters.lanes.flow import pass_on, while_uploading
from interlock.adapters.lanes.pool import HttpLine, Pool
from interlock.adapters.lanes.redirects import MAX_REDIRECTS, REDIRECTS, redirected, too_many

_DEFAULTS: Final = (request.USER_AGENT, ("Accept", "*/*"), ("Accept-Encoding", "gzip"))
_DECODED: Final = request.FRAMING | {"content-encoding", "content-length"}


class HttpLane:
    """Carries `plane.HttpIntent`. Certificates are verified against the host's name; nothing is read from the
    environment; no cookies, no retries, no proxy but the one that it is given. A GET or HEAD follows redirects within its
    own origin only. In the response mode `stream` the outputs are one of the stream `head`, with the status and the headers,
    and then those of the stream `body`."""

    def __init__(
        self,
        *,
        credentials: plane.CredentialResolver,
        egress: Egress,
        max_request_bytes: int = 16_777_216,
    ) -> None:
        self._credentials = credentials
        self._max_request_bytes = max_request_bytes
        self._pool = Pool(egress)

    @property
    def lane_id(self) -> str:
        return "http"

    @property
    def carries(self) -> type[plane.HttpIntent]:
        return plane.HttpIntent

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        self._check(intent)
        shown = await show(self._credentials, intent)
        await self._follow(intent, shown, exchange)

    async def aclose(self) -> None:
        await self._pool.aclose()

    def _check(self, intent: plane.HttpIntent) -> None:
        request.check_host(intent)
        if intent.body_size > self._max_request_bytes:
            message = f"the request has {intent.body_size} bytes; the limit is {self._max_request_bytes}"
            raise plane.LaneFailure(plane.FailureClass.REQUEST_TOO_LARGE, message)

    async def _follow(self, intent: plane.HttpIntent, shown: Shown, exchange: plane.Exchange) -> None:
        headers = _headers(intent, shown)
        url = intent.target
        for _hop in range(MAX_REDIRECTS + 1):
            exchange.answered, exchange.status, exchange.headers = False, None, ()
            async with self._pool.lend(url, intent.timeouts, shown.tls, intent.http_versions) as line:
                location = await _converse(line, intent, url, headers, shown, exchange)
            exchange.answered = True
            if location is None:
                return
            url = redirected(intent.method, url, location, exchange)
        raise too_many(exchange)


def _headers(intent: plane.HttpIntent, shown: Shown) -> request.Lines:
    """The request's headers, with the secrets in them: they go to the wire and nowhere else."""
    own: list[tuple[str, str]] = []
    if intent.request_mode == "stream":
        own.append(("Transfer-Encoding", "chunked"))
    elif intent.body or intent.method in plane.WITH_BODY:
        own.append(("Content-Length", str(intent.body_size)))
    return request.header_lines(intent, shown, defaults=_DEFAULTS, own=own)


async def _converse(
    line: HttpLine,
    intent: plane.HttpIntent,
    url: plane.Url,
    headers: request.Lines,
    shown: Shown,
    exchange: plane.Exchange,
) -> str | None:
    limit = intent.timeouts.write_ms / 1000
    target = shown.target(url)
    if intent.request_mode == "stream":
        await line.begin(exchange, intent.method, target, headers, limit=limit)
        patience = intent.total_ms / 1000  # how long the input takes is not the peer's fault
        return await while_uploading(line, intent, exchange, lambda: _answer(line, intent, shown, exchange, patience))
    await line.send(exchange, intent.method, target, headers, intent.body, limit=limit)
    return await _answer(line, intent, shown, exchange, intent.timeouts.read_ms / 1000)


async def _answer(
    line: HttpLine, intent: plane.HttpIntent, shown: Shown, exchange: plane.Exchange, patience: float
) -> str | None:
    """The whole answer, whose head is there within `patience` seconds. Returns where it redirects to, if it does."""
    limit = intent.timeouts.read_ms / 1000
    response = await line.receive(limit=patience)
    assert isinstance(response, h11.Response)
    exchange.status = response.status_code
    if intent.http_versions != plane.HTTP_1_1:
        exchange.facts["http_version"] = response.http_version.decode()
    received = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers]
    coding = ", ".join(value.strip().lower() for name, value in received if name == "content-encoding")
    dropped = _DECODED if coding else request.FRAMING
    exchange.headers = shown.told(header for header in received if header[0] not in dropped)
    body = Body(coding=coding, limit=intent.max_response_bytes)
    if intent.response_mode == "stream" and response.status_code not in REDIRECTS:
        await pass_on(line, body, exchange, limit=limit)
    else:
        while isinstance(part := await line.receive(limit=limit), h11.Data):
            body.feed(bytes(part.data))
        exchange.body = body.whole()
    if response.status_code not in REDIRECTS:
        if response.http_version != b"2" and _ends_by_close(intent.method, response.status_code, received):
            exchange.note("ended_by_close", {})
        return None
    return next((value for name, value in received if name == "location"), None)


def _ends_by_close(method: str, status: int, headers: list[tuple[str, str]]) -> bool:
    """Whether only the end of the connection ended the body, so that nobody can tell whether it is whole."""
    has_body = method != "HEAD" and status not in {204, 304}
    return has_body and not any(name in {"content-length", "transfer-encoding"} for name, _value in headers)
