"""The ports of a lane: itself, what it writes down while it works, and where secrets come from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from interlock.kernel import Clock, Secret
from interlock.plane.channel import Channel
from interlock.plane.credentials import SecretRef
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import Intent
from interlock.plane.receipt import Fact

Note: TypeAlias = tuple[str, datetime, Mapping[str, Fact]]
"""Something that happened on the way, and when."""


@dataclass(slots=True)
class Exchange:
    """What is known so far of one execution. The lane keeps it true at every moment, since it may be cancelled at any.

    `bytes_sent` counts application bytes and is raised *before* they are handed to the connection, so that zero proves
    that nothing left. `answered` is set when an answer was read to its end; `rejected`, when the protocol itself says that the
    peer did nothing with what it got (RFC 9113 §8.7). `peer` is the address that was spoken to.
    """

    clock: Clock
    bytes_sent: int = 0
    answered: bool = False
    rejected: bool = False
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    peer: str | None = None
    notes: list[Note] = field(default_factory=list[Note])
    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    """What the lane found out beside an answer's own parts: `exit_code`, `signal`, `close_code` …"""
    channel: Channel | None = None
    """How a lane that streams talks; the node always gives it one."""
    ends_at: float = math.inf
    """When the authority ends, by the monotonic clock."""
    may_leave: Callable[[], bool] = field(default=lambda: True)
    """Asked before any bytes leave, the first and the last: whether whoever sends is still the one to do so."""

    def leave(self, count: int) -> None:
        """Count bytes that are about to be handed to the connection. Raises LaneFailure if the first of them would leave
        after the authority has ended, or any of them after whoever sends has lost its hold: a process that was frozen on
        the way here may have been taken for dead."""
        held = self.may_leave()
        if not self.bytes_sent and not (held and self.clock.monotonic() < self.ends_at):
            message = "the authority ended before the first byte left"
            raise LaneFailure(FailureClass.AUTHORITY_DENIED, message, code="authority_expired")
        if not held:
            message = "whoever sends lost its hold on the work; what had not left by then stayed here"
            raise LaneFailure(FailureClass.CANCELLED, message, code="hold_lost")
        self.bytes_sent += count

    def note(self, type_: str, data: Mapping[str, Fact]) -> None:
        """Add a fact to the evidence. No secrets, no bodies."""
        self.notes.append((type_, self.clock.now(), data))


class LaneFailure(Exception):
    """Ends an execution without an answer. The message goes into the receipt, so it holds no secret."""

    def __init__(self, failure_class: FailureClass, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.failure = Failure.of(failure_class, message, code=code)


class Lane(Protocol):
    """One way of carrying out effects. It tries once: no retry, no fallback, no policy."""

    @property
    def lane_id(self) -> str:
        """Its name, which targets refer to."""
        ...

    @property
    def carries(self) -> type[Intent] | tuple[type[Intent], ...]:
        """The kind of intent that it takes, or the kinds."""
        ...

    async def execute(self, intent: Any, exchange: Exchange) -> None:
        """Carry out an intent of the kind it carries; return when `exchange` holds the whole answer, else raise
        LaneFailure. Leaves nothing behind when cancelled."""
        ...

    async def aclose(self) -> None:
        """Close idle and running connections."""
        ...


def carried(lane: Lane) -> tuple[str, ...]:
    """The contracts of the intents that the lane takes."""
    taken = lane.carries if isinstance(lane.carries, tuple) else (lane.carries,)
    return tuple(name for kind in taken for name in kind.kinds())


class CredentialResolver(Protocol):
    """Who turns a reference into a secret, at the last moment."""

    async def redeem(self, ref: SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """The field `ref.field` of the credential behind `ref.handle`, for use at `host` (`host:port`) by this run of this
        tenant, whom the intent names. Raises InterlockError if it must not or cannot be used so."""
        ...
