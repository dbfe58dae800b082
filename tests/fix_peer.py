"""A peer on loopback that behaves as badly as a test wants."""

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
from anyio.streams.tls import TLSListener, TLSStream

PEER_ERRORS = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError)


class Conversation:
    """One connection, seen from the peer."""

    def __init__(self, peer: "Peer", stream: anyio.abc.ByteStream) -> None:
        self.peer = peer
        self._stream = stream
        self._buffer = b""

    @property
    def socket(self) -> socket.socket:
        """What is below it."""
        return self._stream.extra(anyio.abc.SocketAttribute.raw_socket)

    async def open(self) -> None:
        """What a peer of this kind says before it is asked."""

    async def request(self) -> bytes:
        """Read one whole request; raises EndOfStream when there is none."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self._receive()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0]) if lengths else 0
        while len(rest) < length:
            rest += await self._receive()
        self._buffer = rest[length:]
        whole = head + b"\r\n\r\n" + rest[:length]
        self.peer.requests.append(whole)
        return whole

    async def receive(self) -> bytes:
        """What comes next; raises EndOfStream at the end."""
        data, self._buffer = self._buffer, b""
        return data or await self._receive()

    async def receive_until(self, end: bytes) -> bytes:
        """All that comes, up to and with that; raises EndOfStream if it does not come."""
        while end not in self._buffer:
            self._buffer += await self._receive()
        data, found, self._buffer = self._buffer.partition(end)
        return data + found

    async def _receive(self) -> bytes:
        data = await self._stream.receive()
        self.peer.bytes_received += len(data)
        return data

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def send_eof(self) -> None:
        """Send no more, and keep the connection."""
        self.socket.shutdown(socket.SHUT_WR)

    async def answer(self, body: bytes = b"{}", status: str = "200 OK", *headers: str) -> None:
        """A well-formed answer."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def body(self) -> bytes:
        """The body of a request that comes in chunks, without their framing."""
        await self.request()
        found = b""
        while size := int(await self.receive_until(b"\r\n"), 16):
            while len(self._buffer) < size + 2:
                self._buffer += await self._receive()
            found, self._buffer = found + self._buffer[:size], self._buffer[size + 2 :]
        await self.receive_until(b"\r\n")
        return found

    async def begin(self, status: str = "200 OK", *headers: str) -> None:
        """The head of an answer whose body follows by `say`, to its `end`."""
        lines = [f"HTTP/1.1 {status}", "Transfer-Encoding: chunked", *headers]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def say(self, data: bytes) -> None:
        """A piece of an answer's body."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The end of an answer's body."""
        await self.send(b"0\r\n\r\n")

    async def garble(self) -> None:
        """Send a TLS record that no key decrypts."""
        assert isinstance(self._stream, TLSStream)
        await self._stream.transport_stream.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)

    async def reset(self) -> None:
        """End with a TCP reset instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()


Script = Callable[[Conversation], Awaitable[None]]


class Peer:
    """A listening peer. `requests` are the raw requests it has read, `host` is its `host:port`."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.url = f"{scheme}://{self.host}"
        self.connections = 0
        self.bytes_received = 0
        self.requests: list[bytes] = []
        self.ended = anyio.Event()


@asynccontextmanager
async def listen(
    script: Callable[[Any], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
    receive_buffer: int | None = None,
    speaks: type[Conversation] = Conversation,
) -> AsyncGenerator[Peer]:
    """Serve every connection with the script, until the block ends. `receive_buffer` is the kernel's, in bytes."""
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    if receive_buffer is not None:
        raw: socket.socket = plain.listeners[0].extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    port = plain.extra(anyio.abc.SocketAttribute.local_port)
    peer = Peer(port, "http" if tls is None else "https")

    async def serve(stream: anyio.abc.ByteStream) -> None:
        peer.connections += 1
        # A stream that was accepted reads ahead without end until a `receive` has once had to wait: this one reads when
        # its script does.
        below: Any = stream.transport_stream if isinstance(stream, TLSStream) else stream
        below._transport.pause_reading()
        async with stream:
            with suppress(*PEER_ERRORS):
                conversation = speaks(peer, stream)
                await conversation.open()
                await script(conversation)
        peer.ended.set()

    listener = plain if tls is None else TLSListener(plain, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield peer
        tasks.cancel_scope.cancel()


def closed_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
