"""HTTP/2 frames as they arrive, taken one by one: what the library below would let a hostile peer do is refused here."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

FRAME: Final = 16_384
"""Bytes of payload that a frame may have, in either direction (RFC 9113 §4.2: what nobody has to allow)."""

_HEADER: Final = 9
_MOST_BARREN: Final = 4_096

_DATA, _HEADERS, _SETTINGS, _PUSH, _GOAWAY, _CONTINUATION = 0x0, 0x1, 0x4, 0x5, 0x7, 0x9
_ACK, _END_HEADERS = 0x1, 0x4


class Violation(Exception):
    """The peer does not keep to HTTP/2. The message is in our own words."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer takes no more streams, and has done nothing with those above `last`."""

    last: int


class Frames:
    """Splits what arrives into whole frames. A frame that is too long is refused by its header, before it has come."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._greeted = False
        self._in_head = False
        self._barren = 0

    def add(self, data: bytes) -> None:
        """Take what has arrived."""
        self._begun += data

    @property
    def waiting(self) -> int:
        """Bytes that have arrived and not been taken."""
        return len(self._begun)

    def useful(self) -> None:
        """Something has got on: what came until now was no flood."""
        self._barren = 0

    def count(self) -> None:
        """A frame that brings nothing: pings, settings, resets, window updates, parts of heads and empty data cost the peer
        nothing. Raises Violation if there have been too many since something got on."""
        self._barren += 1
        if self._barren > _MOST_BARREN:
            raise Violation(f"the peer sent {_MOST_BARREN} frames that bring nothing", code="frame_flood")

    def take(self) -> Generator[bytes | GoAway]:
        """The frames that are there. Raises Violation.

        GOAWAY is read here: the library takes it for the end of all, and the streams that the peer has begun with are
        still answered (RFC 9113 §6.8).
        """
        while len(self._begun) >= _HEADER:
            size = int.from_bytes(self._begun[:3])
            kind, flags, stream = self._begun[3], self._begun[4], int.from_bytes(self._begun[5:9]) & 0x7FFF_FFFF
            if size > FRAME or not (self._greeted or (kind == _SETTINGS and not flags & _ACK)):
                raise Violation("the peer's answer is not HTTP/2")
            if len(self._begun) < _HEADER + size:
                return
            frame = bytes(self._begun[: _HEADER + size])
            del self._begun[: _HEADER + size]
            self._greeted = True
            self._check_order(kind, flags)
            if kind != _DATA or not size:
                self.count()
            if kind != _GOAWAY:
                yield frame
            elif stream or size < 8:
                raise Violation("the peer ends the connection in a way that cannot be read")
            else:
                yield GoAway(int.from_bytes(frame[9:13]) & 0x7FFF_FFFF)

    def _check_order(self, kind: int, flags: int) -> None:
        """A head that goes on over several frames has no others between them: the library does not see all of these."""
        if self._in_head is not (kind == _CONTINUATION):
            raise Violation("the peer mixes frames with a head that has not ended")
        if kind in (_HEADERS, _PUSH, _CONTINUATION):
            self._in_head = not flags & _END_HEADERS
