"""What is to be done, and how it stands. Frozen values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from interlock import runs
from interlock.dispatch.queue import Job
from interlock.kernel import JSON, Backoff, RequestError, from_micros, is_id, to_micros, to_rfc3339

CAPABILITY_LANE = "capability"
"""Where runs of capabilities wait."""

MAX_SECONDS = 30 * 86400.0

PAUSED: Final = "paused:"
"""What begins the reason of work that waits for a pause to end."""

NO_HANDLER: Final = "no_handler"
"""Why work waits that is due, and for whose handler there is no live worker."""

NO_WORKER: Final = "no_worker"
"""Why a call waits that is due, while there is no live worker."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


class Priority(IntEnum):
    """What goes first of a tenant's work. What is low waits a minute longer than what is normal, and not for ever."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Standing(StrEnum):
    """How due work stands: it waits for its moment or a worker, it waits for something else (`why`), or it is a dead letter."""

    DUE = "due"
    PARKED = "parked"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often work is tried, and how long it waits in between: exponential, with full jitter, in seconds. Raises
    RequestError."""

    max_attempts: int = 5
    base_seconds: float = 1.0
    cap_seconds: float = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 100:
            raise RequestError(f"max_attempts must be 1 to 100, not {self.max_attempts}")
        if not 0 < self.base_seconds <= self.cap_seconds <= MAX_SECONDS:
            raise RequestError(
                f"base_seconds must be above 0 and at most cap_seconds, and that at most {MAX_SECONDS:.0f}; "
                f"not {self.base_seconds} and {self.cap_seconds}"
            )

    @property
    def backoff(self) -> Backoff:
        """The pauses."""
        return Backoff(base=self.base_seconds, cap=self.cap_seconds)

    def to_json(self) -> dict[str, JSON]:
        """As it is kept."""
        return {
            "max_attempts": self.max_attempts,
            "base_seconds": self.base_seconds,
            "cap_seconds": self.cap_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a registered Python handler is to do, by its name. `payload` is kept as the run's input; no secret belongs into it.

    `due_at` None is now. From `deadline_at` on it is not begun any more. `environment` None is the installation's. Raises
    RequestError.
    """

    handler: str
    payload: Mapping[str, JSON]
    origin: runs.Origin = runs.Origin.CALL
    connection_id: str | None = None
    idempotency_key: str | None = None
    trace_id: str | None = None
    environment: str | None = None
    priority: Priority = Priority.NORMAL
    due_at: datetime | None = None
    deadline_at: datetime | None = None
    retry: RetryPolicy = field(default=RetryPolicy())

    def __post_init__(self) -> None:
        check_name(self.handler)
        for name, moment in (("due_at", self.due_at), ("deadline_at", self.deadline_at)):
            if moment is not None and moment.tzinfo is None:
                raise RequestError(f"{name} must have a time zone, which {moment.isoformat()} has not")

    @property
    def lane(self) -> str:
        """Where it waits."""
        return lane_of(self.handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A run that is handed to workers, from its admission to its end. `number` is that of the hand-over which counts: any other
    changes nothing. `tries` are the attempts that counted since it was submitted or replayed, `crashes` those that were lost
    with their process."""

    run_id: str
    tenant_id: str
    lane: str
    capability: str
    connection_id: str | None
    rank: int
    priority: Priority
    due_at: datetime
    number: int
    tries: int
    crashes: int
    retry: RetryPolicy
    standing: Standing
    why: str | None
    deadline_at: datetime | None
    submitted_at: datetime

    @property
    def cursor(self) -> str:
        """Its place in a list of work of its standing."""
        moment = self.due_at if self.standing is Standing.DUE else self.submitted_at
        return f"{to_micros(moment)}.{self.run_id}"

    @property
    def job(self) -> Job:
        """The hand-over that counts."""
        return Job(
            work_id=self.run_id,
            tenant_id=self.tenant_id,
            lane=self.lane,
            number=self.number,
            due_at=self.due_at,
            rank=self.rank,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DueFilter:
    """Which work of a tenant to list. `cursor` is that of the work to continue after (`Waiting.cursor`), or
    its run id for as long as it is there."""

    tenant_id: str
    standing: Standing = Standing.DUE
    lane: str | None = None
    capability: str | None = None
    connection_id: str | None = None
    why: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = None
    limit: int = 50

    @property
    def after(self) -> tuple[datetime, str] | None:
        """The moment and the run to continue after. Raises RequestError for a cursor that is none."""
        if self.cursor is None:
            return None
        micros, _, run_id = self.cursor.partition(".")
        if not (micros.isascii() and micros.isdecimal() and len(micros) < 18 and is_id(run_id, "run")):
            raise RequestError("the cursor is none of a list of work: send back the one from the last page")
        return from_micros(int(micros)), run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Work with its run's state, and what it failed with last. `why` it waits: as the docket says, or since no live worker does
    such work (`no_handler`, `no_worker`)."""

    due: Due
    state: runs.State
    error: JSON
    attempt_count: int
    served: bool

    @property
    def why(self) -> str | None:
        """Why it waits, or is dead."""
        if self.served:
            return self.due.why
        return NO_WORKER if self.due.lane == CAPABILITY_LANE else NO_HANDLER

    @property
    def cursor(self) -> str:
        """Where a list goes on after it, also when it is gone by then."""
        return self.due.cursor

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self.state is runs.State.RUNNING

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        due = self.due
        return {
            "run_id": due.run_id,
            "state": self.state.value,
            "standing": due.standing.value,
            "why": self.why,
            "lane": due.lane,
            "capability": due.capability,
            "connection_id": due.connection_id,
            "priority": due.priority.name.lower(),
            "due_at": to_rfc3339(due.due_at),
            "deadline_at": None if due.deadline_at is None else to_rfc3339(due.deadline_at),
            "submitted_at": to_rfc3339(due.submitted_at),
            "tries": due.tries,
            "crashes": due.crashes,
            "attempts": self.attempt_count,
            "retry": due.retry.to_json(),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How much there is to do for a tenant. `overdue` is due and not begun, since `oldest_due_at`; `unserved` are the lanes of
    such work that no live worker serves; `parked` counts by the reason,
    `dead` by the reason, `lanes` what is due or parked by lane."""

    due: int = 0
    overdue: int = 0
    running: int = 0
    oldest_due_at: datetime | None = None
    unserved: frozenset[str] = frozenset()
    parked: Mapping[str, int] = field(default_factory=dict[str, int])
    dead: Mapping[str, int] = field(default_factory=dict[str, int])
    lanes: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Work of all tenants in one lane and of one standing: how much there is, at most `MOST_COUNTED` in all, and for how long the
    longest waiting of it has been due and not begun."""

    lane: str
    standing: Standing
    count: int
    oldest_seconds: float | None = None


MOST_COUNTED: Final = 100_000
"""So much work is counted for those who watch: what is more is as bad."""


class Scope(StrEnum):
    """What a pause is about."""

    TENANT = "tenant"
    CAPABILITY = "capability"
    HANDLER = "handler"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause of a tenant's work. `subject` is a capability id, a handler's name, a connection id, or the tenant."""

    tenant_id: str
    scope: Scope
    subject: str
    reason: str
    actor: str
    at: datetime

    @property
    def why(self) -> str:
        """Why work waits that it is about."""
        return f"{PAUSED}{self.scope}:{self.subject}"[:200]

    def stops(self, due: Due) -> bool:
        """Whether the work is to wait for its end."""
        match self.scope:
            case Scope.TENANT:
                return True
            case Scope.CAPABILITY:
                return due.capability == self.subject
            case Scope.HANDLER:
                return due.capability == f"handler.{self.subject}"
            case Scope.CONNECTION:
                return due.connection_id == self.subject


def check_name(handler: str) -> None:
    """Raises RequestError unless it can be the name of a handler."""
    if not _NAME.fullmatch(handler):
        raise RequestError(
            f"a handler's name is 1 to 100 of a-z, 0-9, '_', '-' and '.', not {str(handler)[:60]!r}: it stands in rules as "
            "handler.NAME"
        )


def lane_of(handler: str) -> str:
    """Where the work of a handler waits."""
    return f"handler:{handler}"
