"""The node: admits an intent, hands it to one lane once, and answers with a receipt whatever happens."""

import logging
import traceback
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, TypeVar

import anyio

from interlock.kernel import Clock, digest_bytes
from interlock.plane.authority import AuthorityDecision, AuthorityVerifier
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import HttpIntent, Intent
from interlock.plane.lane import Exchange, Lane, LaneFailure
from interlock.plane.receipt import Delivery, EvidenceLog, Fact, Receipt
from interlock.plane.targets import Health, Target, TargetDescriptor

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)

OnReceipt = Callable[[Receipt], None]
"""Takes the one receipt of an execution. Must not raise."""


class Node:
    """Carries out intents on its targets. It judges authority, target and lane; it holds no policy, does not fall back,
    and dispatches exactly once."""

    def __init__(
        self,
        node_id: str,
        *,
        lanes: Iterable[Lane],
        targets: Iterable[Target],
        verifier: AuthorityVerifier,
        clock: Clock,
    ) -> None:
        """Raises ValueError if two lanes or two targets have one name."""
        self.node_id = node_id
        self._lanes = _by_name("lane", ((lane.lane_id, lane) for lane in lanes))
        self._targets = _by_name("target", ((target.target_id, target) for target in targets))
        self._verifier = verifier
        self._clock = clock

    async def execute(
        self,
        intent: Intent,
        *,
        authority: AuthorityDecision | None,
        target_class: str,
        on_receipt: OnReceipt | None = None,
    ) -> Receipt:
        """Carry out an intent on a target of that class. A failed effect is a receipt, never an exception.

        `on_receipt` is called exactly once with the receipt; when the caller is cancelled, that is before the
        cancellation goes on, and the only way to learn whether anything was sent. Raises ValueError for an intent
        without its body.
        """
        if isinstance(intent, HttpIntent) and not intent.has_body:
            raise ValueError(f"intent {intent.intent_id} was read from its record and has no body")
        execution = _Execution(self.node_id, intent, target_class, self._clock)
        try:
            failure = await self._carry_out(execution, authority)
        except anyio.get_cancelled_exc_class():
            receipt = execution.close(Failure.of(FailureClass.CANCELLED, "the caller stopped waiting"))
            if on_receipt is not None:
                on_receipt(receipt)
            raise
        receipt = execution.close(failure)
        if on_receipt is not None:
            on_receipt(receipt)
        return receipt

    async def aclose(self) -> None:
        """Close the lanes."""
        for lane in self._lanes.values():
            await lane.aclose()

    async def _carry_out(self, execution: "_Execution", authority: AuthorityDecision | None) -> Failure | None:
        intent = execution.intent
        lane = self._admit(execution, authority)
        if isinstance(lane, Failure):
            return lane
        limit = min(intent.total_ms / 1000, (intent.deadline_at - execution.started_at).total_seconds())
        with anyio.move_on_after(limit) as scope:
            try:
                await lane.execute(intent, execution.exchange)
            except LaneFailure as error:
                return error.failure
            except Exception as error:  # noqa: BLE001 - a lane's defect must not lose what is known of the effect
                # Only the frames: the text of a foreign exception may hold what the lane was given to send.
                _log.error("lane %s broke:\n%s", lane.lane_id, "".join(traceback.format_tb(error.__traceback__)))
                return Failure.of(FailureClass.LANE_FAILED, f"the lane {lane.lane_id} broke: {type(error).__name__}")
        if scope.cancelled_caught:
            return Failure.of(FailureClass.TOTAL_TIMEOUT, f"not done within {limit:g} seconds")
        return None

    def _admit(self, execution: "_Execution", authority: AuthorityDecision | None) -> Lane | Failure:
        """Authority first, so that whoever has none learns nothing of the node."""
        intent, target_class, now = execution.intent, execution.target_class, execution.started_at
        if authority is None:
            return Failure.of(FailureClass.AUTHORITY_DENIED, "the execution has no authority", code="authority_missing")
        denied = self._verifier.spend(
            authority, intent_digest=intent.digest, audience=self.node_id, target_class=target_class
        )
        if denied is not None:
            return denied
        if intent.deadline_at <= now:
            return Failure.of(FailureClass.DEADLINE_PASSED, "the deadline passed before the execution began")
        target = self._select(target_class, now)
        if isinstance(target, Failure):
            return target
        lane = self._lanes.get(target.lane_id)
        if lane is None:
            message = f"target {target.target_id} needs the lane {target.lane_id}, which this node does not have"
            return Failure.of(FailureClass.LANE_UNAVAILABLE, message, code="lane_not_registered")
        if not isinstance(intent, lane.carries):
            message = f"the lane {lane.lane_id} does not carry {type(intent).__name__}"
            return Failure.of(FailureClass.LANE_UNAVAILABLE, message, code="lane_cannot_carry")
        execution.admitted(authority, target)
        execution.exchange.ends_at = self._clock.monotonic() + (authority.expires_at - now).total_seconds()
        return lane

    def _select(self, target_class: str, now: datetime) -> TargetDescriptor | Failure:
        """The first ready target whose attestation proves the class now."""
        reason = ("target_class_unknown", f"no target of class {target_class[:100]}")
        for target in self._targets.values():
            descriptor = target.describe()
            attestation = descriptor.attestation
            if attestation.target_class != target_class:
                continue
            if not attestation.attested_at <= now < attestation.expires_at:
                reason = ("attestation_stale", f"the attestation of target {descriptor.target_id} does not hold now")
            elif descriptor.health is not Health.READY:
                reason = ("target_unhealthy", f"target {descriptor.target_id} is {descriptor.health}")
            else:
                return descriptor
        code, message = reason
        return Failure.of(FailureClass.TARGET_UNAVAILABLE, message, code=code)


class _Execution:
    """One execution as it goes: what its receipt is made of."""

    def __init__(self, node_id: str, intent: Intent, target_class: str, clock: Clock) -> None:
        self.intent = intent
        self.target_class = target_class
        self.exchange = Exchange(clock)
        self.started_at = clock.now()
        self._node_id = node_id
        self._clock = clock
        self._target: TargetDescriptor | None = None
        self._evidence = EvidenceLog(intent.digest)

    def admitted(self, authority: AuthorityDecision, target: TargetDescriptor) -> None:
        self._target = target
        attestation = target.attestation
        data: dict[str, Fact] = {
            "node_id": self._node_id,
            "authority_key_id": authority.key_id,
            "authority_nonce": authority.nonce,
            "target_id": target.target_id,
            "target_class": attestation.target_class,
            "properties": list(attestation.properties),
            "attested_by": attestation.attested_by,
            "lane_id": target.lane_id,
        }
        self._evidence.add("admitted", self.started_at, data)

    def close(self, failure: Failure | None) -> Receipt:
        exchange, target, finished_at = self.exchange, self._target, self._clock.now()
        delivery = _delivery(exchange)
        body = exchange.body if exchange.answered else b""
        body_digest = digest_bytes(body)
        for type_, at, data in exchange.notes:
            self._evidence.add(type_, at, data)
        outcome: dict[str, Fact] = {
            "delivery": delivery.value,
            "failure": None if failure is None else failure.code,
            "status": exchange.status,
            "bytes_sent": exchange.bytes_sent,
            "body_digest": body_digest,
            "peer": exchange.peer,
        }
        self._evidence.add("rejected" if target is None else "finished", finished_at, outcome)
        return Receipt(
            intent_id=self.intent.intent_id,
            intent_digest=self.intent.digest,
            node_id=self._node_id,
            target_class=self.target_class,
            target_id=None if target is None else target.target_id,
            lane_id=None if target is None else target.lane_id,
            delivery=delivery,
            failure=failure,
            status=exchange.status,
            headers=exchange.headers,
            body=body,
            body_digest=body_digest,
            body_size=len(body),
            bytes_sent=exchange.bytes_sent,
            started_at=self.started_at,
            finished_at=finished_at,
            evidence=self._evidence.links(),
        )


def _delivery(exchange: Exchange) -> Delivery:
    if exchange.answered:
        return Delivery.RESPONDED
    return Delivery.UNKNOWN if exchange.bytes_sent else Delivery.NOT_SENT


def _by_name(what: str, items: Iterable[tuple[str, T]]) -> dict[str, T]:
    named: dict[str, T] = {}
    for name, item in items:
        if name in named:
            raise ValueError(f"two {what}s are called {name!r}")
        named[name] = item
    return named
