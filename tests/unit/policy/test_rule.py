from typing import Any

import pytest

from interlock import policy, runs, sdk
from interlock.policy import Effect, Rule


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rule_id": ""}, "is not an id"),
        ({"rule_id": "guard:x"}, "is not an id"),
        ({"rule_id": "default"}, "not 'default'"),
        ({"then": "alow"}, "did you mean 'allow'"),
        ({"capability": "github.*"}, "is not a list of texts"),
        ({"capability": ("",)}, "printable"),
        ({"capability": ("a" * 201,)}, "printable"),
        ({"capability": ("a\nb",)}, "printable"),
        ({"capability": (7,)}, "printable"),
        ({"capability": ("a",) * 201}, "201 patterns"),
        ({"effect": ("creat",)}, "did you mean 'create'"),
        ({"runtime_class": ("streem",)}, "did you mean 'stream'"),
        ({"origin": ("trigers",)}, "did you mean 'trigger'"),
        ({"pressure": {"budget_lft": "<1"}}, "did you mean 'budget_left'"),
        ({"pressure": {"budget_left": "0.1"}}, "is not a comparison"),
        ({"pressure": {"budget_left": "<nan"}}, "is not a comparison"),
        ({"pressure": {"budget_left": 0.1}}, "is not a comparison"),
        ({"pressure": "<1"}, "is not a table"),
        ({"then": Effect.ASK, "reviewer": ""}, "printable"),
        ({"reason": "x" * 201}, "printable"),
        ({"then": Effect.ASK, "expires_after_s": 0}, "number of seconds"),
        ({"then": Effect.ASK, "expires_after_s": True}, "number of seconds"),
        ({"then": Effect.ASK, "expires_after_s": 1.5}, "number of seconds"),
        ({"sandbox": "strickt"}, "did you mean 'strict'"),
        ({"sandbox": ("strict",)}, "is none of none, standard, strict"),
        ({"then": Effect.DENY, "sandbox": "strict"}, "only a rule that allows or asks"),
        ({"reviewer": "lead"}, "only a rule that asks"),
        ({"expires_after_s": 5}, "only a rule that asks"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str):
    fields: dict[str, Any] = {"rule_id": "r", "then": Effect.ALLOW, **values}
    with pytest.raises(policy.InvalidPolicy, match=message):
        Rule(**fields)


def test_all_problems_are_reported_at_once():
    with pytest.raises(policy.InvalidPolicy) as caught:
        Rule(rule_id="!", then="yes", effect=("reed",), pressure={"x": "<1"})  # pyright: ignore[reportArgumentType]
    assert [problem.path for problem in caught.value.problems] == [("id",), ("then",), ("effect",), ("pressure", "x")]
    assert caught.value.code == "invalid_policy"


def test_a_rule_of_python_is_named_and_its_types_are_explained():
    with pytest.raises(policy.InvalidPolicy) as caught:
        Rule(rule_id="no-deletes", then="deny", effect="delete")  # pyright: ignore[reportArgumentType]
    assert caught.value.message.splitlines()[1:] == [
        "  rule 'no-deletes': then: 'deny' is no Effect, such as Effect.DENY",
        "  rule 'no-deletes': effect: 'delete' is not a list of texts (in Python a tuple, such as ('read',))",
    ]


@pytest.mark.parametrize("pattern", ["*ate", "re?d", "*"])
def test_a_glob_over_a_vocabulary_may_match_any_word(pattern: str):
    assert Rule(rule_id="r", then=Effect.ALLOW, effect=(pattern,)).effect == (pattern,)


@pytest.mark.parametrize(
    ("condition", "parts"),
    [("<0.1", ("<", 0.1)), (">= 30", (">=", 30.0)), (" > 1.5 ", (">", 1.5)), ("<=0", ("<=", 0.0))],
)
def test_conditions_are_taken_apart(condition: str, parts: tuple[str, float]):
    rule = Rule(rule_id="r", then=Effect.SHED, pressure={"queue_age_s": condition})
    assert rule.conditions() == (("queue_age_s", *parts),)


def test_the_words_are_those_that_calls_are_described_with():
    assert tuple(effect.value for effect in sdk.Effect) == policy.EFFECTS
    assert {kind.value for kind in sdk.RuntimeClass} < set(policy.RUNTIME_CLASSES)
    assert tuple(origin.value for origin in runs.Origin) == policy.ORIGINS
