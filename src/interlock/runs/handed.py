"""Runs that workers carry out: what this room tells the one that hands them out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from interlock.kernel import Clock, InterlockError, Tx
from interlock.runs import entries
from interlock.runs.entries import Entry
from interlock.runs.errors import AttemptLost
from interlock.runs.journal import Journal, Move, Records
from interlock.runs.ledger import AttemptEnd
from interlock.runs.model import Attempt, AttemptState, Kind, Run, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An attempt that nobody is at any more. `doubtful`: nobody knows what became of a write of the run. `stop`: somebody has
    asked for the run to be cancelled, and nothing is in doubt. `is_crash`: its process is gone; else that lives, and could not
    record what came of it. `store_failed`: the store was not there meanwhile, so that either way nothing is said against the
    work."""

    journal: Journal
    attempt: Attempt
    error: AttemptLost
    doubtful: bool
    stop: bool
    is_crash: bool
    store_failed: bool
    clock: Clock
    withdraw: Callable[[Tx], Sequence[Entry]]
    """Ends what nobody but the run would have gone on with, in the transaction that ends the run; what its chain tells of it."""

    @property
    def run(self) -> Run:
        """The run as it stands."""
        return self.journal.run

    async def end(
        self, state: State, error: InterlockError | None = None, *, beside: Callable[[Tx], object] | None = None
    ) -> None:
        """End the attempt and take the run to that state, for that error, under a new fence, together with what `beside`
        writes. Raises StaleRun if another process was first, and StoreError."""
        at, told = self.clock.now(), error or self.error
        is_over = self.run.kind is Kind.AGENT_TURN and state in (State.CANCELLED, State.FAILED)
        gone: list[Entry] = []

        def over(tx: Tx) -> None:
            if beside is not None:
                beside(tx)
            gone[:] = self.withdraw(tx)

        end = AttemptEnd(
            attempt_id=self.attempt.attempt_id, state=AttemptState.LOST, finished_at=at, error=self.error.to_json()
        )
        await self.journal.write(
            lambda: [*gone, entries.attempt_ended(end)],
            at=at,
            move=Move(state=state, reason=told.code, error=told.to_json(), fence=self.run.fence + 1),
            records=Records(attempt_end=end),
            beside=over if is_over else beside,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """Where a run goes after an attempt: its state and why, what its chain tells, and what is written in the same transaction."""

    state: State
    reason: str | None
    beside: Callable[[Tx], object]
    told: Sequence[Entry] = ()
    error: InterlockError | None = None


class Following(Protocol):
    """Decides what follows an attempt at a run that workers carry out."""

    def done(self) -> After:
        """It is completed."""
        ...

    def failed(self, error: InterlockError) -> After:
        """Nothing happened that a further attempt would do again, or the error forbids one."""
        ...

    def unknown(self, error: InterlockError) -> After:
        """Nobody knows what happened."""
        ...

    def stopped(self) -> After:
        """The worker has to stop in the middle of it."""
        ...


class Handed(Protocol):
    """Which runs are handed to workers. What it is told in a transaction, it keeps in the same."""

    def knows(self, tx: Tx, run: Run) -> bool:
        """Whether workers carry the run out."""
        ...

    def moved(self, tx: Tx, run: Run, state: State, reason: str | None) -> None:
        """The run goes to that state by another hand than a worker's, if it is one that workers carry out."""
        ...

    def released(self, tx: Tx, run: Run) -> None:
        """The run was held, and is to be carried out now."""
        ...

    async def following(self, run: Run) -> Following | None:
        """What decides where the run goes after an attempt by another hand than a worker's, if workers carry it out."""
        ...

    async def take_over(self, lost: Lost) -> bool:
        """End the attempt and have the run handed out again, or not any more; False: it is no run of workers. Raises StaleRun
        and StoreError."""
        ...
