"""Server-sent events, as the HTML standard reads them (§9.2.6): bytes in, in any pieces; events out."""

import codecs
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_RETRY_MS: Final = 86_400_000
"""The longest time to wait before a reconnect that a stream can ask for; what is longer counts as this."""

MIN_RETRY_MS: Final = 100
"""The shortest one: a stream that asks for less, and ends at once each time, would have its reader do nothing else."""


class ServerEvent(NamedTuple):
    """One event. `data` is UTF-8; `event_id` is the last id that the stream has named so far, which need not be here."""

    event: str
    data: bytes
    event_id: str


class EventTooLarge(ValueError):
    """An event, or one line of it, has more bytes than are allowed."""


class EventStream:
    """Reads one stream. What a connection leaves incomplete at its end is no event, and is never given out.

    The last id outlives the connection: a next one begins with it, as browsers do. Bytes that are not UTF-8 become U+FFFD.
    """

    def __init__(self, *, max_event_bytes: int, last_event_id: str = "") -> None:
        self._limit = max_event_bytes
        self._line = bytearray()
        self._first = True
        self._after_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._event = b""
        self._id = last_event_id
        self._retry_ms: int | None = None
        self._last_event_id = last_event_id

    @property
    def last_event_id(self) -> str:
        """Where to resume after the last event that was given out; empty for the beginning."""
        return self._last_event_id

    @property
    def retry_ms(self) -> int | None:
        """How long to wait before a reconnect, if the stream has said so."""
        return self._retry_ms

    def feed(self, data: bytes) -> Iterator[ServerEvent]:
        """The events that these bytes complete. To be read to the end before the next piece; each event's id counts as the
        last one only once it is given out. Raises EventTooLarge."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        for line in data.splitlines(keepends=True):  # of bytes: at CR, LF and CRLF, as the standard has it
            body = line.rstrip(b"\r\n")
            if len(self._line) + len(body) > self._limit:
                raise self._too_large()
            if len(body) == len(line):
                self._line += body
                return
            if self._line:
                body = bytes(self._line) + body
                self._line.clear()
            if self._first:
                self._first = False
                body = body.removeprefix(codecs.BOM_UTF8)
            event = self._take(body)
            if event is not None:
                yield event
        self._after_cr = data.endswith(b"\r")

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._limit + 1:
                raise self._too_large()
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            digits = value.lstrip(b"0") or b"0"
            asked = MAX_RETRY_MS if len(digits) > 8 else int(digits)
            self._retry_ms = max(MIN_RETRY_MS, min(asked, MAX_RETRY_MS))
        return None

    def _dispatch(self) -> ServerEvent | None:
        self._last_event_id = self._id
        data, event = self._data, self._event
        self._data, self._size, self._event = [], 0, b""
        if not data:
            return None
        return ServerEvent(event.decode("utf-8", "replace") or "message", _clean(b"\n".join(data)), self._id)

    def _too_large(self) -> EventTooLarge:
        return EventTooLarge(f"an event has more than {self._limit} bytes")


def _clean(data: bytes) -> bytes:
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data
