"""Server-sent events, read as they come."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from interlock.client.errors import NotInterlock

MAX_EVENT: Final = 16 * 2**20
"""Bytes of an event."""


async def read_events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[tuple[str, bytes]]:
    """The name and the data of each event of ours: a line each. An event that breaks off is none. Raises NotInterlock."""
    waiting = bytearray()
    async for piece in pieces:
        looked = max(0, len(waiting) - 1)
        waiting += piece
        while (end := waiting.find(b"\n\n", looked)) >= 0:
            lines = bytes(waiting[:end]).split(b"\n")
            del waiting[: end + 2]
            looked = 0
            members = dict(line.split(b": ", 1) for line in lines if b": " in line and not line.startswith(b":"))
            if b"data" in members:
                yield members.get(b"event", b"message").decode("ascii", "replace"), members[b"data"]
        if len(waiting) > MAX_EVENT:
            raise NotInterlock(f"the server tells an event of more than {MAX_EVENT} bytes")
