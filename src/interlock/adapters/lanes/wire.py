"""The network under the HTTP lane: connections to addresses that were checked, told plainly what becomes of them."""

import asyncio
import os
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, cast

import anyio

from interlock import plane
from interlock.adapters.lanes.egress import Egress, Identity, TlsUse, tls_context
from interlock.adapters.lanes.tls import Tls
from interlock.adapters.lanes.tunnel import open_tunnel
from interlock.adapters.lanes.waiting import Waiting

_FOREVER: Final = 1_000_000.0
"""Seconds; who waits so long has a limit around it."""

READ_AHEAD: Final = 262_144
"""Bytes that may wait here to be read before the peer has to wait."""


SLICE: Final = 16_384
"""Bytes that are handed over at once: what is behind them leaves only if whoever sends may still do so by then."""


class Wire(asyncio.Protocol):
    """One connection. What arrives waits here until it is read, also when the connection breaks after it; one task may
    read while another writes.

    This, and not a library's stream, since every call passes here twice: nothing is done for a wait but the wait. TLS is
    done here, too: behind another's layer nobody could tell what has left, and what has begun to arrive.
    """

    def __init__(self, peer: str) -> None:
        self.peer = peer
        """The address that is spoken to."""
        self.protocol: str | None = None
        """What the peer chose under TLS of the protocols that it was offered."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._tls: Tls | None = None
        self._facts: dict[str, plane.Fact] = {}
        self._received = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._paused = False
        self._full = False
        self._waiting = Waiting()
        self._hear: Callable[[], None] | None = None

    async def secure(self, context: ssl.SSLContext, host: str, identity: Identity | None = None) -> None:
        """Speak TLS from now on, with a peer whose certificate names that host; `identity` is who we are in the context.
        Raises OSError."""
        tls = Tls(context, host)
        try:
            while not tls.shake_hands():
                self._transport.write(tls.take())
                data = await self.read(_FOREVER)
                if not data:
                    raise ConnectionResetError
                tls.feed(data)
        finally:
            self._transport.write(tls.take())  # the last of the handshake, or an alert that says what is wrong
        self._tls, self._facts = tls, tls.facts()
        if identity is not None:
            self._facts["client_certificate"] = identity.fingerprint()
        self.protocol = tls.protocol
        self._decrypt(b"")

    async def write(self, data: bytes, limit: float, exchange: plane.Exchange) -> None:
        """Hand the bytes to the system, slice by slice, each counted in the exchange before, and taken back if none of it left.
        Raises TimeoutError if it has not taken them after `limit` seconds, ConnectionError if the connection does not
        carry them any more, and LaneFailure if they may not leave."""
        self.introduce(exchange)
        ends = self._loop.time() + limit
        for start in range(0, len(data), SLICE):
            piece = data[start : start + SLICE]
            exchange.leave(len(piece))
            if self.hand_over(piece):
                await self.drained(ends - self._loop.time())
            else:
                exchange.bytes_sent -= len(piece)
            if self._transport.is_closing():
                raise ConnectionError("the connection is closed") from self._error

    async def read(self, limit: float) -> bytes:
        """What has arrived, at least a byte; nothing when the peer has ended. Raises TimeoutError after `limit` seconds
        without any, and ConnectionError if the connection broke."""
        await self._waiting.until(lambda: len(self._received) > 0 or self._ended, limit)
        data = self.take()
        if not data and self._error is not None:
            raise ConnectionError("the connection broke") from self._error
        return data

    # -- for whoever carries several exchanges at once, each of which reads and writes when it likes

    def listen(self, hear: Callable[[], None]) -> None:
        """Call that from now on whenever something has arrived, has left or has ended, instead of having it read."""
        self._hear = hear
        hear()

    def take(self) -> bytes:
        """What has arrived, if only nothing."""
        data = bytes(self._received)
        self._received.clear()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def ended(self) -> bool:
        """Whether the peer has ended, or the connection has broken."""
        return self._ended

    @property
    def error(self) -> Exception | None:
        """Why the connection broke, if it did."""
        return self._error

    @property
    def full(self) -> bool:
        """Whether something waits for the system to take it."""
        return self._full

    @property
    def unsent(self) -> int:
        """Bytes that the system has not taken yet."""
        return self._transport.get_write_buffer_size()

    def introduce(self, exchange: plane.Exchange) -> None:
        """Say in the exchange whom it is with."""
        exchange.peer = self.peer
        exchange.facts.update(self._facts)

    async def drained(self, limit: float) -> None:
        """Wait until the system has taken what was handed over, or never will. Raises TimeoutError after `limit` seconds."""
        await self._waiting.until(lambda: not self._full or self._ended, limit)

    def is_idle(self) -> bool:
        """Whether a next request may go here: nothing is under way in either direction, and the peer has not hung up."""
        if self._ended or self._received or self._full or self._transport.is_closing():
            return False
        if self._tls is not None and self._tls.under_way:
            return False
        # Asked of the system itself: what the peer has just done may not have reached us yet.
        return not _is_readable(self._transport.get_extra_info("socket"))

    def has_hung_up(self) -> bool:
        """Whether the peer has ended, also where that has not reached us yet: what it sent before may wait unread."""
        return self._ended or self._transport.is_closing() or _has_ended(self._transport.get_extra_info("socket"))

    def end(self) -> None:
        """Say that nothing more is sent, where the connection can: under TLS it cannot."""
        if self._tls is None and not self._transport.is_closing():
            with suppress(OSError):  # a peer that has hung up by now is told nothing; reading shows its end
                self._transport.write_eof()

    def close(self) -> None:
        """End it at once. It is gone after the event loop's next turn."""
        self._transport.abort()

    def _changed(self) -> None:
        self._waiting.look()
        if self._hear is not None:
            self._hear()

    def hand_over(self, data: bytes) -> bool:
        """Give it to the system, or have it wait for that. False if it is certain that not a byte has left: what the system is
        not even asked to take, or refuses at once."""
        if self._transport.is_closing():
            return False
        if self._tls is not None:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                self._error = error
                self._transport.abort()
                return False
            data = self._tls.take()
        was_empty = self._transport.get_write_buffer_size() == 0
        self._transport.write(data)
        return not (was_empty and self._transport.is_closing())

    def _decrypt(self, data: bytes) -> None:
        """Take records. What cannot be read ends all."""
        tls = self._tls
        assert tls is not None
        try:
            tls.feed(data)
            self._received += tls.read()
        except ssl.SSLError as error:
            self._ended, self._error = True, error
        self._ended = self._ended or tls.ended
        if answer := tls.take():
            self._transport.write(answer)
        if self._ended:
            self._transport.close()

    # -- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        if self._tls is None:
            self._received += data
        else:
            self._decrypt(data)
        if len(self._received) > READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._changed()

    def eof_received(self) -> None:
        self._ended = True
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error = True, self._error or exc
        self._changed()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._changed()


class Dialler:
    """Makes connections: resolves a host once, drops the addresses that the policy refuses, and connects to the very ones
    that it has checked."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def dial(self, url: plane.Url, limit: float, use: TlsUse | None = None, *protocols: str) -> Wire:
        """A connection to the URL's host, and under TLS if it says so, where these protocols are offered. `limit` is in
        seconds, for the name lookup with the connection, and for the TLS handshake. Raises LaneFailure."""
        secure = url.scheme == "https"
        context = await tls_context(self._egress, use, *protocols) if secure else None
        addresses = await _find(self._egress.addresses, url, limit)
        proxy = self._egress.proxy
        if proxy is None:
            connection, peer = await _connect(url, addresses, limit)
        else:
            connection, _ = await _connect(proxy.url, await _find(self._egress.addresses, proxy.url, limit), limit)
            await open_tunnel(connection, proxy, addresses[0], url.port, limit)
            peer = f"{addresses[0]} through {proxy.url.host_port}"
        loop = asyncio.get_running_loop()
        wire = (await loop.create_connection(lambda: Wire(peer), sock=connection))[1]
        if context is not None:
            await _secure(wire, context, (use and use.options.server_name) or url.host, use and use.identity, limit)
        return wire


async def _secure(wire: Wire, context: ssl.SSLContext, host: str, identity: Identity | None, limit: float) -> None:
    try:
        with anyio.fail_after(limit):
            await wire.secure(context, host, identity)
    except TimeoutError as error:
        wire.close()
        message = f"no TLS handshake with {host} within {limit:g} seconds"
        raise plane.LaneFailure(plane.FailureClass.CONNECT_TIMEOUT, message, code="tls_timeout") from error
    except OSError as error:
        wire.close()
        message = f"no TLS with {host}: {_reason(error)}"
        raise plane.LaneFailure(plane.FailureClass.TLS_FAILED, message) from error
    except BaseException:
        wire.close()
        raise


async def open_tcp(addresses: plane.AddressPolicy, url: plane.Url, limit: float) -> tuple[socket.socket, str]:
    """A socket that is connected to the URL's host, and the address. `limit` is in seconds. Raises LaneFailure."""
    return await _connect(url, await _find(addresses, url, limit), limit)


async def _find(addresses: plane.AddressPolicy, url: plane.Url, limit: float) -> list[str]:
    literal = _literal(url.host)
    candidates = [literal] if literal else await _resolve(url.host, url.port, limit)
    permitted, refusal = addresses.permitted(url.host, url.port, candidates)
    if not permitted:
        raise plane.LaneFailure(plane.FailureClass.ADDRESS_REFUSED, refusal)
    return permitted


async def _connect(url: plane.Url, addresses: list[str], limit: float) -> tuple[socket.socket, str]:
    """Try the addresses in turn, each with its share of the time that is left."""
    deadline = anyio.current_time() + limit
    where = f"{url.host}:{url.port}"
    failure = plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, f"no connection to {where}")
    for position, address in enumerate(addresses):
        share = max(deadline - anyio.current_time(), 0.001) / (len(addresses) - position)
        try:
            with anyio.fail_after(share):
                return await _open(address, url.port), address
        except TimeoutError:
            message = f"no connection to {where} ({address}) within {limit:g} seconds"
            failure = plane.LaneFailure(plane.FailureClass.CONNECT_TIMEOUT, message)
        except OSError as error:
            message = f"no connection to {where} ({address}): {_reason(error)}"
            failure = plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, message)
    raise failure


async def _open(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # With its protocol, or the event loop takes it for none of TCP's, and leaves small pieces to wait for acknowledgements.
    connection = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        connection.settimeout(0)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection


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
    if number >= 0 and not hasattr(select, "poll"):
        return bool(select.select([number], [], [], 0)[0])
    return number < 0 or _shows(number, select.POLLIN)


def _has_ended(connection: socket.socket) -> bool:
    """Whether its peer has closed or reset it, whatever is left to read. Where the system does not tell: no."""
    number = connection.fileno()
    # Without a name for the half that is closed, what polls tells of it unasked.
    return number < 0 or (hasattr(select, "poll") and _shows(number, getattr(select, "POLLRDHUP", 0)))


def _shows(number: int, events: int) -> bool:
    """Whether one of those has happened to a descriptor, or an error."""
    poll = select.poll()
    poll.register(number, events)
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
