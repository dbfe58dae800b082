"""A worker: takes jobs from the queue and gives each to what carries out its lane."""

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol

import anyio

from interlock.dispatch.claiming import Claiming, Seen
from interlock.dispatch.queue import Job, Queue

_log = logging.getLogger(__name__)

AT_ONCE = 16
"""How many jobs a worker carries out side by side, unless told otherwise."""


class Executor(Protocol):
    """Carries out the jobs of some lanes."""

    @property
    def lanes(self) -> frozenset[str]:
        """Which lanes."""
        ...

    async def execute(self, job: Job, seen: Seen | None = None) -> None:
        """Do what the job is about, with what was seen of it when it was taken, if it is still to be done, and record what came
        of it: then return. What it raises has the job handed over again, so that is for a store that fails. It is cancelled to
        make the worker stop at once."""
        ...


class Worker:
    """Serves the lanes of its executors."""

    def __init__(
        self,
        queue: Queue,
        claiming: Claiming,
        executors: Iterable[Executor],
        *,
        beside: Iterable[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        """`beside`: what goes on for as long as it works."""
        self._queue = queue
        self._claiming = claiming
        self._beside = tuple(beside)
        self._by_lane: Mapping[str, Executor] = {lane: each for each in executors for lane in each.lanes}

    @property
    def lanes(self) -> frozenset[str]:
        """What it serves; other work waits for other workers."""
        return frozenset(self._by_lane)

    async def run(self, *, at_once: int = AT_ONCE) -> None:
        """Work until cancelled; then end what is begun, or have it handed to another worker."""
        async with anyio.create_task_group() as tasks:
            for each in self._beside:
                tasks.start_soon(each)
            await self._queue.serve(self.handle, lanes=self.lanes, at_once=at_once, look=self._claiming.look)

    async def handle(self, job: Job, seen: Seen | None = None) -> None:
        """One job. Raises what its executor raises."""
        try:
            await self._by_lane[job.lane].execute(job, seen)
        except Exception as error:
            _log.warning("%s will be handed over again: %s", job.work_id, error)
            raise
