"""The shapes of what leaves the room as a file, for readers that are not Interlock: the review packet and the trust file.

`packet` writes a packet from the rows, and `verify` proves it by its bytes; neither goes through these models, and a test
holds them together. The schemas under `schemas/` are made from them.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from interlock import approvals, connections, policy
from interlock.runs import refs
from interlock.runs.model import AttemptState, Delivery, Kind, Origin, Purpose, State

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""`sha256:` and the hexadecimal digest."""

Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
"""Bytes in standard base64."""

Facts = dict[str, JsonValue]
"""An object whose members this contract does not name."""


class Shape(BaseModel):
    """Closed: a member that is not described is not there."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)


class Key(Shape):
    """A public signing key: the 32 raw bytes."""

    algorithm: Literal["ed25519"]
    key_id: str
    public_key: Base64


class TrustFile(Shape):
    """The public keys that whoever verifies packets trusts."""

    contract: Literal["interlock.trust/v1"]
    keys: Annotated[list[Key], Field(min_length=1)]


class EventBody(Shape):
    """An event, byte for byte as it was hashed. `prev` is the hash of the event before; of the first, that of the run's id."""

    at: datetime
    data: Facts
    event_id: str
    prev: Digest
    run_id: str
    seq: Annotated[int, Field(ge=1)]
    type: str


class Link(Shape):
    """An event in the chain, and the hash of its body's canonical bytes."""

    body: EventBody
    hash: Digest


class RunRecord(Shape):
    """The run as it stands."""

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
    targets: list[str]
    idempotency_key: str | None
    input: JsonValue
    input_digest: Digest
    state: State
    reason: str | None
    error: Facts | None
    approval_id: str | None
    created_at: datetime
    deadline_at: datetime | None
    finished_at: datetime | None


class LeaseRecord(Shape):
    """What an attempt was permitted to use the connection for."""

    lease_id: str
    connection_id: str
    credential_id: str
    scopes: list[str]
    hosts: list[str]
    expires_at: datetime


class AttemptRecord(Shape):
    """One try by one process."""

    attempt_id: str
    number: int
    owner_id: str
    fence: int
    lease_id: str | None
    lease: LeaseRecord | None
    subject: str | None
    state: AttemptState
    error: Facts | None
    started_at: datetime
    finished_at: datetime | None


class SendRecord(Shape):
    """One request, command or script: what was meant, and what is known of it."""

    send_id: str
    attempt_id: str
    number: int
    purpose: Purpose
    target_class: str
    intent: Facts
    intent_digest: Digest
    delivery: Delivery
    receipt: Facts | None
    receipt_digest: Digest | None
    started_at: datetime
    finished_at: datetime | None


class TextContent(Shape):
    """Content that is text."""

    text: str


class BytesContent(Shape):
    """Content that is not."""

    base64: Base64


class ArtifactRecord(Shape):
    """Kept content. Without `content`, it lies in the blob store, under its digest."""

    artifact_id: str
    attempt_id: str | None
    name: str
    media_type: str
    digest: Digest
    size: int
    redacted: bool
    content: TextContent | BytesContent | None
    created_at: datetime


class DecisionRecord(Shape):
    """What policy said, and what it looked at."""

    decision_id: str
    number: int
    effect: policy.Effect
    reasons: JsonValue
    facts: Facts
    facts_digest: Digest
    policy_digest: Digest
    at: datetime


class ApprovalRecord(Shape):
    """A person's consent, and what it is bound to."""

    approval_id: str
    state: approvals.State
    binding: Facts
    binding_digest: Digest
    summary: JsonValue
    requester: str
    role: str
    reviewer: str | None
    reason: str | None
    edited_input: Facts | None
    edited_input_digest: Digest | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    spent_by: str | None


class ConnectionRecord(Shape):
    """The connection as it is at the export. No secret."""

    connection_id: str
    connector_id: str
    profile_id: str
    name: str
    subject: str | None
    base_url: str | None
    scopes: list[str]
    state: connections.State
    reason: str | None
    created_by: str
    created_at: datetime


class Head(Shape):
    """The end of the chain. It is signed once the run has ended."""

    head_hash: Digest
    head_seq: int
    key_id: str | None
    signature: Base64 | None


class Records(Shape):
    """All that is known of the run. What the events say of a record is proven by them, the rest by the seal."""

    approvals: list[ApprovalRecord]
    artifacts: list[ArtifactRecord]
    attempts: list[AttemptRecord]
    capability: Facts | None
    connection: ConnectionRecord | None
    decisions: list[DecisionRecord]
    head: Head
    keys: list[Key]
    projection: refs.ReviewProjection
    run: RunRecord
    sends: list[SendRecord]


class Seal(Shape):
    """The digest of each of the records, signed at the export, together with all members of the seal but the signature."""

    contract: Literal["interlock.seal/v1"]
    digests: dict[str, Digest]
    exported_at: datetime
    key_id: str
    run_id: str
    signature: Base64
    tenant_id: str


class Packet(Shape):
    """A review packet: one run, in canonical JSON (RFC 8785), which proves itself."""

    contract: Literal["interlock.packet/v1"]
    events: Annotated[list[Link], Field(min_length=1)]
    records: Records
    seal: Seal
