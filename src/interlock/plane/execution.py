"""One execution as it goes: what its receipt is made of."""

from collections.abc import Mapping
from typing import Final, TypeGuard, cast

import anyio

from interlock.kernel import Clock, digest_bytes
from interlock.plane.authority import AuthorityDecision
from interlock.plane.channel import Channel, EventLog, Inbox
from interlock.plane.direct import DirectUse
from interlock.plane.evidence import EvidenceLog
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import Intent
from interlock.plane.lane import Exchange, LaneFailure
from interlock.plane.planner import ExecutionRoute
from interlock.plane.receipt import Delivery, Fact, Receipt
from interlock.plane.signatures import Signer
from interlock.plane.targets import TargetDescriptor

IN_MEMORY: Final = 1_048_576
"""Bytes of an execution's output that are collected in memory; what is beyond goes to disk."""


class Execution:
    """From its intent to its one receipt."""

    def __init__(
        self, node_id: str, intent: Intent, target_class: str, clock: Clock, *, asked_by: str | None = None
    ) -> None:
        """`asked_by`: as whom the client is known, where a node serves several."""
        self._asked_by = asked_by
        self.intent = intent
        self.target_class = target_class
        self.exchange = Exchange(clock)
        self.started_at = clock.now()
        self._node_id = node_id
        self._clock = clock
        self._target: TargetDescriptor | None = None
        self._lane_id: str | None = None
        self._evidence = EvidenceLog(intent.digest)

    def admitted(
        self, authority: AuthorityDecision | DirectUse, target: TargetDescriptor, route: ExecutionRoute
    ) -> None:
        """The node accepts it, on this way."""
        self._target, self._lane_id = target, route.lane_id
        attestation = target.attestation
        data: dict[str, Fact] = {
            "node_id": self._node_id,
            **_provenance(authority),
            **({} if self._asked_by is None else {"asked_by": self._asked_by}),
            "target_id": target.target_id,
            "target_class": attestation.target_class,
            "properties": list(attestation.properties),
            "attested_by": attestation.attested_by,
            "attestation_digest": route.attestation_digest,
            "lane_id": route.lane_id,
        }
        self._evidence.add("admitted", self.started_at, data)

    @property
    def target(self) -> TargetDescriptor | None:
        """Where it was admitted to."""
        return self._target

    @property
    def lane_id(self) -> str | None:
        """The lane that carries it."""
        return self._lane_id

    def close(self, failure: Failure | None, *, signer: Signer | None = None) -> Receipt:
        """Its one receipt, signed if there is a signer."""
        exchange, target, finished_at = self.exchange, self._target, self._clock.now()
        facts = _flat(exchange.facts)
        delivery = _delivery(exchange)
        body = exchange.body if exchange.answered else b""
        body_digest = digest_bytes(body)
        for type_, at, data in exchange.notes:
            self._evidence.add(type_, at, _flat(data))
        outcome: dict[str, Fact] = {
            **facts,
            "delivery": delivery.value,
            "failure": None if failure is None else failure.code,
            "status": exchange.status,
            "bytes_sent": exchange.bytes_sent,
            "body_digest": body_digest,
            "peer": exchange.peer,
        }
        receipt = Receipt(
            intent_id=self.intent.intent_id,
            intent_digest=self.intent.digest,
            node_id=self._node_id,
            target_class=self.target_class,
            target_id=None if target is None else target.target_id,
            lane_id=self._lane_id,
            delivery=delivery,
            failure=failure,
            status=exchange.status,
            headers=exchange.headers,
            body=body,
            body_digest=body_digest,
            body_size=len(body),
            bytes_sent=exchange.bytes_sent,
            facts=facts,
            started_at=self.started_at,
            finished_at=finished_at,
            evidence=(),
        )
        return self._evidence.seal("rejected" if target is None else "finished", receipt, outcome, signer)


def _delivery(exchange: Exchange) -> Delivery:
    if exchange.answered:
        return Delivery.RESPONDED
    if not exchange.bytes_sent:
        return Delivery.NOT_SENT
    return Delivery.REJECTED if exchange.rejected else Delivery.UNKNOWN


def _flat(facts: Mapping[str, object]) -> dict[str, Fact]:
    """The facts as evidence takes them. What a lane should not have noted is told by its type: a receipt there must be."""
    return {str(name): value if _is_fact(value) else f"({type(value).__name__})" for name, value in facts.items()}


def _is_fact(value: object) -> TypeGuard[Fact]:
    if isinstance(value, list):
        return all(type(each) is str for each in cast("list[object]", value))
    return value is None or type(value) in (str, int)


def _provenance(authority: AuthorityDecision | DirectUse) -> dict[str, Fact]:
    if isinstance(authority, DirectUse):
        return {"direct_use_by": authority.owner}
    return {"authority_key_id": authority.key_id, "authority_nonce": authority.nonce}


class Collector(Channel):
    """The channel of an execution that nobody follows: one of its streams becomes the receipt's body. There is no input.

    What is more than a little waits in a temporary file without a name, which its end or a kill leaves nothing of: many
    executions that take long must not fill the memory.
    """

    def __init__(self, exchange: Exchange, stream: str | None, limit: int) -> None:
        inbox = Inbox()
        inbox.end()
        super().__init__(EventLog("", exchange.clock), inbox)
        self._exchange = exchange
        self._stream = stream
        self._limit = limit
        self._kept = anyio.SpooledTemporaryFile[bytes](max_size=IN_MEMORY)
        self._size = 0

    async def output(self, stream: str, data: bytes, facts: Mapping[str, Fact] | None = None) -> None:
        """Keep it if it is of the stream. Raises LaneFailure past the limit, and if the disk does not take it."""
        if stream != self._stream:
            return
        self._size += len(data)
        if self._size > self._limit:
            raise LaneFailure(FailureClass.OUTPUT_TOO_LARGE, f"more than {self._limit} bytes of {stream}")
        try:
            await self._kept.write(data)
        except OSError as error:
            raise _not_kept(stream, error) from error

    async def finish(self) -> None:
        """Put what was kept together, if there is a use for it. Raises LaneFailure if the disk does not give it back."""
        try:
            async with self._kept:
                if self._exchange.answered:
                    await self._kept.seek(0)
                    self._exchange.body = await self._kept.read()
        except OSError as error:
            raise _not_kept(self._stream, error) from error


def _not_kept(stream: str | None, error: OSError) -> LaneFailure:
    message = f"the {stream} could not be kept in a temporary file: {error.strerror}"
    return LaneFailure(FailureClass.OUTPUT_TOO_LARGE, message, code="output_not_kept")
