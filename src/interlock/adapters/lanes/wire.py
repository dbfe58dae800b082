"""The network under the HTTP lane: addresses are checked where they are used, and application bytes are counted."""

import os
import select
import socket
import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, TypeAlias, cast

import anyio
import httpcore2

from interlock import plane

MAX_ADDRESSES: Final = 8
"""How many of a host's addresses are tried."""

SocketOption: TypeAlias = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


@dataclass(slots=True)
class Flight:
    """One exchange on the wire, and what its connection has seen."""

    exchange: plane.Exchange
    write_broke: bool = False
    peer_closed: bool = False


FLIGHT: Final[ContextVar[Flight]] = ContextVar("interlock.http.flight")
"""The exchange that the current task is carrying out. Pooled connections outlive exchanges, so their streams look here
for whose bytes they carry; the pool does all its work in the task of the exchange."""


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a host once, drops the addresses that the policy refuses, and connects to the very ones it checked."""

    def __init__(self, addresses: plane.AddressPolicy) -> None:
        self._addresses = addresses
        # The cast is for the checker: the class is a stub where anyio is missing, and anyio is ours.
        self._inner = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        del local_address, socket_options  # the pool is made without them
        limit = timeout or 0.0
        candidates = [literal] if (literal := _literal(host)) else await _resolve(host, port, limit)
        return await self._connect(host, port, self._permitted(host, port, candidates), limit)

    def _permitted(self, host: str, port: int, candidates: list[str]) -> list[str]:
        permitted: list[str] = []
        reason = "it has no addresses"
        for address in candidates[:MAX_ADDRESSES]:
            refusal = self._addresses.refusal(host, port, address)
            if refusal is None:
                permitted.append(address)
            else:
                reason = refusal
        if not permitted:
            message = f"connections to {host}:{port} are refused: {reason}"
            raise plane.LaneFailure(plane.FailureClass.ADDRESS_REFUSED, message)
        return permitted

    async def _connect(self, host: str, port: int, addresses: list[str], limit: float) -> "CountingStream":
        """Try the addresses in turn, each with its share of the time that is left."""
        deadline = anyio.current_time() + limit
        failure = plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, f"no connection to {host}:{port}")
        for position, address in enumerate(addresses):
            share = max(deadline - anyio.current_time(), 0.001) / (len(addresses) - position)
            try:
                return CountingStream(await self._inner.connect_tcp(address, port, timeout=share), address)
            except httpcore2.ConnectTimeout:
                message = f"no connection to {host}:{port} ({address}) within {limit:g} seconds"
                failure = plane.LaneFailure(plane.FailureClass.CONNECT_TIMEOUT, message)
            except httpcore2.ConnectError as error:
                message = f"no connection to {host}:{port} ({address}): {_reason(error)}"
                failure = plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, message)
        raise failure


class CountingStream(httpcore2.AsyncNetworkStream):
    """A connection that counts application bytes before it hands them on: zero means that nothing can have left."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream, peer: str) -> None:
        self._inner = inner
        self._peer = peer
        self._socket: socket.socket | None = inner.get_extra_info("socket")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            data = await self._inner.read(max_bytes, timeout)
        except ssl.SSLError as error:  # an alert or a damaged record, which anyio lets through
            raise httpcore2.ReadError(error) from error
        if not data:
            FLIGHT.get().peer_closed = True
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        flight = FLIGHT.get()
        flight.peer_closed = False
        flight.exchange.peer = self._peer
        flight.exchange.leave(len(buffer))
        try:
            await self._inner.write(buffer, timeout)
        except (httpcore2.WriteError, ssl.SSLError) as error:
            # On this error the pool goes on to read: a peer that stops listening may have answered already.
            flight.write_broke = True
            raise httpcore2.WriteError(error) from error

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return CountingStream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._peer)
        except httpcore2.ConnectTimeout as error:
            message = f"no TLS handshake with {server_hostname} within {timeout or 0:g} seconds"
            raise plane.LaneFailure(plane.FailureClass.CONNECT_TIMEOUT, message, code="tls_timeout") from error
        except (httpcore2.ConnectError, OSError) as error:
            message = f"no TLS with {server_hostname}: {_reason(error)}"
            raise plane.LaneFailure(plane.FailureClass.TLS_FAILED, message) from error

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._socket is not None:
            # The pool asks this of every idle connection at every request; the way through anyio costs ten times as much.
            return _is_readable(self._socket)
        return self._inner.get_extra_info(info)


async def _resolve(host: str, port: int, limit: float) -> list[str]:
    try:
        with anyio.fail_after(limit):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        message = f"the name {host} was not resolved within {limit:g} seconds"
        raise plane.LaneFailure(plane.FailureClass.DNS_FAILED, message, code="dns_timeout") from error
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a host name"
        raise plane.LaneFailure(plane.FailureClass.DNS_FAILED, f"the name {host} has no address: {reason}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_readable(connection: socket.socket) -> bool:
    """Whether a read would return at once. Of an idle connection: whether the peer has closed it."""
    number = connection.fileno()
    if number < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _literal(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    """The TLS library's or the operating system's words for what lies at the root of a chain of causes."""
    reason = "the peer closed the connection"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_message:
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "no common ground").replace("_", " ").lower()
        elif isinstance(cause, OSError) and cause.errno is not None:
            reason = os.strerror(cause.errno).lower()
        cause = cause.__cause__
    return reason
