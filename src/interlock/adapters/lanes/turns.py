"""Fairness: a loop over what has already arrived has nothing to wait for, and would keep all others waiting."""

from typing import Final

import anyio.lowlevel

_STRIDE: Final = 64

SLICE: Final = 4_096
"""Bytes that are taken apart at once where each few of them may be a message."""


class Turns:
    """Counts small things, and lets others have a turn after so many."""

    def __init__(self) -> None:
        self._left = _STRIDE

    async def take(self) -> None:
        """One more."""
        self._left -= 1
        if not self._left:
            self._left = _STRIDE
            await anyio.lowlevel.checkpoint()
