"""A poll: one trigger of a connector, asked for again and again. Frozen; a change is a new value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from interlock import sdk
from interlock.kernel import JSON, to_rfc3339

SECONDS: Final = timedelta(seconds=60)
"""How long one page may take."""

LEASE: Final = timedelta(seconds=90)
"""How long a poll is left to the process that has taken it, from its last commit on."""

LONGEST_PAUSE: Final = timedelta(hours=1)
"""Between two polls that fail."""


class State(StrEnum):
    """Whether it asks."""

    ACTIVE = "active"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """`trigger` is the declared one, such as `github.issue_updated`; each new item starts `handler`. `next_at` is when it is due,
    or, while a process is at it, when another may take it. `mark` is where the next one begins. `pace` is the pause between two
    polls as it is now: shorter while there is news, at most `interval`. `retry` is of the work that it starts. `failures` in a
    row, and the last `problem`."""

    trigger_id: str
    tenant_id: str
    name: str
    trigger: str
    connection: str | None
    handler: str
    config: Mapping[str, JSON]
    priority: Literal["low", "normal", "high"]
    interval: timedelta
    pace: timedelta
    state: State
    next_at: datetime | None
    mark: JSON
    retry: sdk.Retries = field(default_factory=sdk.Retries)
    found: int = 0
    failures: int = 0
    problem: str | None = None
    last_polled_at: datetime | None = None
    last_found_at: datetime | None = None
    revision: int = 0
    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def connector_id(self) -> str:
        return self.trigger.partition(".")[0]

    def record(self) -> dict[str, JSON]:
        """For programs."""
        moments = ("next_at", "last_polled_at", "last_found_at", "created_at", "updated_at")
        found = {name: getattr(self, name) for name in moments}
        return {
            "trigger_id": self.trigger_id,
            "tenant_id": self.tenant_id,
            "name": self.name,
            "trigger": self.trigger,
            "state": self.state.value,
            "connection": self.connection,
            "handler": self.handler,
            "config": dict(self.config),
            "priority": self.priority,
            "retry": self.retry.model_dump(mode="json"),
            "interval": self.interval.total_seconds(),
            "pace": self.pace.total_seconds(),
            "mark": self.mark,
            "found": self.found,
            "failures": self.failures,
            "problem": self.problem,
            "created_by": self.created_by,
            **{name: None if moment is None else to_rfc3339(moment) for name, moment in found.items()},
        }


def taken(poll: Poll, now: datetime) -> Poll:
    """Left to one process for a lease."""
    return replace(poll, next_at=now + LEASE, revision=poll.revision + 1)


def let_go(poll: Poll, now: datetime) -> Poll:
    """Left to any other process: who had taken it stops working."""
    return replace(poll, next_at=now, revision=poll.revision + 1)


def read_on(poll: Poll, now: datetime, *, mark: JSON, new: int) -> Poll:
    """A page of it is kept."""
    return replace(
        taken(poll, now),
        mark=mark,
        found=poll.found + new,
        last_found_at=now if new else poll.last_found_at,
    )


def ended(poll: Poll, now: datetime, polling: sdk.Polling, *, news: bool, chance: float) -> Poll:
    """It was read to the end. While there is news it is asked twice as often each time, as often as the connector allows, and
    without news less and less; `chance` (0 to 1) spreads polls over the jitter's share of the pause."""
    least = timedelta(seconds=polling.min_seconds)
    pace = max(least, poll.pace / 2) if news else min(poll.interval, poll.pace * 1.5)
    pause = pace * (1 + polling.jitter * chance)
    return replace(
        poll,
        pace=pace,
        next_at=now + pause,
        failures=0,
        problem=None,
        last_polled_at=now,
        revision=poll.revision + 1,
        updated_at=now,
    )


def failed(poll: Poll, now: datetime, *, problem: str, at_least: float, chance: float) -> Poll:
    """It could not be read. `at_least` seconds are what the service asks for."""
    failures = poll.failures + 1
    pause = min(LONGEST_PAUSE, poll.interval * 2 ** min(failures - 1, 20)) * (1 - chance / 2)
    return replace(
        poll,
        next_at=now + max(pause, timedelta(seconds=at_least)),
        failures=failures,
        problem=problem,
        last_polled_at=now,
        revision=poll.revision + 1,
        updated_at=now,
    )


def paused(poll: Poll, now: datetime) -> Poll:
    """It asks nothing until it is resumed."""
    return replace(poll, state=State.PAUSED, next_at=None, revision=poll.revision + 1, updated_at=now)


def resumed(poll: Poll, now: datetime, *, retry: sdk.Retries | None = None) -> Poll:
    """It asks at once, for all that is new since it was paused; the work of items is tried as before, or as `retry` says."""
    active = replace(poll, state=State.ACTIVE, next_at=now, failures=0, revision=poll.revision + 1, updated_at=now)
    return replace(active, retry=retry or poll.retry)
