"""The ledger is the truth: what is due there, and in no queue, is put into it again."""

import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from interlock import runs
from interlock.dispatch.pausing import Pausing
from interlock.dispatch.queue import Job, Queue
from interlock.dispatch.records import Records
from interlock.kernel import Tx

GRACE: Final = timedelta(seconds=10)
"""How long work may be due before it is asked whether the queue still has it."""

PAGE: Final = 500
"""How many pieces of work one look takes in."""

QUEUE_AGE: Final = "queue_age_s"
"""The reading that says for how long the oldest work that is due has waited."""

LOOK_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Sweeping:
    """Finds what any queue lost. Safe in any number of processes at any time."""

    def __init__(self, wiring: runs.Wiring, records: Records, queue: Queue, pausing: Pausing) -> None:
        self._wiring = wiring
        self._records = records
        self._queue = queue
        self._pausing = pausing
        self._noted: tuple[str, frozenset[str]] | None = None

    async def sweep(self) -> int:
        """Put what is missing into the queue, and let go what a pause held that is over; how much that was. Raises StoreError."""
        found, last = 0, None
        before = self._wiring.clock.now() - GRACE
        while page := await self._wiring.store.read(
            lambda tx, last=last: self._records.list_due(tx, before=before, after=last, limit=PAGE)
        ):
            jobs = [due.job for due in page]
            if await self._wiring.store.read(lambda tx, jobs=jobs: self._queue.find_missing(tx, jobs)):

                def put(tx: Tx, jobs: list[Job] = jobs) -> int:
                    missing = self._queue.find_missing(tx, jobs)
                    self._queue.put(tx, missing)
                    return len(missing)

                found += await self._wiring.store.write(put)
            if len(page) < PAGE:
                break
            last = page[-1]
        for tenant_id, why in await self._wiring.store.read(lambda tx: self._records.list_released(tx, limit=PAGE)):
            found += await self._pausing.release(tenant_id, why)
        if found:
            _log.warning("%d pieces of work that were due were in no queue, and are handed out now", found)
        return found

    async def look(self) -> None:
        """Feed the reading of how long work waits, for policy. Raises StoreError."""
        now = self._wiring.clock.now()

        def find(tx: Tx) -> datetime | None:
            # What no worker could begin, such as work for a handler that nobody has, says nothing of how busy they are. Without
            # any worker, all work waits.
            return self._queue.oldest(tx, now, lanes=self._records.list_served(tx) or None)

        oldest = await self._wiring.store.read(find)
        self._wiring.pressure.feed(QUEUE_AGE, 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()))

    async def note(self, lanes: Collection[str]) -> None:
        """This process serves those lanes. Raises StoreError."""
        ownership = self._wiring.ownership
        if self._noted != (ownership.owner_id, frozenset(lanes)) or ownership.remaining() <= 0:
            await ownership.begin()
            owner_id = ownership.owner_id
            await self._wiring.store.write(lambda tx: self._records.note_lanes(tx, owner_id, lanes))
            self._noted = owner_id, frozenset(lanes)

    async def watch(self) -> None:
        """Look for ever, where nobody works."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("the age of the queue will be read again: %s", error)
            await self._wiring.clock.sleep(LOOK_SECONDS)

    async def keep(self, lanes: Collection[str]) -> None:
        """For a worker of those lanes: look and sweep for ever. A store that fails is asked again."""
        clock = self._wiring.clock
        swept = clock.monotonic() - SWEEP_SECONDS
        while True:
            try:
                await self.note(lanes)
                await self.look()
                if clock.monotonic() - swept >= SWEEP_SECONDS:
                    await self.sweep()
                    swept = clock.monotonic()
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("what is due will be looked over again: %s", error)
            await clock.sleep(LOOK_SECONDS)
