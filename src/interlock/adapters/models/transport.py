"""The HTTP transport that providers' libraries are given: what they send leaves by the wire of the attempt, and by no other
way."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, cast

import httpx2
import orjson

from interlock import inference

_TAIL: Final = 256
"""How much of a stream is kept to see a mark that two pieces share."""


@dataclass(slots=True)
class Talk:
    """One request of one attempt: over which wire, with which options of the provider's, and whether what came was whole."""

    wire: inference.Wire
    options: Mapping[str, Any]
    ends: re.Pattern[bytes]
    streamed: bool = False
    ended: bool = False
    _tail: bytes = field(default=b"", repr=False)

    @property
    def was_cut(self) -> bool:
        """Whether it was a stream that ended before it had come to its end."""
        return self.streamed and not self.ended

    def saw(self, piece: bytes) -> None:
        """Look for the end's mark."""
        if not self.ended:
            together = self._tail + piece
            self.ended = self.ends.search(together) is not None
            self._tail = together[-_TAIL:]


CURRENT: ContextVar[Talk] = ContextVar("interlock_talk")
"""What the library is at, in this task."""


class WireTransport(httpx2.AsyncBaseTransport):
    """Sends over the wire of whoever is asking just now."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it, once. Raises what the wire raises."""
        talk = CURRENT.get()
        body = _with_options(await request.aread(), talk.options)
        sending = inference.Sending(
            method=request.method,
            url=str(request.url),
            headers=tuple((name, value) for name, value in request.headers.multi_items() if name not in _FRAMING),
            body=body,
            stream=True,
        )
        sent = talk.wire.send(sending)
        received = await sent.__aenter__()
        headers = [(name, value) for name, value in received.headers if name.lower() not in _FRAMING]
        talk.streamed = "event-stream" in dict(headers).get("content-type", "")
        return httpx2.Response(received.status, headers=headers, stream=_Body(received, sent, talk))


_FRAMING: Final = frozenset({"content-length", "content-encoding", "transfer-encoding", "connection", "host"})


class _Body(httpx2.AsyncByteStream):
    def __init__(
        self,
        received: inference.Received,
        sent: AbstractAsyncContextManager[inference.Received],
        talk: Talk,
    ) -> None:
        self._received = received
        self._sent: AbstractAsyncContextManager[inference.Received] | None = sent
        self._talk = talk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._received.pieces:
            self._talk.saw(piece)
            yield piece

    async def aclose(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None:
            await sent.__aexit__(None, None, None)


def _with_options(body: bytes, options: Mapping[str, Any]) -> bytes:
    """The request with a provider's options in it, as they are; objects are joined, so that one option does not end another."""
    if not options or not body:
        return body
    return orjson.dumps(_joined(cast("dict[str, Any]", orjson.loads(body)), options))


def _joined(into: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    whole = dict(into)
    for name, value in more.items():
        there = whole.get(name)
        both = isinstance(there, Mapping) and isinstance(value, Mapping)
        whole[name] = (
            _joined(cast("Mapping[str, Any]", there), cast("Mapping[str, Any]", value)) if both else plain(value)
        )
    return whole


def plain(value: Any) -> Any:
    """As JSON takes it: a spec's own values are frozen."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in cast("Mapping[Any, Any]", value).items()}
    return [plain(each) for each in cast("tuple[Any, ...]", value)] if isinstance(value, list | tuple) else value
