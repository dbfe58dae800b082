from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import budgets
from interlock.budgets import Per, Rate, Rule

CALL = budgets.Call(
    tenant_id="acme",
    capability_id="github.issue.create",
    connector_id="github",
    connection_id="con_1",
    effect="create",
    environment="prod",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=40_000)), st.integers(1, 100_000))
def test_windows_are_aligned_and_hold_their_moment(since: timedelta, seconds: int):
    moment = EPOCH + since
    start, end = Rate(limit=1, per_seconds=seconds).window(moment)
    assert start <= moment < end
    assert end - start == timedelta(seconds=seconds)
    assert (start - EPOCH) % timedelta(seconds=seconds) == timedelta()


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        ({}, True),
        ({"capability": ("linear.*", "github.*")}, True),
        ({"capability": ("linear.*",)}, False),
        ({"connector": ("github",)}, True),
        ({"connector": ("git",)}, False),
        ({"effect": ("create", "update")}, True),
        ({"effect": ("read",)}, False),
        ({"environment": ("dev",)}, False),
        ({"capability": ("github.*",), "environment": ("dev",)}, False),
    ],
)
def test_a_rule_counts_the_calls_that_it_matches(matcher: dict[str, Any], expected: bool):
    rule = Rule(name="b", per=Per.TENANT, **matcher)
    assert rule.matches(CALL) is expected


@pytest.mark.parametrize(
    ("per", "subject"),
    [(Per.CONNECTION, "con_1"), (Per.TENANT, "acme"), (Per.CAPABILITY, "github.issue.create")],
)
def test_calls_are_counted_per_subject_and_tenant(per: Per, subject: str):
    key = Rule(name="b", per=per).key(CALL)
    assert key == budgets.Key(tenant_id="acme", budget="b", subject=subject)


def test_calls_without_a_connection_share_one_place():
    assert Rule(name="b", per=Per.CONNECTION).key(replace(CALL, connection_id=None)).subject == "-"
