"""Finish what was started: an awaitable that cancellation does not reach."""

from collections.abc import Awaitable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def shielded(work: Awaitable[T]) -> T:
    """Wait for the work to its end, whatever happens to the caller. A cancelled caller notices at its next wait."""
    done: list[T] = []
    with anyio.CancelScope(shield=True):
        done.append(await work)
    return done[0]
