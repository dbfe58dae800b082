"""The values of the room: who wants to hear of what, what happened, and how it reaches them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from interlock import connections, runs
from interlock.kernel import JSON, canonical, to_rfc3339

RUN_TYPES: Final = tuple(f"run.{state}" for state in runs.State if state is not runs.State.RUNNING)
"""The events of runs that are told: where a run stands from then on. That an attempt began is its run's own affair."""

CONNECTION_TYPES: Final = tuple(f"connection.{happening}" for happening in connections.Happening)

DISABLED: Final = "subscription.disabled"
TEST: Final = "subscription.test"

TYPES: Final = frozenset({*RUN_TYPES, *CONNECTION_TYPES, DISABLED})
"""Every type of event that can be subscribed to."""

BROKEN: Final = "connection.broken"
MEANT: Final[Mapping[str, tuple[str, ...]]] = {
    BROKEN: (f"connection.{connections.Happening.DEGRADED}", f"connection.{connections.Happening.REAUTH_REQUIRED}")
}
"""Words for several types at once; a subscription has the types themselves."""


class Scheme(StrEnum):
    """How messages are signed, by the names that Standard Webhooks gives to the ways: with a secret that both sides hold, or
    with a key of which the receiver needs only the public half."""

    HMAC = "v1"
    ED25519 = "v1a"


class State(StrEnum):
    """Where a subscription stands. What happens while it is paused waits; what happens while it is disabled is not told."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class MessageState(StrEnum):
    """Where a message stands. It waits while its subscription is not active, and has failed when no further try follows."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which events are wanted: of one of these types (`*`, `run.*`, or in full), and, where that is said, of these capabilities
    (globs) and these connections (ids). What has no capability is left out where one is named, and likewise connections."""

    types: Sequence[str]
    capabilities: Sequence[str] = ()
    connections: Sequence[str] = ()

    def covers(self, event: "Event") -> bool:
        """Whether the event is wanted."""
        return (
            _any(event.type, self.types)
            and (not self.capabilities or _any(event.capability, self.capabilities))
            and (not self.connections or event.connection_id in self.connections)
        )


def _any(value: str | None, patterns: Sequence[str]) -> bool:
    return value is not None and any(fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, at its place in the order in which a tenant's events are told. No secret is in it."""

    position: int
    event_id: str
    tenant_id: str
    type: str
    at: datetime
    capability: str | None
    connection_id: str | None
    data: Mapping[str, JSON]

    @property
    def cursor(self) -> str:
        """Where to go on after this event."""
        return str(self.position)

    @property
    def body(self) -> bytes:
        """What a receiver gets: the same bytes at every try."""
        return canonical({"type": self.type, "timestamp": to_rfc3339(self.at), "data": self.data})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A place that wants to hear. `sealed` holds its signing key, and the one before until `overlap_until`; `public_keys` are
    what receivers check Ed25519 with, the newest first. `failing_since`: since then nothing was taken there. `revision` fences
    changes."""

    subscription_id: str
    tenant_id: str
    url: str
    wish: Wish
    scheme: Scheme
    state: State
    reason: str | None
    sealed: connections.Sealed = field(repr=False)
    public_keys: Sequence[str]
    overlap_until: datetime | None
    failing_since: datetime | None
    revision: int
    created_by: str
    created_at: datetime
    updated_at: datetime

    def record(self) -> dict[str, JSON]:
        """The subscription as JSON, without its key."""
        return {
            "subscription_id": self.subscription_id,
            "tenant_id": self.tenant_id,
            "url": self.url,
            "types": list(self.wish.types),
            "capabilities": list(self.wish.capabilities),
            "connections": list(self.wish.connections),
            "signature": self.scheme.value,
            "public_keys": list(self.public_keys),
            "state": self.state.value,
            "reason": self.reason,
            "overlap_until": _moment(self.overlap_until),
            "failing_since": _moment(self.failing_since),
            "revision": self.revision,
            "created_by": self.created_by,
            "created_at": to_rfc3339(self.created_at),
            "updated_at": to_rfc3339(self.updated_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event on its way to one subscription. `tries` have ended; `status` and `error` say how the last one did. One that is
    claimed is being sent, and by nobody else until then."""

    message_id: str
    tenant_id: str
    subscription_id: str
    position: int
    type: str
    state: MessageState
    tries: int
    due_at: datetime
    claimed_until: datetime | None
    status: int | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None

    def record(self) -> dict[str, JSON]:
        """The message as JSON."""
        return {
            "message_id": self.message_id,
            "subscription_id": self.subscription_id,
            "type": self.type,
            "state": self.state.value,
            "tries": self.tries,
            "due_at": to_rfc3339(self.due_at) if self.state is MessageState.PENDING else None,
            "status": self.status,
            "error": self.error,
            "created_at": to_rfc3339(self.created_at),
            "finished_at": _moment(self.finished_at),
        }


def binding(subscription_id: str, tenant_id: str) -> bytes:
    """The associated data that ties the sealed key to its row."""
    return canonical(
        {"contract": "interlock.subscription/v1", "tenant_id": tenant_id, "subscription_id": subscription_id}
    )


def _moment(at: datetime | None) -> str | None:
    return None if at is None else to_rfc3339(at)
