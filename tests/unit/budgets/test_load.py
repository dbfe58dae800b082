import contextlib
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import budgets
from interlock.budgets import Per, Rate, Rule, Spend

TOML = """\
[[budgets]]
name = "github-writes"
per = "connection"
capability = "github.*"
effect = ["create", "update"]
concurrency = 4
rate = { limit = 80, per_seconds = 60 }

[[budgets]]
name = "money"
per = "tenant"
spend = { limit = 5_000_000, per_seconds = 86_400, unit = "usd_micros" }
"""


def problems(text: str) -> list[tuple[object, ...]]:
    with pytest.raises(budgets.InvalidBudget) as caught:
        budgets.parse_rules(tomllib.loads(text)["budgets"], locate=lambda path: path)
    listed: Any = caught.value.to_json()["details"]
    return [(item["path"], item["problem"], item["suggestion"]) for item in listed["problems"]]


def test_the_file_form_gives_the_rules():
    assert budgets.parse_rules(tomllib.loads(TOML)["budgets"]) == (
        Rule(
            name="github-writes",
            per=Per.CONNECTION,
            capability=("github.*",),
            effect=("create", "update"),
            concurrency=4,
            rate=Rate(limit=80, per_seconds=60),
        ),
        Rule(name="money", per=Per.TENANT, spend=Spend(limit=5_000_000, per_seconds=86_400, unit="usd_micros")),
    )


def test_all_problems_are_reported_at_once_with_suggestions():
    text = """\
[[budgets]]
name = "one"
per = "conection"
concurency = 4
capability = [1]

[[budgets]]
name = "one"
per = "tenant"
concurrency = 0
rate = { limt = 3, per_seconds = true }
spend = { limit = 3, per_seconds = 60 }

[[budgets]]
name = "a:b"
per = "tenant"
rate = 7

[[budgets]]
nmae = "x"
rate = { per_seconds = 60 }

[[budgets]]
per = "tenant"
"""
    count = "9007199254740991"
    assert problems(text) == [
        ("budgets[0].concurency", "unknown key", "concurrency"),
        ("budgets[0].per", "'conection' is not one of connection, tenant, capability, agent, session", "connection"),
        ("budgets[0].capability", "'[1]' is not a text or a list of texts", None),
        ("budgets[1].concurrency", "0 is not a number from 1 to 100000", None),
        ("budgets[1].rate.limt", "unknown key", "limit"),
        ("budgets[1].rate.per_seconds", "True is not a number from 1 to 31622400", None),
        ("budgets[1].spend.unit", "is missing: the name of a unit such as 'usd_micros'", None),
        ("budgets[1].name", "'one' is also the name of budget 0", None),
        ("budgets[2].name", "'a:b' is not a name of 1 to 64 letters, digits, '_', '-', '.'", None),
        ("budgets[2].rate", "must be a table such as { limit = 30, per_seconds = 60 }", None),
        ("budgets[3].nmae", "unknown key", "name"),
        ("budgets[3].per", "is missing: one of connection, tenant, capability, agent, session", None),
        ("budgets[3].rate.limit", f"is missing: a number from 1 to {count}", None),
        ("budgets[4].name", "is missing: a name of 1 to 64 letters, digits, '_', '-', '.'", None),
        ("budgets[4]", "limits nothing: give it concurrency, rate or spend", None),
    ]


def test_the_message_has_the_place():
    with pytest.raises(budgets.InvalidBudget) as caught:
        budgets.parse_rules([{"name": "x", "per": "tenant", "rat": 1, "concurrency": 1}], locate=lambda _: "i.toml:3:1")
    assert str(caught.value) == (
        "the budgets are not valid:\n  i.toml:3:1: budgets[0].rat: unknown key; did you mean 'rate'?"
    )


@pytest.mark.parametrize("tables", [None, 7, "text", [7], [None] * 201])
def test_what_is_no_list_of_tables_is_refused(tables: object):
    with pytest.raises(budgets.InvalidBudget):
        budgets.parse_rules(tables)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(["name", "per", "capability", "effect", "concurrency", "rate", "spend", "x"])


@given(st.lists(st.dictionaries(_KEYS, _JSON | st.sampled_from(["tenant", "a", 3])) | _JSON, max_size=3))
def test_whatever_stands_in_the_file_it_loads_or_is_refused(tables: list[Any]):
    with contextlib.suppress(budgets.InvalidBudget):
        assert len(budgets.parse_rules(tables)) == len(tables)


def test_of_turns_spend_alone_is_counted():
    text = """
[[budgets]]
name = "desk"
per = "session"
rate = { limit = 3, per_seconds = 60 }

[[budgets]]
name = "all"
per = "tenant"
capability = "agent.*"
concurrency = 3
"""
    told = "of turns of agents a budget counts what they spend: give it spend alone"
    assert problems(text) == [("budgets[0]", told, None), ("budgets[1]", told, None)]
