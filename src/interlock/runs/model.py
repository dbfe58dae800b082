"""The values of the ledger. Frozen; a change is a new value that the ledger compares and sets."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from interlock.kernel import JSON


class Kind(StrEnum):
    """What a run carries out."""

    CAPABILITY = "capability"
    PROXY = "proxy"
    INFERENCE = "inference"
    AGENT_TURN = "agent_turn"
    HANDLER = "handler"
    SESSION = "session"
    STREAM = "stream"


class Origin(StrEnum):
    """Why a run exists."""

    CALL = "call"
    TRIGGER = "trigger"
    SCHEDULE = "schedule"
    SUBMISSION = "submission"
    SCRIPT = "script"
    AGENT = "agent"


class State(StrEnum):
    """Where a run stands; `transitions.ALLOWED` draws the machine."""

    ACCEPTED = "accepted"
    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    RETRY_SCHEDULED = "retry_scheduled"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DENIED = "denied"
    SHED = "shed"
    DEAD = "dead"


class AttemptState(StrEnum):
    """Where an attempt stands. `lost` is an attempt whose owner's lease lapsed."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class Purpose(StrEnum):
    """Why a send exists: the effect itself, a further page of it, or a read that settles an unknown write."""

    EFFECT = "effect"
    PAGE = "page"
    RECONCILE = "reconcile"


class Delivery(StrEnum):
    """What is known of a send's effect on the other side.

    `unknown` from the commit that precedes the send until proof arrives; `not_sent` when no byte left; `rejected` when the
    peer proves that it did nothing; `responded` when an answer was read to its end.
    """

    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    RESPONDED = "responded"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A run as lists tell it: without its input, which may be megabytes. `head_*` is the end of its event chain."""

    run_id: str
    tenant_id: str
    kind: Kind
    origin: Origin
    parent_run_id: str | None
    capability: str
    connector_id: str | None
    connector_version: str | None
    manifest_digest: str | None
    connection_id: str | None
    actor: str
    environment: str
    trace_id: str
    targets: tuple[str, ...]
    idempotency_key: str | None
    input_digest: str
    state: State
    reason: str | None
    fence: int
    head_seq: int
    head_hash: str
    attempt_count: int
    approval_id: str | None
    error: JSON
    signature: str | None
    signing_key_id: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    deadline_at: datetime | None
    traceparent: str | None = None
    """What led to it, as a trace tells it, so that what is done for it later, by whichever process, is told of the same trace."""


@dataclass(frozen=True, kw_only=True)
class Run(Listed):
    """One piece of work under one decision. `input_json` is canonical JSON.

    Without slots, for `moved`.
    """

    input_json: str

    def moved(self, **changes: Any) -> "Run":
        """The run with these fields changed: `dataclasses.replace` at a tenth of its price, paid several times a call.
        Raises TypeError for a field that there is not."""
        run = object.__new__(Run)
        fields = run.__dict__
        fields.update(self.__dict__)
        if not changes.keys() <= fields.keys():
            raise TypeError(f"a run has no {', '.join(sorted(changes.keys() - fields.keys()))}")
        fields.update(changes)
        return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a run by one owner. Its fence is the run's fence when it began."""

    attempt_id: str
    run_id: str
    tenant_id: str
    number: int
    state: AttemptState
    owner_id: str
    fence: int
    lease_id: str | None
    started_at: datetime
    finished_at: datetime | None
    error: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """One plane execution. Intent and receipt are canonical JSON without secrets or bodies."""

    send_id: str
    run_id: str
    attempt_id: str
    tenant_id: str
    number: int
    purpose: Purpose
    target_class: str
    intent_json: str
    intent_digest: str
    delivery: Delivery
    receipt_json: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One link of a run's chain. `body` is the canonical JSON that is hashed; see `chain`."""

    event_id: str
    run_id: str
    tenant_id: str
    seq: int
    type: str
    at: datetime
    body: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Content that a run produced: inline when small, else in the blob store under its digest."""

    artifact_id: str
    run_id: str
    attempt_id: str | None
    tenant_id: str
    name: str
    media_type: str
    digest: str
    size: int
    content: bytes | None
    blob_key: str | None
    redacted: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What policy said, with every reason and the facts it judged, which are canonical JSON."""

    decision_id: str
    run_id: str
    tenant_id: str
    number: int
    effect: str
    reasons: JSON
    facts_json: str
    policy_digest: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process that holds attempts. It is alive as long as `beat` grows at least once per `lease`.

    No moment of the day is in it: clocks differ and jump, so whoever watches counts on a clock of its own.
    """

    owner_id: str
    host: str
    process: str
    started_at: datetime
    beat: int
    lease: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What stays of a run in the ledger: where its packet lies (`size` bytes from `start` on), and the packet's digest."""

    run_id: str
    tenant_id: str
    archive_id: str
    start: int
    size: int
    digest: str
    created_at: datetime
