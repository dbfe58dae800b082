"""Requests to the server, each sent once."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx2
import orjson

from interlock.client.errors import AnswerLost, NotInterlock, ServerUnreachable, raised
from interlock.client.streams import read_events
from interlock.kernel import (
    JSON,
    UNTRACED,
    VERSION,
    ConfigurationError,
    InterlockError,
    Secret,
    Tracing,
    read_document,
    to_rfc3339,
)

T = TypeVar("T")

MAX_ANSWER: Final = 128 * 2**20
"""Bytes of an answer."""

SECONDS: Final = 60.0
"""How long an answer may take, beside the time that a call is given."""

CONNECTING: Final = 10.0

_PROBLEM: Final = "application/problem+json"
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


class Link:
    """The way to one server."""

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        """`transport` takes the place of the network, for tests. Raises ConfigurationError for an address that is none, or over
        which the token would go in the clear."""
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ConfigurationError(f"the server's address is http://HOST:PORT or https://HOST, not {url[:80]!r}")
        if parts.scheme == "http" and parts.hostname not in _LOCAL:
            raise ConfigurationError(f"the token would go to {parts.hostname} in the clear: use https")
        self._tracing = tracing
        self._http = httpx2.AsyncClient(
            base_url=url.rstrip("/") + "/v1",
            headers={"Authorization": f"Bearer {token.reveal()}", "User-Agent": f"interlock/{VERSION}"},
            timeout=httpx2.Timeout(SECONDS, connect=CONNECTING),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def aclose(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def get(self, path: str, **query: object) -> JSON:
        """A document. Raises what the server says, and ServerUnreachable."""
        return _parsed(await self.content(path, **query))

    async def content(self, path: str, **query: object) -> bytes:
        """What is answered, as it is."""
        params = {name: _text(value) for name, value in query.items() if value is not None and value != ()}
        _, content = await self._ask("GET", path, params=params)
        return content

    async def post(
        self, path: str, told: Mapping[str, object], *, key: str | None = None, seconds: float = SECONDS
    ) -> JSON:
        """A document, of what is done by that. Raises what the server says, ServerUnreachable, and AnswerLost."""
        body = orjson.dumps({name: value for name, value in told.items() if value is not None}, default=_plain)
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        timeout = httpx2.Timeout(seconds + SECONDS, connect=CONNECTING)
        _, content = await self._ask("POST", path, content=body, headers=headers, timeout=timeout)
        return _parsed(content)

    async def events(
        self, path: str, told: Mapping[str, object], *, key: str | None = None
    ) -> AsyncGenerator[tuple[str, JSON]]:
        """The events of a stream that is begun by that, by their names; one that is called `error` is raised. Raises what the
        server says, ServerUnreachable, and AnswerLost for a stream that breaks off."""
        body = orjson.dumps({name: value for name, value in told.items() if value is not None}, default=_plain)
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        if (trace := self._tracing.traceparent()) is not None:
            headers["traceparent"] = trace
        with self._network("POST"):
            async with self._http.stream("POST", path, content=body, headers=headers) as answer:
                if _kind(answer) != "text/event-stream":
                    raise _refusal("POST", answer, await _whole(answer))
                async with aclosing(read_events(answer.aiter_bytes())) as events:
                    async for name, data in events:
                        if name == "error":
                            raise raised(members(_parsed(data)))
                        yield name, _parsed(data)

    async def _ask(self, method: str, path: str, **given: Any) -> tuple[int, bytes]:
        facts = {"http.request.method": method, "server.address": self._http.base_url.host}
        with self._tracing.span(method, role="client", facts=facts) as span:
            if (told := self._tracing.traceparent()) is not None:
                given["headers"] = {**given.get("headers", {}), "traceparent": told}
            status, content = await self._answer(method, path, **given)
            span.note({"http.response.status_code": status})
            return status, content

    async def _answer(self, method: str, path: str, **given: Any) -> tuple[int, bytes]:
        with self._network(method):
            async with self._http.stream(method, path, **given) as answer:
                content = await _whole(answer)
        if (
            answer.status_code not in (200, 202, 403, 429)
            or (answer.status_code >= 400 and _kind(answer) != "application/json")
            or _kind(answer) == _PROBLEM
        ):
            raise _refusal(method, answer, content)
        return answer.status_code, content

    @contextmanager
    def _network(self, method: str) -> Generator[None]:
        """What goes wrong on the way. Raises ServerUnreachable, AnswerLost."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol) as error:
            raise ServerUnreachable(f"{self._http.base_url.host} cannot be reached: {error}") from error
        except httpx2.HTTPError as error:
            message = f"{self._http.base_url.host} did not answer: {error or type(error).__name__}"
            raise (ServerUnreachable if method == "GET" else AnswerLost)(message) from error


def _kind(answer: httpx2.Response) -> str:
    return answer.headers.get("content-type", "").partition(";")[0]


async def _whole(answer: httpx2.Response) -> bytes:
    """Raises NotInterlock for more than there may be."""
    parts, size = list[bytes](), 0
    async for part in answer.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise NotInterlock(f"the server answers with more than {MAX_ANSWER} bytes")
    return b"".join(parts)


def _refusal(method: str, answer: httpx2.Response, content: bytes) -> InterlockError:
    """What the server says instead of an answer."""
    if _kind(answer) == _PROBLEM:
        told = _parsed(content)
        return raised(cast("Mapping[str, JSON]", told) if isinstance(told, Mapping) else {})
    problem = f"the server answers with the status {answer.status_code}, and no document of ours"
    if method != "GET" and answer.status_code >= 500:  # of what stands between, which may have handed it on
        return AnswerLost(problem)
    return NotInterlock(problem)


def part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def value(kind: type[T], told: Any) -> T:
    """The value that a document tells. Raises NotInterlock."""
    with reading(kind.__name__):
        return read_document(kind, told)


def members(told: JSON) -> dict[str, Any]:
    """Those of a document, for one that is told in another way than it is made. Raises NotInterlock."""
    if not isinstance(told, Mapping):
        raise NotInterlock("the server answers with no object")
    return {**told}


@contextmanager
def reading(what: str) -> Generator[None]:
    """A document is made a value of. Raises NotInterlock where it is none."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotInterlock(f"the server answers with no {what}: {error}") from error


def rows(told: JSON, name: str) -> list[JSON]:
    """The members of a page. Raises NotInterlock."""
    found = told.get(name) if isinstance(told, Mapping) else None
    if not isinstance(found, list):
        raise NotInterlock(f"the server answers with no list of {name}")
    return found


def _parsed(content: bytes) -> JSON:
    try:
        return cast("JSON", orjson.loads(content))
    except orjson.JSONDecodeError as error:
        raise NotInterlock("the server answers with no JSON") from error


def _text(given: object) -> Any:
    return [_plain(each) for each in cast("tuple[object, ...]", given)] if isinstance(given, tuple) else _plain(given)


def _plain(given: object) -> Any:
    """What orjson does not know by itself."""
    if isinstance(given, Secret):
        return given.reveal()  # it leaves for the server, which seals it
    if isinstance(given, frozenset | set):
        return sorted(cast("set[str]", given))
    return to_rfc3339(given) if isinstance(given, datetime) else given
