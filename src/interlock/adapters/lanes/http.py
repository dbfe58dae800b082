"""The HTTP lane: one request, one answer, HTTP/1.1, on pooled connections to checked addresses."""

import logging
import ssl
from contextlib import aclosing
from typing import Final

import httpcore2

from interlock import plane
from interlock.adapters.lanes.body import read_body
from interlock.adapters.lanes.wire import FLIGHT, Flight, GuardedBackend
from interlock.kernel import VERSION, InterlockError

MAX_REDIRECTS: Final = 3
"""Redirects that one GET or HEAD follows, within its origin."""

KEEPALIVE_SECONDS: Final = 1.5
"""How long an idle connection is kept. Shorter than any common server's own limit (gunicorn closes after 2 seconds), so
that a write is practically never sent into a connection that the peer is just closing, which would leave it unknown."""

# Its trace at DEBUG writes answers' headers, in which a service may repeat our credential.
logging.getLogger("httpcore2").setLevel(logging.INFO)

_SAFE: Final = frozenset({"GET", "HEAD"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_FRAMING: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "set-cookie",
        "set-cookie2",
    }
)
_DECODED: Final = frozenset({"content-encoding", "content-length"})

_FAILURES: Final[dict[type[Exception], tuple[plane.FailureClass, str]]] = {
    httpcore2.PoolTimeout: (plane.FailureClass.LANE_UNAVAILABLE, "no connection of the lane became free in time"),
    httpcore2.WriteTimeout: (plane.FailureClass.WRITE_TIMEOUT, "the peer did not take the request in time"),
    httpcore2.ReadTimeout: (plane.FailureClass.READ_TIMEOUT, "the peer sent nothing in time"),
    httpcore2.ReadError: (plane.FailureClass.READ_FAILED, "the connection broke before the answer was complete"),
    httpcore2.LocalProtocolError: (plane.FailureClass.PROTOCOL_ERROR, "the exchange does not fit HTTP/1.1"),
    httpcore2.RemoteProtocolError: (plane.FailureClass.PROTOCOL_ERROR, "the peer's answer is not HTTP/1.1"),
}
"""What the pool raises and the network below it has not told yet. A broken write is not among them: the pool reads on."""


class HttpLane:
    """Carries `plane.HttpIntent`. Certificates are verified against the host's name; nothing is read from the
    environment; no cookies, no proxies, no retries. A GET or HEAD follows redirects within its own origin only."""

    def __init__(
        self,
        *,
        credentials: plane.CredentialResolver,
        addresses: plane.AddressPolicy,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 200,
        max_request_bytes: int = 16_777_216,
    ) -> None:
        """`ssl_context` replaces the system's trust store (for a company's own authority). ValueError if it does not
        verify certificates and names."""
        if ssl_context is not None and not (
            ssl_context.check_hostname and ssl_context.verify_mode is ssl.CERT_REQUIRED
        ):
            raise ValueError("the lane's TLS context must verify certificates and host names")
        self._credentials = credentials
        self._max_request_bytes = max_request_bytes
        self._closed = False
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or _verifying_context(),
            max_connections=max_connections,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=GuardedBackend(addresses),
        )

    @property
    def lane_id(self) -> str:
        return "http"

    @property
    def carries(self) -> type[plane.HttpIntent]:
        return plane.HttpIntent

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        self._check(intent)
        headers = await self._headers(intent)
        flight = Flight(exchange)
        token = FLIGHT.set(flight)
        try:
            await self._follow(intent, headers, exchange)
        except tuple(_FAILURES) as error:
            raise _failure(error, flight) from error
        finally:
            FLIGHT.reset(token)

    async def aclose(self) -> None:
        self._closed = True
        await self._pool.aclose()

    def _check(self, intent: plane.HttpIntent) -> None:
        if self._closed:
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, "the lane is closed", code="lane_closed")
        if intent.host not in intent.allowed_hosts:
            message = f"{intent.host} is not among the hosts that this call may reach"
            raise plane.LaneFailure(plane.FailureClass.HOST_NOT_ALLOWED, message)
        if intent.body_size > self._max_request_bytes:
            message = f"the request has {intent.body_size} bytes; the limit is {self._max_request_bytes}"
            raise plane.LaneFailure(plane.FailureClass.REQUEST_TOO_LARGE, message)

    async def _headers(self, intent: plane.HttpIntent) -> list[tuple[bytes, bytes]]:
        """The request's headers, with the secret in them: they go to the wire and nowhere else."""
        given = {name.lower() for name, _value in intent.headers}
        lines = [("Host", intent.target.host_header)]
        lines += [line for line in _DEFAULTS if line[0].lower() not in given]
        lines += intent.headers
        if intent.body or intent.method in _WITH_BODY:
            lines.append(("Content-Length", str(intent.body_size)))
        if intent.credential is not None:
            lines.append((intent.credential.header, await self._redeem(intent, intent.credential)))
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in lines]

    async def _redeem(self, intent: plane.HttpIntent, ref: plane.CredentialRef) -> str:
        unavailable = plane.FailureClass.CREDENTIAL_UNAVAILABLE
        try:
            secret = await self._credentials.redeem(
                ref, host=intent.host, tenant_id=intent.tenant_id, run_id=intent.run_id
            )
        except InterlockError as error:
            raise plane.LaneFailure(unavailable, f"no credential: {error.message}", code=error.code) from error
        try:
            return ref.render(secret.reveal())
        except ValueError as error:
            raise plane.LaneFailure(unavailable, str(error), code="credential_unfit") from error

    async def _follow(
        self, intent: plane.HttpIntent, headers: list[tuple[bytes, bytes]], exchange: plane.Exchange
    ) -> None:
        url = intent.target
        for _hop in range(MAX_REDIRECTS + 1):
            location = await self._send(intent, url, headers, exchange)
            if location is None:
                exchange.answered = True
                return
            url = _redirected(intent, url, location, exchange)
        raise _refused(exchange, f"more than {MAX_REDIRECTS} redirects", code="redirect_loop")

    async def _send(
        self, intent: plane.HttpIntent, url: plane.Url, headers: list[tuple[bytes, bytes]], exchange: plane.Exchange
    ) -> str | None:
        """One request and its whole answer, noted in the exchange. Returns where it redirects to, if it does."""
        exchange.status, exchange.headers = None, ()
        request = httpcore2.Request(
            intent.method,
            httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
            headers=headers,
            content=intent.body,
            extensions={"timeout": _timeouts(intent.timeouts)},
        )
        async with aclosing(await self._pool.handle_async_request(request)) as response:
            exchange.status = response.status
            received = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers]
            coding = ", ".join(value.strip().lower() for name, value in received if name == "content-encoding")
            dropped = _FRAMING | _DECODED if coding else _FRAMING
            exchange.headers = tuple(line for line in received if line[0] not in dropped)
            chunks = response.aiter_stream()
            async with aclosing(chunks):
                exchange.body = await read_body(chunks, coding=coding, limit=intent.max_response_bytes)
        if response.status not in _REDIRECTS:
            if _ends_by_close(intent.method, response.status, received):
                exchange.note("ended_by_close", {})
            return None
        return next((value for name, value in received if name == "location"), None)


def _ends_by_close(method: str, status: int, headers: list[tuple[str, str]]) -> bool:
    """Whether only the end of the connection ended the body, so that nobody can tell whether it is whole."""
    has_body = method != "HEAD" and status not in {204, 304}
    return has_body and not any(name in {"content-length", "transfer-encoding"} for name, _value in headers)


def _redirected(intent: plane.HttpIntent, url: plane.Url, location: str, exchange: plane.Exchange) -> plane.Url:
    """The next URL, if this intent may follow the redirect. Raises LaneFailure."""
    if intent.method not in _SAFE:
        raise _refused(exchange, f"a {intent.method} is not sent again elsewhere", code="redirect_of_write")
    try:
        target = plane.resolve_location(url, location)
    except ValueError as error:
        raise _refused(exchange, "its location cannot be read", code="redirect_unreadable") from error
    if target.origin != url.origin:
        raise _refused(exchange, f"it leads from {url.host_port} to {target.host_port}", code="redirect_elsewhere")
    exchange.note("redirected", {"status": exchange.status, "path": target.path})
    return target


def _refused(exchange: plane.Exchange, reason: str, *, code: str) -> plane.LaneFailure:
    # The redirect itself was read to its end: the peer has answered, if not as wished.
    exchange.answered = True
    message = f"the answer {exchange.status} redirects, and is not followed: {reason}"
    return plane.LaneFailure(plane.FailureClass.REDIRECT_REFUSED, message, code=code)


def _failure(error: Exception, flight: Flight) -> plane.LaneFailure:
    # Our own words only: foreign texts may quote what was sent.
    if flight.write_broke:
        return plane.LaneFailure(plane.FailureClass.WRITE_FAILED, "the connection broke while the request was sent")
    if flight.peer_closed:
        message = "the peer closed the connection before the answer was complete"
        return plane.LaneFailure(plane.FailureClass.READ_FAILED, message, code="answer_cut_off")
    failure_class, message = _FAILURES[type(error)]
    return plane.LaneFailure(failure_class, message)


def _timeouts(timeouts: plane.Timeouts) -> dict[str, float]:
    return {
        "connect": timeouts.connect_ms / 1000,
        "write": timeouts.write_ms / 1000,
        "read": timeouts.read_ms / 1000,
        "pool": timeouts.pool_ms / 1000,
    }


def _verifying_context() -> ssl.SSLContext:
    import httpx2  # only for the system's trust store, found without the environment

    return httpx2.create_ssl_context(trust_env=False)


_DEFAULTS: Final = (("User-Agent", f"interlock/{VERSION}"), ("Accept", "*/*"), ("Accept-Encoding", "gzip"))
