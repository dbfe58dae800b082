"""Receipts: raw facts on one execution, and a hash chain of how it went."""

from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from interlock.kernel import digest_bytes
from interlock.plane.contract import Contract, Digest, Moment, Name
from interlock.plane.failures import Failure

_NOTHING = digest_bytes(b"")


Fact: TypeAlias = str | int | list[str] | None
"""What evidence may say under one name. Flat, so that every reader can show it and checking it costs little."""


class Delivery(StrEnum):
    """What is known of the other side: `not_sent` is a proof, `rejected` is the peer's own word that it did nothing with what
    it got, `responded` is an answer read to its end, and everything else is `unknown`."""

    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    RESPONDED = "responded"


class Evidence(Contract):
    """One link: `hash` covers the canonical JSON of all the other members, `prev` is the hash before it. The first link
    hangs on the digest of the intent."""

    seq: Annotated[int, Field(ge=1)]
    type: Name
    at: str
    data: dict[str, Fact]
    prev: Digest
    hash: Digest


class Receipt(Contract):
    """What one execution came to. `headers` have lower-case names, without cookies and without what only framed the
    message; `body` travels beside the record and is empty unless an answer was read to its end; `facts` are what the lane
    found out besides (`exit_code`, `signal`, `close_code` …). `bytes_sent` is None if the node was lost."""

    contract: Literal["interlock.receipt/v1"] = "interlock.receipt/v1"
    intent_id: Name
    intent_digest: Digest
    node_id: Name
    target_class: Name
    target_id: Name | None
    lane_id: Name | None
    delivery: Delivery
    failure: Failure | None
    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: SkipJsonSchema[bytes] = Field(default=b"", exclude=True, repr=False)
    body_digest: Digest = _NOTHING
    body_size: Annotated[int, Field(ge=0)] = 0
    bytes_sent: Annotated[int, Field(ge=0)] | None
    facts: dict[str, Fact] = Field(default_factory=dict)
    started_at: Moment
    finished_at: Moment
    evidence: tuple[Evidence, ...]

    @property
    def evidence_head(self) -> str:
        """The hash of the last link, which stands for all of them."""
        return self.evidence[-1].hash if self.evidence else self.intent_digest
