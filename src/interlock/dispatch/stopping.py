"""Hears of it when somebody wants work stopped that goes on in this process."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from interlock import runs
from interlock.kernel import StoreError

WATCH_SECONDS: Final = 1.0
"""How soon what is at work hears that somebody cancels it."""

_log = logging.getLogger(__name__)


class Stopping:
    """The work of a process, and how each piece of it is stopped."""

    def __init__(self, wiring: runs.Wiring) -> None:
        self._wiring = wiring
        self._at_work: dict[object, tuple[str, Callable[[], object]]] = {}
        """By nothing but who listens: a run may be worked on twice here, once its first attempt was taken for dead."""

    @contextmanager
    def heard(self, run_id: str, stop: Callable[[], object]) -> Generator[None]:
        """While the block lasts, `stop` is called if somebody cancels the run."""
        listener = object()
        self._at_work[listener] = (run_id, stop)
        try:
            yield
        finally:
            del self._at_work[listener]

    async def look(self) -> None:
        """See whether somebody does. Raises StoreError."""
        if at_work := frozenset(run_id for run_id, _ in self._at_work.values()):
            found = await self._wiring.store.read(lambda tx: self._wiring.ledger.find_cancelled(tx, at_work))
            for run_id, stop in tuple(self._at_work.values()):
                if run_id in found:
                    stop()

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                _log.info("whether somebody cancels is seen later: %s", error)
            await self._wiring.clock.sleep(WATCH_SECONDS)
