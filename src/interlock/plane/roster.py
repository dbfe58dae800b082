"""The executions that a node answers for: found by id and by key, counted while they run, forgotten when they are old."""

import heapq
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio

from interlock.kernel import Clock, StoreError
from interlock.plane.acceptance import Acceptance, Key
from interlock.plane.channel import EventLog, Inbox
from interlock.plane.client import ExecutionState, ExecutionStatus
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.receipt import Receipt


@dataclass(slots=True)
class Held:
    """One execution that a node answers for."""

    acceptance: Acceptance
    log: EventLog
    inbox: Inbox
    fence: int = 1
    receipt: Receipt | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    accepted: anyio.Event = field(default_factory=anyio.Event)
    refused: StoreError | None = None
    """Why it was never begun: its acceptance could not be kept."""

    def end(self, receipt: Receipt) -> None:
        """Tell everybody who waits for it."""
        self.receipt = receipt
        self.inbox.end()
        self.log.end(receipt)
        self.ended.set()

    def status(self) -> ExecutionStatus:
        """Where it stands."""
        kept, receipt = self.acceptance, self.receipt
        return ExecutionStatus(
            execution_id=kept.execution_id,
            intent_id=kept.intent_id,
            intent_digest=kept.intent_digest,
            state=ExecutionState.RUNNING if receipt is None else ExecutionState.of(receipt),
            fence=self.fence,
            target_id=kept.target_id,
            lane_id=kept.lane_id,
            accepted_at=kept.accepted_at,
            last_seq=self.log.last,
            input_open=self.inbox.open,
            receipt=receipt,
        )


class Roster:
    """All of them. Those that ended are kept for as long as `retain`."""

    def __init__(self, clock: Clock, *, capacity: int, retain: timedelta) -> None:
        self._clock = clock
        self._capacity = capacity
        self._retain = retain
        self._held: dict[str, Held] = {}
        self._by_key: dict[Key, Held] = {}
        self._nonces: set[str] = set()
        self._ended: list[tuple[datetime, str]] = []
        """A heap: when each ended, and which."""
        self._running = Counter[str | None]()
        self._coming = Counter[Key]()
        """How many ask at this moment for the execution with that key."""

    def find(self, execution_id: str) -> Held | None:
        """That one, unless it is forgotten."""
        return self._held.get(execution_id)

    def find_by_key(self, key: Key) -> Held | None:
        """The one that has the key."""
        return self._by_key.get(key)

    def knows_nonce(self, nonce: str) -> bool:
        """Whether one was accepted under an authority with that nonce."""
        return nonce in self._nonces

    def unended(self) -> list[Held]:
        """Those without a receipt."""
        return [held for held in self._held.values() if held.receipt is None]

    def full_for(self, key: Key) -> Failure | None:
        """Why nothing more may begin now, unless that key has its place. A quarter of the capacity is for any one client,
        where there are several."""
        asked_by = key[0]
        if key in self._by_key or key in self._coming:
            return None
        share = self._capacity if asked_by is None else max(1, self._capacity // 4)
        if self._running.total() >= self._capacity:
            full, code = f"{self._capacity} executions are running on this node", "node_full"
        elif self._running[asked_by] >= share:
            full, code = f"{share} executions of this client are running on this node", "client_full"
        else:
            return None
        return Failure.of(FailureClass.LANE_UNAVAILABLE, full, code=code)

    def hold(self, acceptance: Acceptance) -> Held:
        """Answer for it from here on. The key is its own now."""
        held = Held(acceptance, EventLog(acceptance.execution_id, self._clock), Inbox())
        self._held[acceptance.execution_id] = self._by_key[acceptance.owned_key] = held
        self._nonces.add(acceptance.authority_nonce)
        return held

    @contextmanager
    def coming(self, key: Key) -> Generator[None]:
        """Keep a place for the execution that would have the key, while it is admitted; one, however many ask for it."""
        if key not in self._coming:
            self._running[key[0]] += 1
        self._coming[key] += 1
        try:
            yield
        finally:
            self._coming[key] -= 1
            if not self._coming[key]:
                del self._coming[key]
                self._leave(key[0])

    def enter(self, held: Held) -> None:
        """Count it among those that run."""
        self._running[held.acceptance.asked_by] += 1

    def leave(self, held: Held) -> None:
        """Count it no more."""
        self._leave(held.acceptance.asked_by)

    def _leave(self, asked_by: str | None) -> None:
        self._running[asked_by] -= 1
        if not self._running[asked_by]:
            del self._running[asked_by]

    def end(self, held: Held, receipt: Receipt) -> None:
        """It ended; keep it for a while."""
        held.end(receipt)
        heapq.heappush(self._ended, (receipt.finished_at, held.acceptance.execution_id))

    def let_go(self) -> None:
        """Forget those that ended long ago."""
        over = self._clock.now() - self._retain
        while self._ended and self._ended[0][0] <= over:
            self.forget(self._held[heapq.heappop(self._ended)[1]])

    def forget(self, held: Held) -> None:
        """Answer for it no more, and free its key unless a later execution has it."""
        key = held.acceptance.owned_key
        del self._held[held.acceptance.execution_id]
        self._nonces.discard(held.acceptance.authority_nonce)
        if self._by_key.get(key) is held:
            del self._by_key[key]
