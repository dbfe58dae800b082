"""A service on loopback that speaks HTTP/1.1, server-sent events and WebSocket by hand, well or badly as its paths say."""

import base64
import ctypes
import hashlib
import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import anyio
import anyio.abc

_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
_WEBSOCKET: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PIECE: Final = 65_536
_HUGE: Final = 2**28
_STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_PRIVATE, _REMOVE = 0, 0  # IPC_PRIVATE, IPC_RMID
_OPEN: Final = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


class LoopbackPeer:
    """Answers `/KIND/CASE?MARK`. Kinds are `http`, `sse` and `websocket`. The case `good` says the mark and ends well;
    `failing` refuses or breaks off; `endless` begins and says no more; `huge` sends 256 MiB as fast as they are taken."""

    def __init__(self, port: int, closed_port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.closed_host = f"127.0.0.1:{closed_port}"
        """Where nobody listens, as long as the peer lives."""
        self.connections = 0
        """How many there were."""
        self.received = 0
        """Bytes that reached it."""
        self.sent = 0
        """Bytes that the system took from it."""

    async def serve(self, stream: anyio.abc.ByteStream) -> None:
        """One connection, to its end."""
        self.connections += 1
        with suppress(*_BROKEN):
            async with stream:
                while await self._answer(stream):
                    pass

    async def _answer(self, stream: anyio.abc.ByteStream) -> bool:
        head = await self._head(stream)
        place, _, mark = head.split(b" ")[1].decode().partition("?")
        kind, case = place.strip("/").split("/")
        if kind == "websocket":
            await self._websocket(stream, case, mark.encode(), head)
        elif kind == "sse":
            await self._events(stream, case, mark.encode())
        else:
            return await self._http(stream, case, mark.encode())
        return False

    async def _head(self, stream: anyio.abc.ByteStream) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.receive()
            self.received += len(data)
            head += data
        return head

    async def _http(self, stream: anyio.abc.ByteStream, case: str, mark: bytes) -> bool:
        if case == "good":
            await self._send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(mark), mark))
            return True
        if case == "failing":
            await self._send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
            return False
        await self._send(stream, _OPEN)
        await self._go_on(stream, case, b"x" * _PIECE)
        return False

    async def _events(self, stream: anyio.abc.ByteStream, case: str, mark: bytes) -> None:
        if case == "failing":
            await self._send(stream, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
            return
        await self._send(stream, _STREAM + b"data: " + mark + b"\n\n")
        if case != "good":
            await self._go_on(stream, case, b"data: " + b"x" * _PIECE + b"\n\n")

    async def _websocket(self, stream: anyio.abc.ByteStream, case: str, mark: bytes, head: bytes) -> None:
        if case == "failing":
            await self._send(stream, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            return
        headers = (line.partition(b": ") for line in head.split(b"\r\n"))
        key = next(value for name, _, value in headers if name.lower() == b"sec-websocket-key")
        proof = hashlib.sha1(key + _WEBSOCKET, usedforsecurity=False).digest()
        switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        accepted = b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(proof)
        message = b"\x81" + bytes([len(mark)]) + mark
        await self._send(stream, switched + accepted + message + (b"\x88\x02\x03\xe8" if case == "good" else b""))
        await self._go_on(stream, case, b"\x82\x7f" + _PIECE.to_bytes(8, "big") + b"x" * _PIECE)

    async def _go_on(self, stream: anyio.abc.ByteStream, case: str, piece: bytes) -> None:
        """After the beginning: much more, or silence until the other side ends."""
        left = _HUGE if case == "huge" else 0
        while left > 0:
            await self._send(stream, piece)
            left -= len(piece)
        while case != "huge":
            self.received += len(await stream.receive())

    async def _send(self, stream: anyio.abc.ByteStream, data: bytes) -> None:
        await stream.send(data)
        self.sent += len(data)


@asynccontextmanager
async def loopback_peer() -> AsyncGenerator[LoopbackPeer]:
    """Such a service, until the block ends."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port: int = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no Django here
        peer = LoopbackPeer(port, unheard.getsockname()[1])
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, peer.serve)
            yield peer
            tasks.cancel_scope.cancel()


@contextmanager
def datagram_peer(path: str) -> Generator[None]:
    """A socket at that file, which takes datagrams."""
    folder, name = os.path.split(path)
    held = os.open(folder, os.O_PATH)  # the path may be longer than a socket's address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(f"/proc/self/fd/{held}/{name}")
            yield
    finally:
        os.close(held)


@contextmanager
def shared_memory() -> Generator[int]:
    """The number of a segment of memory by System V, which this user's processes can attach."""
    libc = ctypes.CDLL(None)
    segment = libc.shmget(_PRIVATE, 4096, 0o600)
    try:
        yield segment
    finally:
        libc.shmctl(segment, _REMOVE, None)
