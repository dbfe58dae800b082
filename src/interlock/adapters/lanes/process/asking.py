"""What a command in a sandbox says to its proxy: where it wants to go, by SOCKS 5 or by HTTP."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import h11

_VERSION: Final = 5
_CONNECT: Final = 1
_NO_METHOD, _NO_COMMAND, _NO_ADDRESS = 0xFF, 7, 8
_LONGEST_HEAD: Final = 16_384
_PIECE: Final = 4096

FORBIDDEN: Final = 403
UNREACHABLE: Final = 502
_SOCKS_CODES: Final = {FORBIDDEN: 2, UNREACHABLE: 4}


@dataclass(frozen=True, slots=True)
class Asked:
    """A connection to `host_port` that was asked for."""

    caller: socket.socket
    host_port: str
    accept: Callable[[], Awaitable[bytes]]
    """Say yes; and what goes to the host first."""
    refuse: Callable[[int, str], Awaitable[None]]
    """Say no: FORBIDDEN or UNREACHABLE, and why."""


def normal(host_port: str) -> str:
    """One way of writing for all that mean the same: lower case, no dot at the end, addresses in their shortest form."""
    host, _, port = host_port.rpartition(":")
    host = host.strip("[]").lower().removesuffix(".")
    try:
        return f"{ip_address(host)}:{port}"
    except ValueError:
        return f"{host}:{port}"


async def listen(caller: socket.socket) -> Asked | None:
    """What it asks for; None if that is nothing that is understood, which it was told. Raises OSError."""
    first = await asyncio.get_running_loop().sock_recv(caller, 1)
    if not first:
        return None
    return await _socks(caller) if first[0] == _VERSION else await _http(caller, first)


async def _socks(caller: socket.socket) -> Asked | None:
    loop = asyncio.get_running_loop()

    async def answer(code: int) -> None:
        await loop.sock_sendall(caller, bytes([_VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]))

    async def accept() -> bytes:
        await answer(0)
        return b""

    async def refuse(status: int, reason: str) -> None:
        del reason  # it has no room for words
        await answer(_SOCKS_CODES[status])

    methods = await _exactly(caller, (await _exactly(caller, 1))[0])
    if 0 not in methods:
        await loop.sock_sendall(caller, bytes([_VERSION, _NO_METHOD]))
        return None
    await loop.sock_sendall(caller, bytes([_VERSION, 0]))
    _version, command, _reserved, kind = await _exactly(caller, 4)
    if command != _CONNECT:
        await answer(_NO_COMMAND)
        return None
    if kind == 3:
        host = (await _exactly(caller, (await _exactly(caller, 1))[0])).decode("ascii", "replace")
    elif kind in (1, 4):
        host = str(ip_address(await _exactly(caller, 4 if kind == 1 else 16)))
    else:
        await answer(_NO_ADDRESS)
        return None
    return Asked(caller, f"{host}:{int.from_bytes(await _exactly(caller, 2))}", accept, refuse)


async def _exactly(caller: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await asyncio.get_running_loop().sock_recv(caller, count - len(data))
        if not more:
            raise ConnectionError("the command hung up")
        data += more
    return data


async def _http(caller: socket.socket, first: bytes) -> Asked | None:
    loop = asyncio.get_running_loop()
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
    http.receive_data(first)

    async def refuse(status: int, reason: str) -> None:
        text = f"interlock: {reason}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
        head = f"HTTP/1.1 {status} Refused\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        await loop.sock_sendall(caller, f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)

    try:
        while (event := http.next_event()) is h11.NEED_DATA:
            data = await loop.sock_recv(caller, _PIECE)
            if not data:
                return None
            http.receive_data(data)
        assert isinstance(event, h11.Request)
        return _understood(caller, event, http.trailing_data[0], refuse)
    except (h11.RemoteProtocolError, ValueError):
        await refuse(400, "this is no request to a proxy: CONNECT host:port, or METHOD http://host/path")
        return None


def _understood(
    caller: socket.socket, request: h11.Request, rest: bytes, refuse: Callable[[int, str], Awaitable[None]]
) -> Asked:
    """Raises ValueError if that is no request to a proxy."""
    target = request.target.decode("ascii")

    async def tunnel() -> bytes:
        await asyncio.get_running_loop().sock_sendall(caller, b"HTTP/1.1 200 Connected\r\n\r\n")
        return rest

    if request.method == b"CONNECT":
        host, _, port = target.rpartition(":")
        return Asked(caller, f"{host}:{int(port)}", tunnel, refuse)
    url = urlsplit(target)
    if url.scheme != "http" or not url.hostname:
        raise ValueError("no absolute target")

    async def forward() -> bytes:
        path = f"{url.path or '/'}{'?' + url.query if url.query else ''}".encode()
        headers = [(name, value) for name, value in request.headers if not name.startswith(b"proxy-")]
        headers = [(name, value) for name, value in headers if name not in (b"connection", b"keep-alive", b"host")]
        lines = [request.method + b" " + path + b" HTTP/1.1", b"Host: " + url.netloc.rpartition("@")[2].encode()]
        lines += [name + b": " + value for name, value in headers]
        # One request for each connection: a second one might be meant for another host.
        return b"\r\n".join([*lines, b"Connection: close", b"", b""]) + rest

    return Asked(caller, f"{url.hostname}:{url.port or 80}", forward, refuse)
