"""A TCP proxy in front of Postgres that knows where the commits are: it stops before or after the n-th one.

It reads the frontend protocol (PostgreSQL documentation, chapter "Frontend/Backend Protocol") just far enough to tell the
end of a request (Query or Sync), the statements in it, and from the answers whether a transaction is open.
"""

import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from sqlalchemy.engine import URL, make_url

_WRITES = re.compile(r"\b(INSERT INTO|DELETE FROM)\s+(\w+)|^\s*(UPDATE)\s+(\w+)", re.IGNORECASE)
HEARTBEAT = "insert owners"
"""The renewal of a lease: no boundary of the flow but for the first, because it comes whenever it is due."""

_SHUT = (OSError, ValueError, EOFError)


class Proxy:
    """One proxy for one database. `url` is the way in."""

    def __init__(self, database_url: str) -> None:
        target = make_url(database_url)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        through = target.set(host="127.0.0.1", port=port, drivername="postgresql")
        query = {name: value for name, value in target.query.items() if name not in ("host", "port")}
        through = through.set(query={**query, "sslmode": "disable", "gssencmode": "disable"})
        self.url = through.render_as_string(hide_password=False)
        self.seen: list[str] = []
        self.met: str | None = None
        self.closed = False
        self.refusing = False
        self.refuse_next = 0
        """So many connections are refused, and those after them are not."""
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._armed: tuple[str, int, Callable[[], object]] | None = None
        self._counting = False
        self._statement: tuple[re.Pattern[str], Callable[[], bool]] | None = None
        self._thawed = threading.Event()
        threading.Thread(target=self._accept, name="fault-proxy", daemon=True).start()

    def arm(self, when: str = "before", commit: int = 0, act: Callable[[], object] = lambda: True) -> None:
        """Count commits from now on. At the one that is ordered, `act`: the bytes go on if it returns
        something true; else that connection is closed."""
        self.seen.clear()
        self.met = None
        self._armed = (when, commit, act)
        self._thawed.clear()
        self._counting = True

    def arm_statement(self, pattern: str, act: Callable[[], bool]) -> None:
        """`act` before the next statement that matches, once."""
        self._statement = (re.compile(pattern), act)

    def freeze(self, stop: Callable[[], None]) -> Callable[[], bool]:
        """An act: stop the process, and let the bytes go on at `thaw`."""

        def act() -> bool:
            stop()
            return self._thawed.wait(60)

        return act

    def thaw(self) -> None:
        """Let go on what `freeze` holds."""
        self._thawed.set()

    def statement_may_pass(self, statements: list[str]) -> bool:
        """Whether a request with these statements may go on."""
        armed = self._statement
        if armed is None or not any(armed[0].search(statement) for statement in statements):
            return True
        self._statement = None
        return armed[1]()

    def cut(self) -> None:
        """Close every connection."""
        for link in list(self._links):
            link.close()

    def close(self) -> None:
        """No more connections, and none of those that are open."""
        self.closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def commit_begins(self, label: str) -> int:
        """The number of the commit that is about to go to the server; 0 while nobody counts."""
        with self._lock:
            if not self._counting or (label == HEARTBEAT and HEARTBEAT in self.seen):
                return 0
            self.seen.append(label)
            return len(self.seen)

    def may_pass(self, when: str, number: int) -> bool:
        """Whether what is at this boundary may go on."""
        if self._armed is None or self._armed[:2] != (when, number) or number == 0:
            return True
        self.met = f"{when} commit {number} ({self.seen[number - 1]})"
        return bool(self._armed[2]())

    def _accept(self) -> None:
        while not self.closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing or self.refuse_next > 0:
                self.refuse_next = max(0, self.refuse_next - 1)
                client.close()
                continue
            try:
                server = _dial(self._target)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                if end.family == socket.AF_INET:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(self, client, server)
            self._links.add(link)
            link.start()

    def forget(self, link: "_Link") -> None:
        self._links.discard(link)


def _dial(target: URL) -> socket.socket:
    folder = target.query.get("host")
    if isinstance(folder, str) and folder.startswith("/"):
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.{target.query.get('port') or target.port or 5432}")
        return server
    return socket.create_connection((target.host or "127.0.0.1", target.port or 5432))


def _length(size: bytes) -> int:
    """How much of a message follows its length field. Raises EOFError where the connection ended within it."""
    if len(size) != 4:
        raise EOFError
    return struct.unpack("!I", size)[0] - 4


class _Link:
    """One connection, both ways."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._idle = True
        self._committing = 0
        self._statements: dict[bytes, str] = {}

    def start(self) -> None:
        for pump, end in ((self._upstream, self._client), (self._downstream, self._server)):
            threading.Thread(target=self._run, args=(pump, end), daemon=True).start()

    def close(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _run(self, pump: Callable[[BinaryIO], None], end: socket.socket) -> None:
        # The stream must be closed, too: a socket lives as long as what was made of it.
        with suppress(*_SHUT), end.makefile("rb") as stream:
            pump(stream)
        self.close()
        self._proxy.forget(self)

    def _upstream(self, stream: BinaryIO) -> None:
        """Whole requests at a time."""
        size = stream.read(4)
        self._server.sendall(size + stream.read(_length(size)))
        request = bytearray()
        written: list[str] = []
        statements: list[str] = []
        executes = False
        while kind := stream.read(1):
            size = stream.read(4)
            body = stream.read(_length(size))
            request += kind + size + body
            if kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                self._statements[name] = text.decode()
            elif kind == b"B":
                statements.append(self._statements.get(body.split(b"\0", 2)[1], ""))
                written += _written(statements[-1])
            elif kind == b"E":
                executes = True
            elif kind in (b"Q", b"S", b"X", b"p"):
                text = body[:-1].decode() if kind == b"Q" else ""
                written += _written(text)
                ends = text.upper().startswith(("COMMIT", "ROLLBACK"))
                commits = bool(written) and (text.upper().startswith("COMMIT") or (self._idle and executes))
                self._committing = self._proxy.commit_begins(", ".join(dict.fromkeys(written))) if commits else 0
                if not self._proxy.statement_may_pass(statements):
                    return
                if not self._proxy.may_pass("before", self._committing):
                    return
                statements.clear()
                self._server.sendall(request)
                request.clear()
                executes = False
                if commits or ends:
                    written.clear()

    def _downstream(self, stream: BinaryIO) -> None:
        """Whole messages at a time; an answer to a commit as a whole."""
        answer = bytearray()
        while kind := stream.read(1):
            size = stream.read(4)
            body = stream.read(_length(size))
            answer += kind + size + body
            if kind == b"Z":
                self._idle = body == b"I"
                committed, self._committing = self._committing, 0
                if not self._proxy.may_pass("after", committed):
                    return
            elif self._committing:
                continue
            self._client.sendall(answer)
            answer.clear()


def _written(statement: str) -> list[str]:
    if "unnest(" in statement:  # one statement of the hot path names every table
        return ["move run" if "UPDATE runs" in statement else "admit run"] if "INSERT INTO" in statement else []
    found = _WRITES.search(statement)
    if found is None:
        return []
    words = [word for word in found.groups() if word]
    return [f"{words[0].split()[0].lower()} {words[1]}"]
