"""Two lanes on Postgres: each puts the work of many callers into one commit.

While one lane waits for the server, the other gathers; a lane goes when nothing is under way, or when as much waits as
is under way. So a lone caller never waits, and a crowd splits into two halves that keep client and server both busy.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from interlock.adapters.sql.errors import StoreClosed
from interlock.adapters.sql.waiting import Waiter, Work, deliver

LANES: Final = 2
_CAP = 256
"""The most callers in one commit."""


class Lane(Protocol):
    """One connection; every waiter that it is given has its result or its error afterwards."""

    def carry_out(self, batch: Sequence[Waiter]) -> None:
        """Do what they wait for."""
        ...

    def abandon(self, batch: Sequence[Waiter], error: BaseException) -> None:
        """It failed in a way that nobody foresaw."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Lanes:
    """Owns the lanes' threads. `submit` from any event loop; `close` waits for what was accepted."""

    def __init__(
        self,
        make: Callable[[], Lane],
        *,
        name: str,
        where: object,
        touches: Callable[[Waiter], set[object]] = lambda _: set(),
    ) -> None:
        """`touches`: what no two in one commit may have in common."""
        self._make = make
        self._where = where
        self._touches = touches
        self._queue: deque[Waiter] = deque()
        self._under_way = 0
        self._closed = False
        self._moved = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(LANES)
        ]
        for thread in self._threads:
            thread.start()

    async def submit(self, work: Work) -> object:
        """Have the work done and wait for its commit."""
        waiter = Waiter(work)
        with self._moved:
            if self._closed:
                raise StoreClosed(f"{self._where} is closed")
            self._queue.append(waiter)
            if self._due():
                self._moved.notify()
        return await waiter.wait()

    def close(self) -> None:
        """Commit what was accepted, then end the threads and the connections."""
        with self._moved:
            self._closed = True
            self._moved.notify_all()
        for thread in self._threads:
            thread.join()

    def _due(self) -> bool:
        return bool(self._queue) and (self._closed or len(self._queue) >= self._under_way)

    def _work(self) -> None:
        lane = self._make()
        while (batch := self._take()) is not None:
            try:
                lane.carry_out(batch)
            except BaseException as error:  # noqa: BLE001 - a lane that ended would leave all its callers waiting
                lane.abandon(batch, error)
            deliver(batch)
            with self._moved:
                self._under_way -= len(batch)
                if self._due() or self._closed:
                    self._moved.notify_all()
        lane.close()

    def _take(self) -> list[Waiter] | None:
        """Half of all there is, at least four, without two that touch the same. None: the end."""
        with self._moved:
            while not self._due():
                if self._closed:
                    return None
                self._moved.wait()
            wanted = min(max(4, (len(self._queue) + self._under_way + 1) // 2), _CAP)
            batch: list[Waiter] = []
            put_back: list[Waiter] = []
            touched: set[object] = set()
            while self._queue and len(batch) < wanted:
                waiter = self._queue.popleft()
                if waiter.gave_up:
                    continue
                marks = self._touches(waiter)
                if touched.isdisjoint(marks):
                    touched |= marks
                    batch.append(waiter)
                else:
                    put_back.append(waiter)
            self._queue.extendleft(reversed(put_back))
            self._under_way += len(batch)
            return batch
