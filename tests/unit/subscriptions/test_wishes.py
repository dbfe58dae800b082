"""Which events are wanted, and what nobody can want."""

from dataclasses import replace
from typing import Any

import pytest

from fix_subscriptions import EVENT
from interlock import connections, runs
from interlock.subscriptions import CONNECTION_TYPES, RUN_TYPES, TYPES, InvalidSubscription, Wish, checked, checks

CON = f"con_{1:032x}"


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        (Wish(types=("*",)), True),
        (Wish(types=("run.*",)), True),
        (Wish(types=("run.completed",)), True),
        (Wish(types=("run.failed", "connection.*")), False),
        (Wish(types=("*",), capabilities=("github.*",)), True),
        (Wish(types=("*",), capabilities=("github.issue.close", "acme.*")), False),
        (Wish(types=("*",), connections=("con_1",)), True),
        (Wish(types=("*",), connections=("con_2",)), False),
        (Wish(types=("*",), capabilities=("github.*",), connections=("con_2",)), False),
    ],
)
def test_what_is_wanted(wish: Wish, wanted: bool):
    assert wish.covers(EVENT) is wanted


def test_a_filter_leaves_out_what_does_not_have_such_a_thing():
    event = replace(EVENT, type="connection.revoked", capability=None)
    assert Wish(types=("*",), connections=("con_1",)).covers(event)
    assert not Wish(types=("*",), capabilities=("*",)).covers(event)


def test_the_types_are_those_of_the_rooms():
    assert {each.removeprefix("run.") for each in RUN_TYPES} == {state.value for state in runs.State} - {"running"}
    assert {each.removeprefix("connection.") for each in CONNECTION_TYPES} == {
        each.value for each in connections.Happening
    }
    assert {*RUN_TYPES, *CONNECTION_TYPES, "subscription.disabled"} == TYPES


def test_a_broken_connection_is_one_that_degraded_or_needs_a_person():
    wish = checked(Wish(types=["connection.broken", "connection.degraded"], connections=[CON]))
    assert wish == Wish(types=("connection.degraded", "connection.reauth_required"), connections=(CON,))


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"types": []}, "name at least one type"),
        ({"types": ["run.complete"]}, "no event is of the type 'run.complete'; did you mean 'run.completed'?"),
        ({"types": ["run.[a-z]*"]}, "no event is of the type"),
        ({"types": ["*"] * 51}, "there are 51 types; the most is 50"),
        ({"types": ["x" * 201]}, "1 to 200 printable"),
        ({"types": ["*"], "capabilities": [""]}, "each of the capabilities"),
        ({"types": ["*"], "connections": ["work"]}, "'work' is no connection id"),
    ],
)
def test_what_nobody_can_want(wish: dict[str, Any], problem: str):
    with pytest.raises(InvalidSubscription, match="this is no subscription") as raised:
        checked(Wish(**wish))
    assert problem in raised.value.message


@pytest.mark.parametrize("url", ["https://example.com/hooks?a=b", "http://127.0.0.1:8000/x", "http://[::1]:8000/"])
def test_where_events_may_go(url: str):
    checks.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://ann:pw@example.com/",
        "example.com",
        "",
        "https://e.com/" + "x" * 2000,
    ],
)
def test_where_they_may_not(url: str):
    with pytest.raises(InvalidSubscription):
        checks.check_url(url)
