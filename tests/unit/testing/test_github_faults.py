"""Faults, limits and the log, without a server."""

import pytest

from interlock import testing
from interlock.testing.github import KINDS
from interlock.testing.github.faults import make_fault, matches
from interlock.testing.github.traffic import Limits, Log

LINE = "PATCH /repos/acme/rocket/issues/comments/7"


@pytest.mark.parametrize(
    ("pattern", "means"),
    [
        ("*", True),
        ("issues/update-comment", True),
        ("issues/*", True),
        ("issues/update", False),
        ("PATCH /repos/*/issues/*", True),
        ("PATCH *", True),
        ("POST *", False),
        ("PATCH /repos/*/issues", False),
    ],
)
def test_a_pattern_is_about_the_operation_or_about_method_and_path(pattern: str, means: bool):
    assert matches(pattern, operation_id="issues/update-comment", line=LINE) is means


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_made(kind: str):
    fault = make_fault(kind)
    assert fault.kind == kind
    assert fault.apply is (kind not in {"status", "rate_limit", "secondary_limit"})


def test_a_status_comes_with_its_number():
    assert make_fault("status:502", apply=True).refusal().status == 502
    assert make_fault("status").refusal().status == 503
    assert make_fault("status:429", retry_after=7).refusal().headers["retry-after"] == "7"
    assert make_fault("secondary_limit").refusal().headers["retry-after"] == "60"
    assert make_fault("secondary_limit:429").refusal().status == 429


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "explode"},
        {"kind": "status:99"},
        {"kind": "status:abc"},
        {"kind": "cut_before:503"},
        {"kind": "slow", "times": 0},
        {"kind": "slow", "seconds": -1.0},
        {"kind": "rate_limit", "apply": True},
    ],
)
def test_a_senseless_order_is_refused(order: dict[str, object]):
    with pytest.raises(ValueError, match=r"."):
        make_fault(**order)  # pyright: ignore[reportArgumentType]


def test_the_limit_counts_per_login_and_starts_again_after_an_hour():
    clock = testing.ManualClock()
    limits = Limits(3, clock)
    limits.spend("mona")
    limits.spend("mona")
    assert (limits.remaining("mona"), limits.remaining("octo-agent")) == (1, 3)
    assert limits.headers("mona") == {
        "x-ratelimit-limit": "3",
        "x-ratelimit-remaining": "1",
        "x-ratelimit-used": "2",
        "x-ratelimit-reset": str(int(clock.now().timestamp()) + 3600),
        "x-ratelimit-resource": "core",
    }
    clock.advance(3600)
    assert limits.remaining("mona") == 3
    limits.set("mona", remaining=0, reset_in=5)
    assert limits.remaining("mona") == 0
    clock.advance(5)
    assert limits.remaining("mona") == 3


def test_the_log_keeps_no_secret_and_counts_effects():
    log = Log()
    headers = {"authorization": "Bearer abc-secret", "cookie": "abc-secret", "accept": "x"}
    for operation_id, method in (("issues/create", "POST"), ("issues/create", "POST"), ("issues/get", "GET")):
        exchange = log.open(
            method=method, path="/repos/a/b/issues", query="", operation_id=operation_id, headers=headers, body_size=2
        )
        if method == "POST":
            log.note_effect(exchange)
    assert "abc-secret" not in repr(log)
    assert log.exchanges[0].headers["accept"] == "x"
    assert (log.effects("*"), log.effects("issues/create"), log.effects("POST *"), log.effects("GET *")) == (2, 2, 2, 0)
    assert [exchange.sequence for exchange in log.requests("issues/create")] == [1, 2]
