"""A process's hold on its work: a short lease that it renews, so that others can tell when it has died."""

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias

import anyio

from interlock.kernel import Clock, IdSource, Store, StoreError, Tx
from interlock.runs.ledger import Ledger
from interlock.runs.model import Attempt, Owner

BEATS = 5
"""How often an owner beats in each lease: so a commit may take four fifths of one before the owner counts as dead."""

MARGIN = 0.1
"""The part of a lease, at its end, in which nothing more is sent: what a process may be held up between its last look at the
clock and its bytes, and what clocks may differ in speed."""

Renewal: TypeAlias = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)


class Ownership:
    """This process as an owner of attempts. `begin` before the first attempt, `keep` as a background task, `end` last.

    Nothing may be sent under a lease that has lapsed: by then another process may have taken the work over. So
    `may_send` bounds the authority of every send and is asked again before any bytes leave, and a process that lets its
    lease lapse (it was frozen, say) comes back under a new owner id: `may_send` then says no for the attempts of the old one.

    It also knows which runs this process is really at work on (`working`): an attempt that the ledger says is running here,
    and that nobody here works on, was left behind by an error and may be recovered although the process lives.
    """

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        lease: timedelta,
        host: str = "",
        process: str = "",
    ) -> None:
        """`host` and `process` say to people where the owner runs."""
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._lease = lease
        now = clock.now()
        self._owner = Owner(owner_id=ids.new("own"), host=host, process=process, started_at=now, beat=0, lease=lease)
        self._renewed = clock.monotonic() - lease.total_seconds()
        self._begun = False
        self._renewing = anyio.Lock()
        self._at_work = Counter[str]()
        self._renewals = set[Renewal]()
        self._failed_at: tuple[float, datetime] | None = None
        self.mute_until = -math.inf
        """The monotonic moment at which this process last tried to beat, or to hear the others, and the store failed."""

    @property
    def owner_id(self) -> str:
        """The id under which this process's attempts run."""
        return self._owner.owner_id

    def remaining(self) -> float:
        """Seconds for which the hold is certain, by the clock that cannot jump. Not above zero: it has lapsed."""
        return self._lease.total_seconds() - (self._clock.monotonic() - self._renewed)

    def may_send(self, owner_id: str) -> float:
        """Seconds for which attempts of that owner may still send. Not above zero: they may not."""
        if owner_id != self._owner.owner_id:
            return 0.0
        return self.remaining() - self._lease.total_seconds() * MARGIN

    # -- what this process does

    @property
    def at_work(self) -> frozenset[str]:
        """The runs that this process is at work on."""
        return frozenset(self._at_work)

    @contextmanager
    def working(self, run_id: str) -> Generator[None]:
        """This process is at work on the run: from before its attempt is committed until after that has ended. That the store
        failed it is noted."""
        self._at_work[run_id] += 1
        try:
            yield
        except StoreError:
            self.note_failure()
            raise
        finally:
            self._at_work[run_id] -= 1
            if not self._at_work[run_id]:
                del self._at_work[run_id]

    @contextmanager
    def renewing(self, renewal: Renewal) -> Generator[None]:
        """Let `keep` renew something else together with the lease: a budget's slot lives as long as its call."""
        self._renewals.add(renewal)
        try:
            yield
        finally:
            self._renewals.discard(renewal)

    @property
    def renewals(self) -> tuple[Renewal, ...]:
        """What `keep` renews besides the lease."""
        return tuple(self._renewals)

    def note_failure(self) -> None:
        """The store could not be written just now."""
        self._failed_at = self._clock.monotonic(), self._clock.now()

    def note_silence(self) -> None:
        """The store failed just now, and would have failed whoever beats."""
        self.note_failure()
        self.mute_until = self._clock.monotonic()

    def failed_since(self, moment: float) -> bool:
        """Whether the store has failed this process since that monotonic moment."""
        return self._failed_at is not None and self._failed_at[0] >= moment

    def failed_during(self, attempt: Attempt) -> bool:
        """Whether the store has failed this process since it began that attempt: its own, by its own clock."""
        return self._failed_at is not None and self._failed_at[1] >= attempt.started_at

    # -- the lease

    async def begin(self) -> None:
        """Take the lease, unless it is held. Raises StoreError."""
        if self.remaining() > 0:
            return
        async with self._renewing:
            if self.remaining() <= 0:
                await self._renew()

    async def renew(self) -> None:
        """Beat once more. Raises StoreError."""
        async with self._renewing:
            await self._renew()

    async def _renew(self) -> None:
        before = 0.0
        lapsed = self._begun and self.remaining() <= 0
        owner = replace(
            self._owner,
            owner_id=self._ids.new("own") if lapsed else self._owner.owner_id,
            beat=self._owner.beat + 1,
        )

        def beat(tx: Tx) -> None:
            nonlocal before
            # The certain time counts from before anybody can see the beat, so that a slow commit cannot stretch it.
            before = self._clock.monotonic()
            self._ledger.renew_owner(tx, owner)

        await self._store.write(beat, urgent=True)
        if self._begun and not lapsed and self.remaining() <= 0:
            # It lapsed while the store was slow: what went on without this process must not be taken up again.
            await self._renew()
            return
        self._owner = owner
        self._renewed = before
        self._begun = True

    async def keep(self) -> None:
        """Beat for ever, and beside that renew what goes with the lease, so that neither waits for the other. A store that
        fails is asked again: the lease lapses by itself."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._every_beat, self._beat)
            tasks.start_soon(self._every_beat, self._renew_others)

    async def _every_beat(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do it for ever, the pauses counted from the start of the last time: how long it takes must not add up."""
        while True:
            due = self._clock.monotonic() + self._lease.total_seconds() / BEATS
            try:
                await act()
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("cannot renew the lease of %s: %s", self.owner_id, error)
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))

    async def _beat(self) -> None:
        if self._begun:  # who only reads owns nothing, and writes nothing
            try:
                await self.renew()
            except StoreError:
                self.note_silence()
                raise

    async def _renew_others(self) -> None:
        for renewal in self.renewals:
            try:
                await renewal()
            except Exception as error:  # noqa: BLE001 - the others are due all the same
                _log.warning("cannot renew a slot of %s: %s", self.owner_id, error)

    async def end(self) -> None:
        """Give the lease up. Attempts that are still running then count as lapsed at once, so nothing may be sent from
        now on, whatever becomes of the commit."""
        if self._begun:
            self._begun = False
            self._renewed = self._clock.monotonic() - self._lease.total_seconds()
            await self._store.write(lambda tx: self._ledger.drop_owner(tx, self._owner.owner_id))
