"""Cuts output into lines: each ends with LF, CRLF or a lone CR, and keeps its end, so that all of them together are all
that was written."""

import re
from collections.abc import Iterator
from typing import Final

_END: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")

MAX_LINE: Final = 1_048_576
"""Bytes; a longer line comes in pieces."""


class Lines:
    """The same lines however the bytes arrive."""

    def __init__(self, *, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that these bytes complete. A CR at the very end waits for what follows it."""
        self._rest += data
        begin = 0
        position = self._searched
        while True:
            match = _END.search(self._rest, position)
            end = len(self._rest) if match is None else match.end()
            while end - begin > self._limit:
                yield bytes(self._rest[begin : begin + self._limit])
                begin += self._limit
            if match is None:
                break
            yield bytes(self._rest[begin:end])
            begin = position = end
        del self._rest[:begin]
        self._searched = max(len(self._rest) - 1, 0)

    def finish(self) -> Iterator[bytes]:
        """What is left when nothing more comes."""
        if self._rest:
            yield bytes(self._rest)
            self._rest.clear()
            self._searched = 0
