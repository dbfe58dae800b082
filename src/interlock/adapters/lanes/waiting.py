"""Waiting until something is so that callbacks of the event loop bring about."""

import asyncio
from collections.abc import Callable


class Waiting:
    """Any number of tasks that wait, and who tells them to look again. Nothing is done for a wait but the wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiters: set[asyncio.Future[None]] = set()

    async def until(self, done: Callable[[], bool], limit: float) -> None:
        """Wait until that is so. Raises TimeoutError after `limit` seconds."""
        ends = self._loop.time() + limit
        while not done():
            waiter = self._loop.create_future()
            self._waiters.add(waiter)
            timer = self._loop.call_at(ends, _expire, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiters.discard(waiter)

    def look(self) -> None:
        """Something has changed."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _expire(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
