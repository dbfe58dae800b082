"""The port of queues: they hand work that the ledger says is due to a live worker, at least once."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias, TypeVar

from interlock.kernel import Fact, Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One hand-over: this attempt at that work, not before `due_at`.

    Among those that are due the one of lower `rank` goes first. A rank is a moment in milliseconds since 1970; ranks that are
    less than a tenth of a second apart may go in the order in which they were put.
    """

    work_id: str
    tenant_id: str
    lane: str
    number: int
    due_at: datetime
    rank: int


def messaging(operation: Literal["send", "process"], lane: str, work_id: str) -> dict[str, Fact]:
    """What a trace tells of a job, by OpenTelemetry's semantic conventions for messaging."""
    return {
        "messaging.system": "interlock",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": lane,
        "messaging.message.id": work_id,
    }


Handle: TypeAlias = Callable[[Job, T | None], Awaitable[None]]
"""Does what a job is about, with what was seen of it when it was taken."""

Look: TypeAlias = Callable[[Tx, Sequence[Job]], Sequence[T]]
"""Sees what each of some jobs is about, in the transaction in which they are taken. It writes nothing."""


class Queue(Protocol):
    """Hands jobs over, at least once each. A job is one (work_id, number)."""

    def put(self, tx: Tx, jobs: Sequence[Job]) -> None:
        """In the caller's transaction. One that is there already stays as it is, even while it is being handled: to move it,
        `withdraw` it first, in the same transaction. Raises StoreError."""
        ...

    def withdraw(self, tx: Tx, work_ids: Sequence[str]) -> None:
        """Forget all jobs of these works. One that is being handled goes on, and is not handed over again. Raises StoreError."""
        ...

    def find_missing(self, tx: Tx, jobs: Sequence[Job]) -> Sequence[Job]:
        """Those of the jobs that are not there, neither waiting nor being handled. Raises StoreError."""
        ...

    def oldest(self, tx: Tx, now: datetime, *, lanes: Collection[str] | None = None) -> datetime | None:
        """Since when the longest waiting of the jobs that are due has been due, of these lanes or of all; None if none is. Raises
        StoreError."""
        ...

    async def serve(
        self, handle: Handle[T], *, lanes: Collection[str], at_once: int, look: Look[T] | None = None
    ) -> None:
        """Hand over the jobs of these lanes, that many at once, until cancelled. Where there is no `look`, or it raises, nothing
        is seen of the jobs when they are taken.

        A `handle` that returns has dealt with its job; one that raises is handed it again, a little later. While it works
        nobody else is handed the job, as long as this process lives and reaches the store; when it does not, another one is
        within ten seconds. A store that is gone is waited for.

        Cancellation drains: no new jobs are handed over, and those at work may end. What takes too long is cancelled, and
        handed over again.
        """
        ...
