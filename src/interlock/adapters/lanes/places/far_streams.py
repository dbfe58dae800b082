"""The streams of a far command, as a run holds those of one on this host."""

import struct
from typing import Final

from interlock.adapters.lanes.places.frames import CHUNK
from interlock.adapters.lanes.places.link import Link
from interlock.adapters.lanes.places.outpost import ERR, OUT

_NAMES: Final = {OUT: "stdout", ERR: "stderr"}


class FarStreams:
    """All streams of a far command."""

    def __init__(self, link: Link, *, terminal: bool) -> None:
        self._link = link
        self._input_ended = False
        self.terminal = terminal
        self.output = {_NAMES[stream]: source for stream, source in link.sources.items()}

    def given(self) -> None:
        """There is nothing to be closed here."""

    async def write(self, data: bytes) -> None:
        """As fast as the far command reads. Raises BrokenPipeError if it has ended."""
        view = memoryview(data)
        while view and not self._input_ended:
            if not await self._link.input_wanted():
                raise BrokenPipeError
            size = min(self._link.credit, CHUNK, len(view))
            self._link.credit -= size
            self._link.say(b"i", bytes(view[:size]))
            view = view[size:]

    def end_input(self) -> None:
        """Nothing more is written. Again is harmless."""
        if not self._input_ended and not self.terminal:
            self._link.say(b"z")
        self._input_ended = True

    def resize(self, rows: int, columns: int) -> None:
        """Another size of the terminal."""
        self._link.say(b"t", struct.pack("!HH", rows, columns))
