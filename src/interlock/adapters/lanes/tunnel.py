"""A way through an HTTP proxy, which is told only the address that was checked: no name that it could take for another."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Final

import anyio
import h11

from interlock import plane
from interlock.kernel import Secret

_MAX_HEAD: Final = 16_384
"""The longest answer of a proxy that is read, in bytes."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that makes tunnels by CONNECT (RFC 9110 §9.3.6). The operator's address policy must allow its address, too.
    `authorization` is the value of the header Proxy-Authorization."""

    url: plane.Url
    authorization: Secret | None = None


async def open_tunnel(connection: socket.socket, proxy: Proxy, address: str, port: int, limit: float) -> None:
    """Have the proxy on the other end connect on to the address, within `limit` seconds. Raises LaneFailure; then the
    connection is closed."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        with anyio.fail_after(limit):
            reason = await _ask(connection, proxy, where)
    except TimeoutError as error:
        connection.close()
        message = f"the proxy {proxy.url.host_port} made no tunnel within {limit:g} seconds"
        raise plane.LaneFailure(plane.FailureClass.CONNECT_TIMEOUT, message, code="proxy_timeout") from error
    except BaseException:
        connection.close()
        raise
    if reason is not None:
        connection.close()
        message = f"the proxy {proxy.url.host_port} made no tunnel: {reason}"
        raise plane.LaneFailure(plane.FailureClass.CONNECT_FAILED, message, code="proxy_refused")


async def _ask(connection: socket.socket, proxy: Proxy, where: str) -> str | None:
    """Ask for the tunnel. Returns why there is none, if there is none."""
    headers = [("Host", where)]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization.reveal()))
    loop = asyncio.get_running_loop()
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
    request = http.send(h11.Request(method="CONNECT", target=where, headers=headers)) or b""
    request += http.send(h11.EndOfMessage()) or b""
    try:
        await loop.sock_sendall(connection, request)
        while (event := http.next_event()) is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
            if event is h11.NEED_DATA:
                http.receive_data(await loop.sock_recv(connection, 4096))
    except OSError:
        return "the connection broke"
    except h11.RemoteProtocolError:
        return "its answer is not HTTP/1.1"
    if not isinstance(event, h11.Response):
        return "it closed the connection"
    if not 200 <= event.status_code < 300:
        return f"its answer has the status {event.status_code}"
    if http.trailing_data[0]:
        return "it says more than its answer"
    return None
