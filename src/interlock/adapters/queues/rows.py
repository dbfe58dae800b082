"""What the rows of jobs can do, on each database: the part of a queue that speaks SQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from interlock import dispatch
from interlock.kernel import Tx

MOST_DUE: Final = 500
"""Jobs of one lane that become due in one transaction; the others do in the next."""


def later(lane: str) -> str:
    """Where the jobs of a lane stand that are not due: apart, so that however many they are, who takes does not pass them."""
    return f"~{lane}"


def lane_of(job: dispatch.Job, now: datetime) -> str:
    """Where a job stands that is put now."""
    return job.lane if job.due_at <= now else later(job.lane)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A job in the hands of a worker. `ticket` is this hand-over's own: what is said of one that is over changes nothing."""

    job: dispatch.Job
    ticket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a worker was given. If that is nothing: in how many seconds there may be something. None: nothing is there."""

    held: Sequence[Held] = ()
    next_in: float | None = None


class Rows(Protocol):
    """The rows of one database. Everything happens in the caller's transaction, at the moment `now`."""

    def put(self, tx: Tx, jobs: Sequence[dispatch.Job], *, now: datetime) -> None:
        """Add those that are not there."""
        ...

    def withdraw(self, tx: Tx, work_ids: Sequence[str]) -> None:
        """Remove all jobs of these works."""
        ...

    def find_missing(self, tx: Tx, jobs: Sequence[dispatch.Job]) -> Sequence[dispatch.Job]:
        """Those that are not there."""
        ...

    def oldest(self, tx: Tx, *, lanes: Sequence[str] | None, now: datetime) -> datetime | None:
        """Since when the first that nobody holds has been due, of these lanes or of all."""
        ...

    def take(
        self, tx: Tx, worker: str, *, dealt: Collection[Held], lanes: Sequence[str], room: int, now: datetime
    ) -> Taken:
        """Remove what was dealt with, and give the worker what is due, or whose holder is silent: lower ranks first, no more than
        there is room for."""
        ...

    def next_in(self, tx: Tx, *, lanes: Sequence[str], now: datetime) -> float | None:
        """In how many seconds something may be taken. Not above zero: now. None: nothing is there."""
        ...

    def beat(self, tx: Tx, worker: str, held: Collection[Held], *, now: datetime) -> None:
        """Hold them for another lease."""
        ...

    def finish(self, tx: Tx, worker: str, held: Collection[Held]) -> None:
        """Remove what was dealt with."""
        ...

    def put_off(self, tx: Tx, worker: str, held: Collection[Held], *, seconds: float, now: datetime) -> None:
        """Let go of them: they are due again after that."""
        ...

    def leave(self, tx: Tx, worker: str) -> None:
        """Let go of all that the worker holds."""
        ...
