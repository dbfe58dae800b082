"""A service that answers what a test tells it to, and repeats what it hears."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass(frozen=True)
class Heard:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What the parrot says. `cut` ends the connection half-way through the body."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: bool = False


class Parrot:
    """Set `say`; read `heard`."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.say: Callable[[Heard], Answer] = lambda heard: Answer(b'{"login": "octo-agent"}')
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(parrot: Parrot) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            heard = Heard(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            parrot.heard.append(heard)
            said = parrot.say(heard)
            self.close_connection = True
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(said.body)))
            self.send_header("connection", "close")
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(said.body[: len(said.body) // 2] if said.cut else said.body)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    return Handler


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    """A parrot that knows one account."""
    bird = Parrot()
    yield bird
    bird.stop()
