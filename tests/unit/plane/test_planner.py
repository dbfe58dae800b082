"""The planner: one route, by the order of what is acceptable, or the reason why there is none."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_plane import Intents
from fix_process import process
from interlock import plane

LANES = (plane.LaneCapabilities(lane_id="http", carries=("interlock.http-intent/v1",)),)
NOW = Intents().clock.now()


def target(target_id: str, target_class: str = "strong", **fields: Any) -> plane.TargetDescriptor:
    attestation = plane.Attestation(
        target_class=target_class,
        properties=(),
        attested_by=fields.pop("attested_by", "key-1"),
        attested_at=fields.pop("attested_at", NOW),
        expires_at=fields.pop("expires_at", NOW + timedelta(seconds=30)),
    )
    defaults: dict[str, Any] = {"lane_id": "http", "health": plane.Health.READY}
    return plane.TargetDescriptor(target_id=target_id, attestation=attestation, **defaults | fields)


def planned(
    *targets: plane.TargetDescriptor,
    classes: tuple[str, ...] = ("strong", "weak"),
    attested_by: tuple[str, ...] | None = None,
    **fields: Any,
) -> plane.ExecutionRoute | plane.Failure:
    acceptable = plane.AcceptableAttestation(classes=classes, attested_by=attested_by)
    return plane.plan(Intents().http(**fields), acceptable, targets, LANES, now=NOW)


def code(*targets: plane.TargetDescriptor, **options: Any) -> str:
    failure = planned(*targets, **options)
    assert isinstance(failure, plane.Failure)
    return failure.code


def test_the_best_class_wins_whatever_the_order_of_the_targets():
    route = planned(target("a", "weak"), target("b", "strong"))
    assert isinstance(route, plane.ExecutionRoute)
    assert (route.target_id, route.target_class, route.lane_id) == ("b", "strong", "http")


def test_a_route_ends_with_the_intent_or_its_deadline():
    route = planned(target("a"), deadline_at=NOW + timedelta(seconds=1))
    assert isinstance(route, plane.ExecutionRoute)
    assert route.ends_at == NOW + timedelta(seconds=1)
    long = planned(target("a"), deadline_at=NOW + timedelta(hours=1))
    assert isinstance(long, plane.ExecutionRoute)
    assert long.ends_at == NOW + timedelta(milliseconds=plane.Timeouts().total_ms)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"target_class": "other"}, "target_class_unknown"),
        ({"expires_at": NOW}, "attestation_stale"),
        ({"attested_at": NOW + timedelta(seconds=1)}, "attestation_stale"),
        ({"health": plane.Health.DRAINING}, "target_unhealthy"),
        ({"lane_id": "process"}, "lane_not_registered"),
    ],
)
def test_a_target_that_will_not_do(change: dict[str, Any], expected: str):
    assert code(target("a", **change)) == expected
    route = planned(target("a", **change), target("b", "weak"))
    assert isinstance(route, plane.ExecutionRoute), "the next acceptable class serves"
    assert route.target_id == "b"


def test_what_an_intent_needs_must_have_been_shown():
    """Not by the class, which stands for less."""
    lanes = (plane.LaneCapabilities(lane_id="process", carries=("interlock.process-intent/v1",)),)
    profile = plane.SandboxProfile(network=plane.Network.HOSTS, hosts=("acme.dev:443",))
    plain = process("true", deadline_at=NOW + timedelta(seconds=60))
    intent = plain.model_copy(update={"sandbox": profile})
    box = target("box", lane_id="process")
    acceptable = plane.AcceptableAttestation(classes=("strong",))
    refused = plane.plan(intent, acceptable, [box], lanes, now=NOW)
    assert isinstance(refused, plane.Failure)
    assert (refused.code, refused.message) == (
        "sandbox_unenforceable",
        "target box was not shown to have network-hosts",
    )
    shown = box.attestation.model_copy(update={"properties": (plane.Property.NETWORK_HOSTS,)})
    proved = box.model_copy(update={"attestation": shown})
    assert isinstance(plane.plan(intent, acceptable, [box, proved], lanes, now=NOW), plane.ExecutionRoute)
    assert isinstance(plane.plan(plain, acceptable, [box], lanes, now=NOW), plane.ExecutionRoute)


def test_only_accepted_attesters_count():
    assert code(target("a", attested_by="self"), attested_by=("key-1",)) == "attester_not_accepted"
    assert isinstance(planned(target("a"), attested_by=("key-1",)), plane.ExecutionRoute)


def test_what_is_asked_of_a_target_besides_its_class_counts():
    asked = plane.TargetRequirement(features=("gpu",))
    acceptable = plane.AcceptableAttestation(classes=("strong",))
    targets = [target("a"), target("b", features=("gpu",))]
    route = plane.plan(Intents().http(), acceptable, targets, LANES, now=NOW, requirement=asked)
    assert isinstance(route, plane.ExecutionRoute)
    assert route.target_id == "b"
    refused = plane.plan(Intents().http(), acceptable, targets[:1], LANES, now=NOW, requirement=asked)
    assert isinstance(refused, plane.Failure)
    assert refused.code == "target_features"


def test_nothing_after_the_deadline():
    assert code(target("a"), deadline_at=NOW) == "deadline_passed"


@given(
    st.lists(st.sampled_from(["strong", "weak", "other"]), max_size=6),
    st.lists(st.sampled_from(["strong", "weak"]), min_size=1, max_size=2, unique=True),
)
def test_a_class_that_is_not_acceptable_is_never_chosen(offered: list[str], acceptable: list[str]):
    route = planned(*(target(str(n), name) for n, name in enumerate(offered)), classes=tuple(acceptable))
    best = next((name for name in acceptable if name in offered), None)
    assert (route.target_class if isinstance(route, plane.ExecutionRoute) else None) == best
