"""A queue over the rows of jobs in a store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from interlock import dispatch
from interlock.adapters.queues.bells import Bell
from interlock.adapters.queues.rows import Rows, later
from interlock.adapters.queues.serving import Serving
from interlock.kernel import Clock, IdSource, Store, Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long workers wait, in seconds."""

    lease: float = 6.0
    """How long a holder may be silent before another worker is handed its job."""

    drain: float = 30.0
    """How long jobs may go on after their worker was told to stop."""

    look: float | None = None
    """How often a worker looks for jobs even if no bell rings. None: as often as its database needs it."""


class StoredQueue:
    """Implements `dispatch.Queue`."""

    def __init__(
        self,
        store: Store,
        rows: Rows,
        bell: Bell,
        *,
        clock: Clock,
        ids: IdSource,
        timing: Timing,
        look_seconds: float,
    ) -> None:
        """`look_seconds` is for a timing that does not say how often to look."""
        self._store = store
        self._rows = rows
        self._bell = bell
        self._clock = clock
        self._ids = ids
        self._timing = timing
        self._look_seconds = look_seconds if timing.look is None else timing.look

    def put(self, tx: Tx, jobs: Sequence[dispatch.Job]) -> None:
        """As `dispatch.Queue.put`."""
        if jobs:
            self._rows.put(tx, jobs, now=self._clock.now())

    def withdraw(self, tx: Tx, work_ids: Sequence[str]) -> None:
        """As `dispatch.Queue.withdraw`."""
        if work_ids:
            self._rows.withdraw(tx, work_ids)

    def find_missing(self, tx: Tx, jobs: Sequence[dispatch.Job]) -> Sequence[dispatch.Job]:
        """As `dispatch.Queue.find_missing`."""
        return self._rows.find_missing(tx, jobs) if jobs else ()

    def oldest(self, tx: Tx, now: datetime, *, lanes: Collection[str] | None = None) -> datetime | None:
        """As `dispatch.Queue.oldest`."""
        both = None if lanes is None else [each for lane in sorted(lanes) for each in (lane, later(lane))]
        return self._rows.oldest(tx, lanes=both, now=now)

    async def serve(
        self,
        handle: dispatch.Handle[T],
        *,
        lanes: Collection[str],
        at_once: int,
        look: dispatch.Look[T] | None = None,
    ) -> None:
        """As `dispatch.Queue.serve`."""
        serving = Serving(
            handle,
            look,
            store=self._store,
            rows=self._rows,
            bell=self._bell,
            clock=self._clock,
            worker=self._ids.new("wrk"),
            lanes=lanes,
            at_once=at_once,
            lease_seconds=self._timing.lease,
            look_seconds=self._look_seconds,
            drain_seconds=self._timing.drain,
        )
        await serving.run()
