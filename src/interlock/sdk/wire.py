"""What passes between a connector and the world: requests, answers, and the port that handlers send through."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from urllib.parse import quote, urlencode

import orjson

from interlock.kernel import JSON

FORBIDDEN_HEADERS: Final = frozenset(
    {
        "authorization", "connection", "content-length", "cookie", "cookie2", "expect", "host", "keep-alive",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that a connector never sets: they belong to the credential or to the connection."""

MAX_HEADER_VALUE: Final = 8192
"""Characters in one header value."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
"""Methods that ask for no change (RFC 9110 §9.2.1), of those that connectors use."""

_METHODS: Final = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
# What the plane will take, so that a connector's mistake shows in the connector (RFC 3986 §3.3, RFC 9110 §5.1 and §5.5).
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9\-._~:/@!$&'()*+,;=\[\]]|%[0-9A-Fa-f]{2})*")
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?@!$&'()*+,;=\[\]]|%[0-9A-Fa-f]{2})+")
# Also as servers read it that take an encoded separator for one, or leave out what follows a semicolon.
_CLIMBS: Final = re.compile(r"(?:/|%2f|%5c)(?:\.|%2e){1,2}(?=/|%2f|%5c|;|%3b|$)", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")


class Purpose(StrEnum):
    """Why a request is sent: it is the effect itself, a further page of it, or a read that settles an unknown write."""

    EFFECT = "effect"
    PAGE = "page"
    RECONCILE = "reconcile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a program knows besides its input.

    `subject` is whom the credential belongs to at the service; `started_at` is when the first send of the run was
    committed; `idempotency_key` goes out in the operation's idempotency header and stays the same over all attempts.
    """

    subject: str | None
    started_at: datetime
    connection_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request to the connection's own service: there is no host in it, and no credential. Its body is JSON, or
    bytes as they are.

    `path` is escaped and starts with one slash. Raises ValueError for what would leave the service or forge a header.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    json_body: JSON = None
    purpose: Purpose = Purpose.EFFECT
    raw_body: bytes | None = None

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ValueError(f"{self.method!r} is no HTTP method that connectors use")
        check_path(self.path)
        for name, value in self.headers:
            check_header(name, value)

    @property
    def target(self) -> str:
        """Path and query, as they are sent after the base address."""
        return self.path + ("?" + urlencode(self.query, quote_via=quote) if self.query else "")

    @property
    def content(self) -> bytes | None:
        """The body's bytes, or None for no body."""
        if self.raw_body is not None:
            return self.raw_body
        return None if self.json_body is None else orjson.dumps(self.json_body)

    def with_header(self, name: str, value: str) -> "HttpRequest":
        """The same request with one header more (such as `if-none-match`)."""
        return replace(self, headers=(*self.headers, (name, value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """One complete answer. Header names are in lower case; `body` is decompressed; `received_at` is by our clock."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    received_at: datetime | None = None

    def header(self, name: str) -> str | None:
        """The first header of that name (in lower case)."""
        return next((value for each, value in self.headers if each == name), None)


class Http(Protocol):
    """The port of a handler: it reaches the connection's own service, authenticated, and nothing else."""

    async def request(self, request: HttpRequest) -> HttpResponse:
        """Send once and return the whole answer, whatever its status. Raises InterlockError if there was none."""
        ...


def check_path(path: str) -> None:
    """Raises ValueError unless the text is a plain absolute path below the service's base address."""
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"the path {path[:100]!r} must start with exactly one slash")
    if not _PATH.fullmatch(path):
        raise ValueError(f"the path {path[:100]!r} holds characters that must be escaped")
    if _CLIMBS.search(path):
        raise ValueError(f"the path {path[:100]!r} holds a segment that climbs")


def check_target(target: str) -> None:
    """As `check_path`, for a path that may have a query."""
    path, mark, query = target.partition("?")
    check_path(path)
    if mark and not _QUERY.fullmatch(query):
        raise ValueError(f"the query {query[:100]!r} is empty, or holds characters that must be escaped")


def check_header(name: str, value: str) -> None:
    """Raises ValueError for a header that a connector must not set or that would break the message."""
    if name.lower() in FORBIDDEN_HEADERS:
        raise ValueError(f"the header {name!r} belongs to the credential or to the connection")
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name[:50]!r} is no header name")
    if not is_header_value(value):
        raise ValueError(f"the value of the header {name!r} has characters or a length that headers cannot have")


def is_header_value(text: str) -> bool:
    """Whether a header may have this value: visible ASCII, blanks only inside."""
    return len(text) <= MAX_HEADER_VALUE and _HEADER_VALUE.fullmatch(text) is not None


def as_pairs(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Headers as they stand in requests, sorted by name."""
    return tuple(sorted((name.lower(), value) for name, value in headers.items()))
