"""The server on its port: who asks for what, what goes wrong on the way, and how often."""

import socket
import ssl
import struct
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

from auth_server import service
from auth_server.faults import Fault
from auth_server.grants import Server
from auth_server.records import Books
from auth_server.talk import Asked, Said, said
from interlock import kernel, testing

_MOST_BYTES: Final = 1_000_000


class AuthServer:
    """A running server. `url` is where it listens, and what it calls itself; `books` is what it knows, and how it behaves;
    `calls` counts what was asked, by endpoint and, of tokens, by grant; `heard` is all of it.

    Endpoints are named by their path without the slash (`token`), and those below `/token` by grant too
    (`token refresh_token`).
    """

    def __init__(self, url: str, clock: kernel.Clock) -> None:
        self.url = url
        self.clock = clock
        self.begin_anew()
        self.closing = threading.Event()
        """Ends what hangs."""

    def begin_anew(self) -> None:
        """Know nobody, and do nothing wrong."""
        self.books = Books(self.url, lambda: self.clock.now().timestamp())
        self.calls: Counter[str] = Counter()
        self.heard: list[Asked] = []
        self._server = Server(self.books)
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._lock = threading.Lock()

    def fail(self, endpoint: str, *faults: Fault) -> None:
        """Spoil the next answers of an endpoint, each by one of these."""
        self._faults[endpoint].extend(faults)

    def keep_failing(self, endpoint: str, fault: Fault | None) -> None:
        """Spoil every answer of an endpoint from now on; None ends that."""
        self._always.pop(endpoint, None)
        if fault is not None:
            self._always[endpoint] = fault

    def answer(self, asked: Asked) -> Said:
        """What is said to a request."""
        names = endpoints(asked)
        with self._lock:
            self.heard.append(asked)
            self.calls.update(names)
            fault = self._fault(names)
            done = fault is None or fault.done
            answer = service.handle(self._server, asked) if done else said(200, {})
        return answer if fault is None else fault.spoil(answer)

    def _fault(self, names: list[str]) -> Fault | None:
        for name in reversed(names):
            if self._faults[name]:
                return self._faults[name].popleft()
            if name in self._always:
                return self._always[name]
        return None


def endpoints(asked: Asked) -> list[str]:
    """The names that a request's endpoint goes by, from the general to the particular."""
    name = asked.path.strip("/")
    grant = asked.form.get("grant_type", [""])[0].rpartition(":")[2]
    return [name, f"{name} {grant}"] if name == "token" and grant else [name]


@contextmanager
def serving(clock: kernel.Clock | None = None, tls: ssl.SSLContext | None = None) -> Generator[AuthServer]:
    """One that listens for as long as the block; without a clock, on one that stands still; with `tls`, under that."""

    class Listener(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = False

    class Handler(_Handler):
        def answer(self) -> None:
            self.converse(running)

        do_GET = do_POST = do_DELETE = do_PUT = answer  # noqa: N815

    with Listener(("127.0.0.1", 0), Handler) as listener:
        if tls is not None:
            listener.socket = tls.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if tls is None else "https"
        running = AuthServer(f"{scheme}://127.0.0.1:{listener.server_port}", clock or testing.ManualClock())
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.closing.set()
            listener.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    connection: socket.socket
    moment: float

    def converse(self, running: AuthServer) -> None:
        """Read a request whole, answer it, and end the connection."""
        url = urlsplit(self.path)
        length = min(int(self.headers.get("content-length", 0)), _MOST_BYTES)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(length)
        certificate = self.connection.getpeercert(True) if isinstance(self.connection, ssl.SSLSocket) else None
        digest = None if certificate is None else kernel.digest_bytes(certificate)
        answer = running.answer(Asked(self.command, url.path, url.query, headers, body, digest))
        self.moment = running.clock.now().timestamp()
        with suppress(OSError):
            self._deliver(answer, running.closing)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """What `Date` says: the server's own time."""
        return super().date_time_string(int(self.moment))

    def _deliver(self, answer: Said, closing: threading.Event) -> None:
        if answer.delivery == "hang":
            closing.wait()
        if answer.delivery in ("hang", "reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.delivery == "trickle":
            self._trickle(answer.body, closing.wait)
        else:
            self.wfile.write(answer.body[: len(answer.body) // 2] if answer.delivery == "cut" else answer.body)

    def _trickle(self, body: bytes, wait: Callable[[float], bool]) -> None:
        for at in range(len(body)):
            if wait(0.2):
                return
            self.wfile.write(body[at : at + 1])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Silence."""
