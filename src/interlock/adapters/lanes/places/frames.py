"""Frames between a node and the far side of a placement. It runs on both, there with the standard library alone.

A frame is a length of four bytes, big-endian, then a letter and its data. Once both sides share keys, each frame ends in a
mark over its number and content (HMAC-SHA256), so that none can be changed, repeated, left out or put in by whoever carries
them. They can be read: a mark is no cipher.
"""

import hmac
from collections.abc import Iterator
from typing import Final

MAX_FRAME: Final = 131_072
"""Bytes of a frame after its length."""

CHUNK: Final = 65_536
"""Bytes of a stream in one frame."""

WINDOW: Final = 262_144
"""Bytes of one stream that may be under way before the reader has taken them."""

_LENGTH: Final = 4
_MARK: Final = 32


class BadFrame(Exception):
    """What came is not what the other side may send."""


class Frames:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._keys: tuple[bytes, bytes] | None = None
        self._sent = 0
        self._received = 0

    def seal(self, *, ours: bytes, theirs: bytes) -> None:
        """From now on every frame is marked, in each direction under its own key."""
        self._keys = ours, theirs

    def encode(self, kind: bytes, data: bytes = b"") -> bytes:
        """A frame to be sent, after all that were encoded before."""
        content = kind + data
        if self._keys is not None:
            content += _mark(self._keys[0], self._sent, content)
            self._sent += 1
        return len(content).to_bytes(_LENGTH, "big") + content

    def feed(self, data: bytes | bytearray) -> Iterator[tuple[bytes, bytes]]:
        """The frames that these bytes complete, one by one, as letter and data. Raises BadFrame."""
        self._rest += data
        while len(self._rest) >= _LENGTH:
            length = int.from_bytes(self._rest[:_LENGTH], "big")
            if not 1 <= length <= MAX_FRAME:
                raise BadFrame(f"a frame of {length} bytes; it may have 1 to {MAX_FRAME}")
            if len(self._rest) < _LENGTH + length:
                return
            content = bytes(self._rest[_LENGTH : _LENGTH + length])
            del self._rest[: _LENGTH + length]
            yield self._open(content)

    def _open(self, content: bytes) -> tuple[bytes, bytes]:
        if self._keys is not None:
            content, mark = content[:-_MARK], content[-_MARK:]
            if not content or not hmac.compare_digest(mark, _mark(self._keys[1], self._received, content)):
                raise BadFrame("a frame does not bear the mark of the other side")
            self._received += 1
        return content[:1], content[1:]


def _mark(key: bytes, number: int, content: bytes) -> bytes:
    return hmac.digest(key, number.to_bytes(8, "big") + content, "sha256")
