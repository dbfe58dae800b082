"""What a node writes down of the executions that it takes on, so that it can answer for them after a crash."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from interlock.kernel import to_rfc3339
from interlock.plane.contract import Contract, Digest, Hex, Moment, Name
from interlock.plane.evidence import EvidenceLog
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.receipt import Delivery, Fact, Receipt
from interlock.plane.signatures import Signer

Key: TypeAlias = tuple[str | None, str, str]
"""Who asked, for which tenant, under which idempotency key."""


class Acceptance(Contract):
    """What a node writes down before it begins: enough to answer for the execution after a crash."""

    contract: Literal["interlock.acceptance/v1"] = "interlock.acceptance/v1"
    execution_id: Name
    tenant_id: Name
    run_id: Name
    attempt_id: Name
    key: Name
    intent_id: Name
    intent_digest: Digest
    authority_nonce: Hex
    target_class: Name
    target_id: Name
    lane_id: Name
    accepted_at: Moment
    asked_by: Name | None = None

    @property
    def owned_key(self) -> Key:
        """What no two executions of a node share."""
        return (self.asked_by, self.tenant_id, self.key)


class Journal(Protocol):
    """Where a node that stands alone keeps what it accepted. Durable when it returns."""

    async def accept(self, acceptance: Acceptance) -> None:
        """Keep an acceptance. Raises StoreError; then nothing is begun."""
        ...

    async def finish(self, execution_id: str, receipt: Receipt) -> None:
        """Keep a receipt. Raises StoreError."""
        ...

    async def load(self) -> Sequence[tuple[Acceptance, Receipt | None]]:
        """All that is kept, oldest first; without a receipt where the node was lost in the middle. Raises StoreError."""
        ...


def lost(acceptance: Acceptance, node_id: str, now: datetime, *, signer: Signer | None = None) -> Receipt:
    """The receipt of an execution in whose middle the node was lost."""
    message = "the node was lost after it had accepted the execution; whether it had any effect is unknown"
    receipt = Receipt(
        intent_id=acceptance.intent_id,
        intent_digest=acceptance.intent_digest,
        node_id=node_id,
        target_class=acceptance.target_class,
        target_id=acceptance.target_id,
        lane_id=acceptance.lane_id,
        delivery=Delivery.UNKNOWN,
        failure=Failure.of(FailureClass.NODE_LOST, message),
        status=None,
        headers=(),
        bytes_sent=None,
        started_at=acceptance.accepted_at,
        finished_at=now,
        evidence=(),
    )
    data: dict[str, Fact] = {"node_id": node_id, "accepted_at": to_rfc3339(acceptance.accepted_at)}
    return EvidenceLog(acceptance.intent_digest).seal("lost", receipt, data, signer)
