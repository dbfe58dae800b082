"""Reading an answer within limits, on the wire and after decompression."""

import zlib
from typing import Final

from interlock import plane

_GZIP: Final = 16 + zlib.MAX_WBITS


class Body:
    """A body as it arrives. `coding` is the Content-Encoding; gzip is the only one that the lane asks for.

    Raises plane.LaneFailure: `response_too_large` beyond `limit` bytes, encoded or decoded (a bomb is not unpacked
    first), `protocol_error` for a coding or a stream that cannot be read.
    """

    def __init__(self, *, coding: str, limit: int) -> None:
        if coding not in {"", "identity", "gzip", "x-gzip"}:
            raise _unreadable(f"the content coding {coding[:40]!r}, which was not asked for")
        self._inflater = _Inflater(limit) if coding.endswith("gzip") else None
        self._limit = limit
        self._received = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._received += len(data)
        if self._received > self._limit:
            raise too_large(self._limit)
        self._parts.append(data if self._inflater is None else self._inflater.feed(data))

    @property
    def is_coded(self) -> bool:
        """Whether it may become larger than it arrives."""
        return self._inflater is not None

    def take(self) -> bytes:
        """What is there, decoded; it is not kept."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def finish(self) -> None:
        """Nothing more arrives: is it whole?"""
        if self._inflater is not None and self._received:
            self._inflater.finish()

    def whole(self) -> bytes:
        """All of it, decoded, once nothing more arrives."""
        self.finish()
        return self.take()


def too_large(limit: int) -> plane.LaneFailure:
    """The failure of an answer beyond the limit."""
    return plane.LaneFailure(plane.FailureClass.RESPONSE_TOO_LARGE, f"the answer is larger than {limit} bytes")


class _Inflater:
    """Gunzips step by step, one or several members, and stops at the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._member = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                part = self._member.decompress(data, self._limit - self._size + 1)
            except zlib.error as error:
                raise _unreadable("damaged gzip data") from error
            self._size += len(part)
            if self._size > self._limit:
                raise too_large(self._limit)
            parts.append(part)
            data = self._member.unused_data or self._member.unconsumed_tail
        return b"".join(parts)

    def finish(self) -> None:
        if not self._member.eof:
            raise _unreadable("gzip data without its end")


def _unreadable(what: str) -> plane.LaneFailure:
    return plane.LaneFailure(plane.FailureClass.PROTOCOL_ERROR, f"the answer has {what}", code="undecodable_body")
