"""The planner: from an intent and what may carry it to a route, or to the reason why there is none. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import Field

from interlock.plane.contract import Contract, Digest, Moment, Name
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import Intent
from interlock.plane.negotiation import TargetRequirement, unfit
from interlock.plane.targets import TargetDescriptor


class AcceptableAttestation(Contract):
    """Which proofs of a target will do: classes, best first, and by whom. Nothing listed accepts nothing."""

    contract: Literal["interlock.acceptable-attestation/v1"] = "interlock.acceptable-attestation/v1"
    classes: tuple[Name, ...] = Field(min_length=1, max_length=16)
    attested_by: tuple[Name, ...] | None = None
    """Key ids of attesters; None: whoever the node's own verifier accepts."""


class LaneCapabilities(Contract):
    """What a lane can carry: contracts of intents."""

    contract: Literal["interlock.lane/v1"] = "interlock.lane/v1"
    lane_id: Name
    carries: tuple[Name, ...]


class ExecutionRoute(Contract):
    """Where one intent goes: one target, by one lane, until then."""

    contract: Literal["interlock.route/v1"] = "interlock.route/v1"
    intent_digest: Digest
    target_id: Name
    target_class: Name
    attestation_digest: Digest
    lane_id: Name
    ends_at: Moment


ANYTHING: Final = TargetRequirement()
"""Any target of an acceptable class will do."""


def plan(
    intent: Intent,
    acceptable: AcceptableAttestation,
    targets: Iterable[TargetDescriptor],
    lanes: Sequence[LaneCapabilities],
    *,
    now: datetime,
    requirement: TargetRequirement = ANYTHING,
) -> ExecutionRoute | Failure:
    """The best route: by the order of the acceptable classes, then by the order of the targets. One route and no second
    choice: to try another class after a failure is the caller's to decide."""
    if intent.deadline_at <= now:
        return Failure.of(FailureClass.DEADLINE_PASSED, "the deadline passed before the execution began")
    announced = list(targets)
    refused = _none(", ".join(acceptable.classes)[:100])
    for wanted in acceptable.classes:
        for target in announced:
            if target.attestation.target_class != wanted:
                continue
            problem = _unfit(intent, acceptable, requirement, target, lanes, now)
            if problem is None:
                return _route(intent, target, now)
            refused = problem
    return refused


def _route(intent: Intent, target: TargetDescriptor, now: datetime) -> ExecutionRoute:
    return ExecutionRoute(
        intent_digest=intent.digest,
        target_id=target.target_id,
        target_class=target.attestation.target_class,
        attestation_digest=target.attestation.digest,
        lane_id=target.lane_id,
        ends_at=min(intent.deadline_at, now + timedelta(milliseconds=intent.total_ms)),
    )


def _unfit(
    intent: Intent,
    acceptable: AcceptableAttestation,
    requirement: TargetRequirement,
    target: TargetDescriptor,
    lanes: Sequence[LaneCapabilities],
    now: datetime,
) -> Failure | None:
    name, attestation = target.target_id, target.attestation
    if not attestation.attested_at <= now < attestation.expires_at:
        return _unavailable("attestation_stale", f"the attestation of target {name} does not hold now")
    if acceptable.attested_by is not None and attestation.attested_by not in acceptable.attested_by:
        return _unavailable(
            "attester_not_accepted",
            f"target {name} was attested by {attestation.attested_by}, whose word is not accepted",
        )
    if (problem := unfit(target, requirement)) is not None:
        return problem
    if missing := sorted(intent.needs - frozenset(attestation.properties)):
        message = f"target {name} was not shown to have {', '.join(missing)}"
        return Failure.of(FailureClass.SANDBOX_UNENFORCEABLE, message)
    lane = next((lane for lane in lanes if lane.lane_id == target.lane_id), None)
    if lane is None:
        message = f"target {name} needs the lane {target.lane_id}, which this node does not have"
        return Failure.of(FailureClass.LANE_UNAVAILABLE, message, code="lane_not_registered")
    if intent.contract_name not in lane.carries:
        message = f"the lane {lane.lane_id} does not carry {intent.contract_name}"
        return Failure.of(FailureClass.LANE_UNAVAILABLE, message, code="lane_cannot_carry")
    return None


def _none(classes: str) -> Failure:
    return _unavailable("target_class_unknown", f"no target of class {classes}")


def _unavailable(code: str, message: str) -> Failure:
    return Failure.of(FailureClass.TARGET_UNAVAILABLE, message, code=code)
