"""What wakes those who wait for jobs, so that nobody polls."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol


class Bell(Protocol):
    """Rings when a job may have been put."""

    async def listen(self, ring: Callable[[], None]) -> None:
        """Call `ring`, on this event loop, whenever it rings, until cancelled. It may ring for nothing; who listens looks now
        and then all the same."""
        ...


class LocalBell:
    """For those of one process. Rung from any thread, also before the commit: on SQLite who then looks comes after it."""

    def __init__(self) -> None:
        self._listeners = set[Callable[[], None]]()

    def ring(self) -> None:
        """Wake them all."""
        for wake in tuple(self._listeners):
            wake()

    async def listen(self, ring: Callable[[], None]) -> None:
        """As `Bell.listen`."""
        with self._listening(ring):
            await asyncio.get_running_loop().create_future()

    @contextmanager
    def _listening(self, ring: Callable[[], None]) -> Generator[None]:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(ring)
            except RuntimeError:  # the loop was closed: nobody waits there any more
                return

        self._listeners.add(wake)
        try:
            yield
        finally:
            self._listeners.discard(wake)
