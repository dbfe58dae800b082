"""Where one message ends and the next begins in a stream of bytes, decided without I/O."""

import re
from collections.abc import Iterator
from typing import Final, Literal, Protocol, TypeAlias

MAX_HEADER: Final = 4096
"""The longest header that stands before a message, in bytes."""

FramingName: TypeAlias = Literal["newline", "content-length"]
"""`newline`: one JSON text a line. `content-length`: each after a header of its own, as language servers speak."""

_LENGTH: Final = re.compile(r"[0-9]{1,12}")
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


class FramingError(Exception):
    """The bytes are not messages within the limits; what follows in the stream cannot be read either."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Framing(Protocol):
    """Cuts a stream into messages. Any split of the same bytes gives the same messages, and the same error after them."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that these bytes complete; read it to its end. Raises FramingError after those before the fault."""
        ...

    def finish(self) -> None:
        """The stream has ended. Raises FramingError if it ended within a message."""
        ...

    def encode(self, message: bytes) -> bytes:
        """The bytes of a message on the wire."""
        ...


def make_framing(name: FramingName, *, max_bytes: int) -> Framing:
    """The framing of that name. `max_bytes` bounds one message."""
    return LineFraming(max_bytes) if name == "newline" else HeaderFraming(max_bytes)


class LineFraming:
    """One message a line, ended by LF or CR LF. Empty lines are no messages."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        *ends, rest = data.split(b"\n")
        for end in ends:
            line = self._take(end).removesuffix(b"\r")
            if len(line) > self._max_bytes:
                raise _too_large(self._max_bytes)
            if line.strip():
                yield line
        self._line += rest
        if len(self._line) > self._max_bytes + 1:  # the last byte may be the CR before the LF
            raise _too_large(self._max_bytes)

    def _take(self, end: bytes) -> bytes:
        if not self._line:
            return end
        line = bytes(self._line + end)
        self._line.clear()
        return line

    def finish(self) -> None:
        if self._line.strip():
            raise _cut_off()

    def encode(self, message: bytes) -> bytes:
        # JSON keeps line ends out of its strings, so whatever ends a line here only lays it out.
        return message.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


class HeaderFraming:
    """`Content-Length: N` and other header lines, an empty line, then N bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._length: int | None = None
        """Of the message whose header was read."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        position = 0
        while True:
            if self._length is None:
                end = self._buffer.find(b"\r\n\r\n", position, position + MAX_HEADER + 4)
                if end < 0:
                    break
                self._length = self._read(bytes(self._buffer[position:end]))
                position = end + 4
            if len(self._buffer) - position < self._length:
                break
            yield bytes(self._buffer[position : position + self._length])
            position += self._length
            self._length = None
        del self._buffer[:position]
        if self._length is None and len(self._buffer) >= MAX_HEADER + 4:
            raise FramingError("header_too_large", f"a message's header is longer than {MAX_HEADER} bytes")

    def _read(self, header: bytes) -> int:
        lengths: list[str] = []
        for line in header.decode("latin-1").split("\r\n"):
            name, colon, value = line.partition(":")
            name, value = name.lower(), value.strip(" \t")
            if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
                raise FramingError("bad_header", "a line of a message's header is not `Name: value`")
            if name == "content-length":
                lengths.append(value)
            elif name == "content-type":
                charset = _CHARSET.search(value)
                if charset and charset[1].lower() not in {"utf-8", "utf8"}:
                    raise FramingError("bad_header", "a message's header names a character set other than UTF-8")
        if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
            raise FramingError("bad_header", "a message's header needs one Content-Length, a number of bytes")
        if int(lengths[0]) > self._max_bytes:
            raise _too_large(self._max_bytes)
        return int(lengths[0])

    def finish(self) -> None:
        if self._buffer or self._length is not None:
            raise _cut_off()

    def encode(self, message: bytes) -> bytes:
        return b"Content-Length: %d\r\n\r\n%b" % (len(message), message)


def _too_large(limit: int) -> FramingError:
    return FramingError("message_too_large", f"a message is larger than {limit} bytes")


def _cut_off() -> FramingError:
    return FramingError("message_cut_off", "the stream ended within a message")
