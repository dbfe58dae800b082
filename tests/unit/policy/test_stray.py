"""Rules whose names are not there: typos are told from what is not installed yet."""

import difflib
from typing import Any

import pytest

from interlock import policy
from interlock.policy import Effect, stray

THERE = ("github.issue.create", "github.issue.list", "github.git.ref.delete", "github.repo.fetch")


def strays(then: Effect = Effect.DENY, elsewhere: tuple[str, ...] = (), **matchers: Any) -> list[policy.Stray]:
    rule = policy.Rule(rule_id="r", then=then, **matchers)
    return list(policy.find_strays([rule], THERE, elsewhere=elsewhere))


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("github.isue.create", "github.issue.create"),
        ("github.isue.*", "github.issue.*"),
        ("githb.issue.*", "github.issue.*"),
        ("githb.*", "github.*"),
        ("githb.isue.creat", "github.issue.create"),
        ("*.isue.create", "*.issue.create"),
        ("github.git.ref.delte", "github.git.ref.delete"),
        ("github.issues.*", "github.issue.*"),
        ("github.issue.delete", None),
        ("github.wiki.*", None),
        ("gitlab.issue.create", None),
        ("linear.*", None),
        ("github.issue.create.now", None),
        ("github", None),
    ],
)
def test_a_typo_is_told_from_another_name(pattern: str, near: str | None):
    (found,) = strays(capability=(pattern,))
    assert (found.pattern, found.near, found.protects_nothing) == (pattern, near, near is not None)


@pytest.mark.parametrize("pattern", ["*", "github.*", "*.delete", "github.issue.c*", "gith?b.issue.list"])
def test_what_matches_is_no_stray(pattern: str):
    assert strays(capability=(pattern,)) == []


def test_connectors_are_looked_at_too():
    assert strays(connector=("github", "git*")) == []
    assert [(each.pattern, each.near) for each in strays(connector=("githb", "linear"))] == [
        ("githb", "github"),
        ("linear", None),
    ]


def test_what_is_elsewhere_is_not_judged():
    assert strays(elsewhere=("githb",), capability=("githb.issue.*",), connector=("githb",)) == []
    assert strays(elsewhere=("other",), capability=("*.isue.create",)) == []


@pytest.mark.parametrize("pattern", ["handler.report", "agent.desk", "handler.*", "inference.*", "inference.generate"])
def test_what_programs_bring_along_is_not_judged(pattern: str):
    """Handlers and agents are in no catalogue: a worker has them, and whoever asks may have none."""
    assert strays(capability=(pattern,), connector=(pattern.partition(".")[0],)) == []


@pytest.mark.parametrize(
    ("matchers", "near"),
    [
        ({"capability": ("agent.run.delete",)}, "agents.run.delete"),
        ({"capability": ("inference.job.*",)}, "inferences.job.*"),
        ({"connector": ("agent",)}, "agents"),
    ],
)
def test_what_begins_like_a_task_and_nearly_names_what_is_there_is_a_typo(matchers: dict[str, Any], near: str):
    rule = policy.Rule(rule_id="r", then=Effect.DENY, **matchers)
    (found,) = policy.find_strays([rule], ["agents.run.delete", "inferences.job.start"])
    assert (found.near, found.protects_nothing) == (near, True)


def test_a_rule_for_other_tenants_is_not_judged():
    rule = policy.Rule(rule_id="r", then=Effect.DENY, capability=("github.isue.*",), tenant=("b-*", "c[1]"))
    found = {each: list(policy.find_strays([rule], THERE, tenant_id=each)) for each in ("a", "b-1", "c[1]", "c1")}
    assert {each: len(some) for each, some in found.items()} == {"a": 0, "b-1": 1, "c[1]": 1, "c1": 0}


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("provider_stripe.proxy.*", None),
        ("provider_starva.proxy.*", "provider_strava.proxy.*"),
        ("provder_strava.proxy.*", "provider_strava.proxy.*"),
    ],
)
def test_what_all_providers_are_called_makes_none_like_another(pattern: str, near: str | None):
    rule = policy.Rule(rule_id="r", then=Effect.DENY, capability=(pattern,))
    (found,) = policy.find_strays([rule], ["provider_strava.proxy.get"])
    assert found.near == near


def test_a_rule_that_is_written_ahead_says_so():
    assert strays(capability=("github.isue.*",), ahead=True) == []


def test_a_rule_that_only_allows_lets_nothing_through_by_mistake():
    (found,) = strays(Effect.ALLOW, capability=("github.isue.*",))
    assert (found.near, found.protects_nothing) == ("github.issue.*", False)
    assert [strays(then, capability=("github.isue.*",))[0].protects_nothing for then in (Effect.ASK, Effect.SHED)] == [
        True,
        True,
    ]


def test_a_rule_is_not_compared_with_every_name(monkeypatch: pytest.MonkeyPatch):
    """A policy may name thousands, and so may what is installed."""
    compared = 0

    class Counted(difflib.SequenceMatcher[str]):
        def __init__(self, *args: Any) -> None:
            nonlocal compared
            compared += 1
            super().__init__(*args)

    monkeypatch.setattr(stray, "SequenceMatcher", Counted)
    there = [f"{service}.record{number}.create" for service in ("acmecorp", "northwind") for number in range(500)]
    patterns = [f"service{number}.record{number}.create" for number in range(500)]
    rules = [policy.Rule(rule_id=each, then=Effect.DENY, capability=(each,)) for each in patterns]
    assert len(list(policy.find_strays(rules, there))) == 500
    assert compared <= 2 * 500
