"""An endpoint for embeddings on this machine: it answers as it is told to, and keeps what it was asked."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from interlock import memory

KEY = "sk-a-key-for-trying-0123456789"
HASHED = memory.HashedEmbedder(16)
Answering = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


class Server:
    """Over HTTP/1.1, on a thread."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Answering = vectors
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append(body)
                outer.headers.append(
                    {name.lower(): value for name, value in self.headers.items()} | {"path": self.path}
                )
                outer.answer(self, body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is named there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        if self.released.is_set() and not self._thread.is_alive():
            return
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def say(handler: BaseHTTPRequestHandler, status: int, told: object, **headers: str) -> None:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def vectors(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    data = [{"index": at, "embedding": list(HASHED.vector(text))} for at, text in enumerate(body["input"])]
    say(handler, 200, {"object": "list", "data": data[::-1]})
