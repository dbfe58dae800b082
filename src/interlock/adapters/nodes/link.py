"""The way to one node elsewhere: requests that are asked again until they are answered, on connections to checked addresses."""

import base64
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import anyio
import anyio.to_thread
import httpx2
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from interlock import plane
from interlock.adapters.nodes.refusals import refusal
from interlock.kernel import Clock, digest_bytes

MAX_MESSAGE: Final = 134_217_728
"""Bytes of one packet that a node may send."""

_QUEUE: Final = 8_192
"""Events that wait here to be read. More than a node has out for one reader, so that its pings are always answered."""

_SILENCE: Final = 2.0
"""Seconds after which a node that says nothing has nothing against a client."""

_LOOK_UP: Final = 10.0
"""Seconds for finding the addresses of a name."""

_BUSY: Final = "it hears nobody more for now"

_TIMEOUT: Final = httpx2.Timeout(connect=10, write=30, read=45, pool=30)


class Lost(Exception):
    """The node was not reached, or its answer was lost. `left`: whether the request may have arrived."""

    def __init__(self, failure_class: plane.FailureClass, reason: str, *, left: bool) -> None:
        super().__init__(reason)
        self.failure_class = failure_class
        self.left = left


class Answer(NamedTuple):
    """What a node has answered."""

    status: int
    body: bytes


class Link:
    """Requests to one node."""

    def __init__(
        self,
        url: plane.Url,
        *,
        node_id: str,
        ssl_context: ssl.SSLContext,
        addresses: plane.AddressPolicy,
        clock: Clock,
        tokens: plane.SignedAuthorizer | None,
        delay: Callable[[int], float],
        patience: float,
    ) -> None:
        """`tokens` signs requests for a node that knows its clients so. `delay`: how long to wait after so many failures, in
        seconds. `patience`: for how many seconds a node that cannot be reached is asked again."""
        self.node_id = node_id
        self._url = url
        self._ssl = ssl_context
        # Python before 3.11.3 takes a cut connection for an end in good order: nothing would tell a refusal from that.
        self._ssl.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        self._addresses = addresses
        self._clock = clock
        self._tokens = tokens
        self._delay = delay
        self._patience = patience
        self._turn = 0
        self.trouble: str | None = None
        """Why the last try came to nothing; None once the node has answered again."""
        self.unanswered = False
        """Whether a request that may have arrived, and have an effect, has no answer yet."""
        self._trusted = False
        """Whether the node has ever answered here."""
        self._http = httpx2.AsyncClient(
            verify=ssl_context, trust_env=False, timeout=_TIMEOUT, follow_redirects=False, http2=False
        )

    async def ask(self, method: str, target: str, body: bytes = b"", *, patience: float = 0.0) -> Answer:
        """The node's answer, asked for again while the link is lost. `patience` in seconds, if longer than the link's own.
        Raises what the node refuses with, and EffectFailed when there is no answer."""
        if len(body) > plane.MAX_REQUEST:
            message = f"the request has {len(body)} bytes; a node takes {plane.MAX_REQUEST}"
            raise _failed(plane.FailureClass.REQUEST_TOO_LARGE, message)
        tries = self.tries(patience)
        while True:
            try:
                if not self._trusted:
                    await self._greet()
                answer = await self._ask_once(method, target, body)
            except Lost as lost:
                self._turn += 1
                self.trouble = str(lost)
                await tries.after(lost)
                continue
            self.trouble = None
            self.unanswered = False
            if 200 <= answer.status < 300:
                return answer
            raise refusal(answer.status, answer.body)

    @asynccontextmanager
    async def listen(self, target: str) -> AsyncGenerator[ClientConnection]:
        """A WebSocket. Raises what the node refuses with, and Lost."""
        address = await self._find()
        scheme = "wss" if self._url.scheme == "https" else "ws"
        try:
            channel = await connect(
                f"{scheme}://{self._url.host_port}{target}",
                additional_headers=self._headers("GET", target, b""),
                user_agent_header=None,
                compression=None,
                proxy=None,
                host=address,
                port=self._url.port,
                ssl=self._ssl,
                server_hostname=self._url.host,
                open_timeout=10,
                ping_interval=10,
                ping_timeout=10,
                close_timeout=2,
                max_size=MAX_MESSAGE,
                max_queue=_QUEUE,
            )
        except InvalidStatus as error:
            answer = error.response
            if _is_busy(answer.status_code, answer.headers):
                self._turn += 1
                raise Lost(plane.FailureClass.CONNECT_FAILED, _BUSY, left=False) from error
            raise refusal(answer.status_code, bytes(answer.body or b"")) from error
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as error:
            self._turn += 1
            raise await self._told(address, _lost(error, left=False)) from error
        self._trusted = True
        try:
            yield channel
        finally:
            with anyio.CancelScope(shield=True):
                await channel.close()

    def tries(self, patience: float = 0.0) -> "Tries":
        """What is still to be tried, beginning now."""
        return Tries(self._clock, self._delay, max(patience, self._patience), self._url.host_port)

    async def aclose(self) -> None:
        """Close the connections. What was started goes on."""
        await self._http.aclose()

    async def _greet(self) -> None:
        """Ask for what has no effect. A node that refuses the client's certificate says so only when a request is on its
        way, and this one may get lost."""
        try:
            await self._ask_once("GET", "/v1/node", b"")
        except Lost as lost:
            raise Lost(lost.failure_class, str(lost), left=False) from lost
        self._trusted = True

    async def _ask_once(self, method: str, target: str, body: bytes) -> Answer:
        address = await self._find()
        host = f"[{address}]" if ":" in address else address
        headers = {"Host": self._url.host_port, "Accept-Encoding": "identity", **self._headers(method, target, body)}
        try:
            async with self._http.stream(
                method,
                f"https://{host}:{self._url.port}{target}",
                content=body,
                headers=headers,
                extensions={"sni_hostname": self._url.host, "trace": self._leaves if method == "POST" else None},
            ) as response:
                if _is_busy(response.status_code, response.headers):
                    raise Lost(plane.FailureClass.CONNECT_FAILED, _BUSY, left=False)
                answer = bytearray()
                async for part in response.aiter_raw():
                    answer += part
                    if len(answer) > MAX_MESSAGE:
                        raise plane.InvalidPacket(f"the node answers with more than {MAX_MESSAGE} bytes")
                return Answer(response.status_code, bytes(answer))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise _lost(error, left=False) from error
        except httpx2.TransportError as error:
            raise await self._told(address, _lost(error, left=True)) from error

    async def _leaves(self, step: str, _: object) -> None:
        if step.endswith(".send_request_headers.started"):
            self.unanswered = True

    async def _told(self, address: str, lost: Lost) -> Lost:
        """Why it was lost. A node refuses a client's certificate after the handshake of TLS 1.3, when a request is on its way,
        and asyncio then tells of the end only. So it is asked for, by connections that say nothing."""
        if self._trusted or lost.failure_class is plane.FailureClass.TLS_FAILED:
            return lost
        for _ in range(2):  # once may be chance
            if not await anyio.to_thread.run_sync(self._is_turned_away, address, abandon_on_cancel=True):
                return lost
        return Lost(plane.FailureClass.TLS_FAILED, "it does not take the client's certificate", left=lost.left)

    def _is_turned_away(self, address: str) -> bool:
        """Whether the node ends a connection on which nothing was said, right after the handshake and without a word."""
        try:
            with (
                socket.create_connection((address, self._url.port), timeout=_SILENCE) as plain,
                self._ssl.wrap_socket(plain, server_hostname=self._url.host, suppress_ragged_eofs=False) as wrapped,
            ):
                try:
                    wrapped.recv(1)
                except ssl.SSLError as error:
                    return _is_cut(error) or _distrust(error) is not None
        except OSError:
            pass
        return False

    def _headers(self, method: str, target: str, body: bytes) -> dict[str, str]:
        if self._tokens is None:
            return {}
        digest = digest_bytes(body)
        token = self._tokens.issue(
            plane.request_digest(method, target, digest), audience=self.node_id, target_class=plane.NODE_REQUEST
        )
        text = base64.urlsafe_b64encode(orjson.dumps(token.record())).decode().rstrip("=")
        raw = base64.b64encode(bytes.fromhex(digest.removeprefix("sha256:"))).decode()
        return {"Authorization": f"Bearer {text}", "Content-Digest": f"sha-256=:{raw}:"}

    async def _find(self) -> str:
        """An address of the node that may be connected to. Raises Lost, and EffectFailed if none may."""
        host, port = self._url.host, self._url.port
        try:
            with anyio.fail_after(_LOOK_UP):
                found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # a TimeoutError is an OSError
            raise Lost(plane.FailureClass.DNS_FAILED, f"the name {host} has no address", left=False) from error
        candidates = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        permitted, refusal = self._addresses.permitted(host, port, candidates)
        if not permitted:
            raise _failed(plane.FailureClass.ADDRESS_REFUSED, refusal)
        return permitted[self._turn % len(permitted)]


class Tries:
    """The tries of one request: when the next may come, and when there is none."""

    def __init__(self, clock: Clock, delay: Callable[[int], float], patience: float, where: str) -> None:
        self._clock = clock
        self._delay = delay
        self._where = where
        self._patience = patience
        self._left = False
        self.begin()

    def begin(self) -> None:
        """There was contact: count from here."""
        self._since = self._clock.monotonic()
        self._failures = 0

    async def after(self, lost: Lost) -> None:
        """Wait for the next try. Raises EffectFailed when there is none: of the class `peer_lost` if something may have
        arrived, whatever came of later tries."""
        self._left = self._left or lost.left
        if lost.failure_class is plane.FailureClass.TLS_FAILED and not self._left:
            raise _failed(lost.failure_class, f"no trust between here and the node {self._where}: {lost}") from lost
        if self._clock.monotonic() - self._since >= self._patience:
            if self._left:
                raise _failed(
                    plane.FailureClass.PEER_LOST,
                    f"the link to the node {self._where} was lost ({lost}); what it has done is unknown from here",
                ) from lost
            raise _failed(lost.failure_class, f"the node {self._where} cannot be reached: {lost}") from lost
        self._failures += 1
        await self._clock.sleep(self._delay(self._failures))


def _failed(failure_class: plane.FailureClass, message: str) -> plane.EffectFailed:
    return plane.EffectFailed.of(plane.Failure.of(failure_class, message))


def _lost(error: BaseException, *, left: bool) -> Lost:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError) and (reason := _distrust(cause)) is not None:
            return Lost(plane.FailureClass.TLS_FAILED, reason, left=left)
    if isinstance(error, httpx2.ConnectTimeout | TimeoutError):
        return Lost(plane.FailureClass.CONNECT_TIMEOUT, "no connection in time", left=left)
    root = [*_causes(error)][-1]
    # The system's own word, and not what a library makes of it: "Connection refused".
    said = os.strerror(root.errno) if isinstance(root, ConnectionError) and root.errno else str(root)
    return Lost(plane.FailureClass.CONNECT_FAILED, said or type(root).__name__, left=left)


def _distrust(error: ssl.SSLError) -> str | None:
    """Why one side does not trust the other; None for what may be better next time."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "its certificate"
    if "ALERT" in (error.reason or ""):
        return (error.reason or "").replace("_", " ").lower()
    return None


def _is_cut(error: ssl.SSLError) -> bool:
    """Whether the connection ended without TLS's own end. Python before 3.11.3 raises no SSLEOFError then."""
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def _is_busy(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a node has not heard the request, and may hear it later."""
    return status == 503 and "Retry-After" in headers


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
