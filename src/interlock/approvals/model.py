"""The values of the room: what a consent is bound to, the consent, and its life."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from interlock import kernel
from interlock.kernel import JSON, to_rfc3339


class State(StrEnum):
    """Where an approval stands; `ALLOWED` draws the machine."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    SPENT = "spent"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


ALLOWED: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.APPROVED, State.DENIED, State.EXPIRED, State.CANCELLED}),
    State.APPROVED: frozenset({State.SPENT, State.DENIED, State.EXPIRED, State.CANCELLED}),
    State.DENIED: frozenset(),
    State.SPENT: frozenset({State.APPROVED}),
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
}
"""Which state may follow which. States without followers are final; what was spent for nothing may be given back, and a yes
that was not spent may be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Exactly what is consented to. If anything differs, it is another call, and needs another consent.

    `service` is where the call goes and `subject` whom the connection acts as there; `targets` are the acceptable target
    classes in order, and `sandbox` the level that they have to enforce; `role` is whose consent is asked for, so that one
    role's yes never serves where another's is needed.
    """

    tenant_id: str
    actor: str
    capability_id: str
    manifest_digest: str
    connection_id: str | None
    service: str
    subject: str | None
    environment: str
    targets: tuple[str, ...]
    input_digest: str
    role: str
    sandbox: str = "none"

    @property
    def digest(self) -> str:
        """The digest by which a binding is compared."""
        return kernel.digest(self.to_json())

    def to_json(self) -> dict[str, JSON]:
        """The binding as it is recorded and digested."""
        return {
            "tenant_id": self.tenant_id,
            "actor": self.actor,
            "capability_id": self.capability_id,
            "manifest_digest": self.manifest_digest,
            "connection_id": self.connection_id,
            "service": self.service,
            "subject": self.subject,
            "environment": self.environment,
            "targets": list(self.targets),
            "input_digest": self.input_digest,
            "role": self.role,
            "sandbox": self.sandbox,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A consent that was asked for.

    `summary` is what the reviewer is shown; `edited_input` is set, and the binding covers it, when the reviewer changed
    the input.
    """

    approval_id: str
    tenant_id: str
    run_id: str | None
    binding: Binding
    summary: JSON
    state: State
    requester: str
    role: str
    reviewer: str | None
    reason: str | None
    edited_input: JSON
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    spent_at: datetime | None
    spent_by: str | None

    @property
    def binding_digest(self) -> str:
        """The digest of the binding."""
        return self.binding.digest

    @property
    def self_reviewed(self) -> bool:
        """Whether the requester decided it themselves."""
        return self.reviewer == self.requester

    def as_of(self, now: datetime) -> "Approval":
        """The approval as it stands at a moment: past `expires_at`, one that was open has expired."""
        if now >= self.expires_at and State.EXPIRED in ALLOWED[self.state]:
            return replace(self, state=State.EXPIRED)
        return self

    def given_back(self) -> "Approval":
        """The approval as it is when the run that asked for it has spent it for nothing."""
        assert self.run_id is not None
        assert self.run_id == self.spent_by
        return replace(self, state=State.APPROVED, spent_at=None, spent_by=None)

    def to_json(self) -> dict[str, JSON]:
        """The approval for people, programs and packets."""
        return {
            "approval_id": self.approval_id,
            "tenant_id": self.tenant_id,
            "run_id": self.run_id,
            "binding": self.binding.to_json(),
            "binding_digest": self.binding_digest,
            "summary": self.summary,
            "state": self.state.value,
            "requester": self.requester,
            "role": self.role,
            "reviewer": self.reviewer,
            "self_reviewed": self.self_reviewed,
            "reason": self.reason,
            "edited_input": self.edited_input,
            "created_at": to_rfc3339(self.created_at),
            "expires_at": to_rfc3339(self.expires_at),
            "decided_at": None if self.decided_at is None else to_rfc3339(self.decided_at),
            "spent_at": None if self.spent_at is None else to_rfc3339(self.spent_at),
            "spent_by": self.spent_by,
        }
