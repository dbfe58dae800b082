from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock import policy
from interlock.policy import Effect, Policy, Rule

FACTS = policy.Facts(
    capability_id="github.issue.create",
    connector_id="github",
    effect="create",
    runtime_class="direct",
    tenant_id="acme",
    actor="svc:deploy[bot]",
    environment="prod",
    roles=frozenset({"developer", "oncall"}),
    connection_id="con_1",
    connection_name="github-main",
    connection_tenant_id="acme",
    required_scopes=frozenset({"repo"}),
    granted_scopes=frozenset({"repo", "read:org"}),
    model="openai:gpt-5-mini",
    pressure={"budget_left": 0.05},
)
ALLOW_ALL = Policy(rules=(Rule(rule_id="all", then=Effect.ALLOW),))


def decide(*rules: Rule, facts: policy.Facts = FACTS, default: Effect = Effect.DENY) -> policy.Decision:
    return Policy(rules=rules, default=default).decide(facts)


def last_of(matcher: dict[str, Any]) -> tuple[str, Any]:
    name, wanted = list(matcher.items())[-1]
    return list(wanted.items())[-1] if name == "pressure" else (name, list(wanted))


def ids(decision: policy.Decision) -> list[str]:
    return [reason.rule_id for reason in decision.reasons]


def test_without_rules_the_default_holds_and_says_so():
    decision = Policy().decide(FACTS)
    assert (decision.effect, ids(decision)) == (Effect.ASK, ["default"])
    assert "no rule matches" in decision.reasons[0].text


@pytest.mark.parametrize(
    ("effect", "expected"), [("read", Effect.ALLOW), ("create", Effect.ASK), ("delete", Effect.ASK)]
)
def test_the_default_policy_allows_reads_and_asks_for_the_rest(effect: str, expected: Effect):
    decision = policy.DEFAULT.decide(replace(FACTS, effect=effect))
    assert decision.effect is expected
    assert decision.role == ("approver" if expected is Effect.ASK else None)


@pytest.mark.parametrize(
    "matcher",
    [
        {"capability": ("github.*",)},
        {"capability": ("slack.*", "github.issue.create")},
        {"capability": ("git?ub.*.create",)},
        {"connector": ("github",)},
        {"effect": ("create", "update")},
        {"runtime_class": ("direct",)},
        {"tenant": ("ac*",)},
        {"actor": ("svc:deploy[bot]",)},
        {"actor": ("svc:*[bot]",)},
        {"role": ("oncall",)},
        {"role": ("dev*",)},
        {"environment": ("prod",)},
        {"connection": ("con_1",)},
        {"connection": ("github-*",)},
        {"origin": ("call",)},
        {"model": ("openai:*",)},
        {"pressure": {"budget_left": "<0.1"}},
        {"pressure": {"budget_left": "<= 0.05"}},
        {"capability": ("github.*",), "role": ("oncall",), "environment": ("prod",)},
    ],
)
def test_matchers_match(matcher: dict[str, Any]):
    assert ids(decide(Rule(rule_id="r", then=Effect.ALLOW, **matcher))) == ["r"]


@pytest.mark.parametrize(
    "matcher",
    [
        {"capability": ("github",)},
        {"capability": ("GitHub.*",)},
        {"connector": ("git",)},
        {"effect": ("read",)},
        {"runtime_class": ("session",)},
        {"tenant": ("other",)},
        {"actor": ("svc:deployb",)},
        {"role": ("admin",)},
        {"environment": ("dev",)},
        {"connection": ("con_2",)},
        {"origin": ("trigger",)},
        {"model": ("anthropic:*",)},
        {"pressure": {"budget_left": ">=0.1"}},
        {"pressure": {"queue_age_s": ">0"}},
        {"capability": ("github.*",), "environment": ("dev",)},
    ],
)
def test_matchers_miss_and_the_explanation_says_which(matcher: dict[str, Any]):
    judged = Policy(rules=(Rule(rule_id="r", then=Effect.ALLOW, **matcher),))
    assert ids(judged.decide(FACTS)) == ["default"]
    explained: Any = judged.explain(FACTS)
    (rule,) = explained["rules"]
    assert rule["matched"] is False
    (missed,) = rule["misses"]
    assert (missed["matcher"], missed["wanted"]) == last_of(matcher)


def test_a_call_without_a_connection_matches_no_connection_rule():
    facts = replace(FACTS, connection_id=None, connection_name=None)
    assert ids(decide(Rule(rule_id="r", then=Effect.ALLOW, connection=("*",)), facts=facts)) == ["default"]


def test_every_matching_rule_leaves_its_reason_the_strongest_first():
    rules = [Rule(rule_id=f"r{index}", then=effect) for index, effect in enumerate([*Effect, *Effect])]
    decision = decide(*rules)
    assert ids(decision) == ["r3", "r7", "r2", "r6", "r1", "r5", "r0", "r4"]
    assert decision.effect is Effect.DENY


@given(st.lists(st.sampled_from(list(Effect)), min_size=1, max_size=30))
def test_the_strongest_effect_wins(effects: list[Effect]):
    decision = decide(*(Rule(rule_id=f"r{index}", then=effect) for index, effect in enumerate(effects)))
    order = [Effect.DENY, Effect.SHED, Effect.ASK, Effect.ALLOW]
    assert decision.effect is next(effect for effect in order if effect in effects)
    assert len(decision.reasons) == len(effects)


_NAMES = st.text("ab.*?[", min_size=1, max_size=6)


@given(st.lists(st.tuples(_NAMES, _NAMES, st.sampled_from(list(Effect))), max_size=12), st.text("ab.[", max_size=5))
@example([("??", "??", Effect.ALLOW), ("*", "*", Effect.ASK)], "[[")
def test_columns_decide_as_rule_by_rule_matching_does(drawn: list[tuple[str, str, Effect]], value: str):
    rules = tuple(
        Rule(rule_id=f"r{index}", then=then, capability=(capability,), role=(role,))
        for index, (capability, role, then) in enumerate(drawn)
    )
    facts = replace(FACTS, capability_id=value, roles=frozenset({"ab", "b.a"}))

    def fits(text: str, pattern: str) -> bool:
        return fnmatchcase(text, pattern.replace("[", "[[]"))

    matching = [
        (list(Effect).index(then), f"r{index}")
        for index, (capability, role, then) in enumerate(drawn)
        if fits(value, capability) and any(fits(name, role) for name in facts.roles)
    ]
    expected = [rule_id for _, rule_id in sorted(matching, key=lambda each: -each[0])]  # the strongest effect first
    assert ids(Policy(rules=rules).decide(facts)) == (expected or ["default"])


def test_ask_names_the_role_and_the_time():
    plain = Rule(rule_id="plain", then=Effect.ASK)
    strict = Rule(rule_id="strict", then=Effect.ASK, reviewer="security", expires_after_s=600)
    assert (decide(strict, plain).role, decide(strict, plain).expires_after) == ("security", timedelta(minutes=10))
    assert (decide(plain, strict).role, decide(plain, strict).expires_after) == ("approver", None)
    assert Policy(reviewer="lead").decide(FACTS).role == "lead"


def test_nobody_is_asked_about_what_is_denied():
    decision = decide(Rule(rule_id="a", then=Effect.ASK, reviewer="x"), Rule(rule_id="d", then=Effect.DENY))
    assert (decision.role, decision.expires_after) == (None, None)


@pytest.mark.parametrize(
    ("change", "guard", "word"),
    [
        ({"allowed_operations": ()}, "operation", "github.issue.create"),
        ({"allowed_operations": ("github.issue.list", "linear.*")}, "operation", "github.issue.create"),
        ({"connection_tenant_id": "other"}, "tenant", "another tenant"),
        ({"required_scopes": frozenset({"repo", "admin:org", "gist"})}, "scopes", "admin:org, gist"),
        ({"sandbox": "standard", "sandbox_floor": "strict"}, "sandbox", "at least 'strict'"),
        ({"sandbox": "strickt"}, "sandbox", "'strickt' is not a sandbox level"),
    ],
)
def test_guards_deny_whatever_the_rules_say(change: dict[str, Any], guard: str, word: str):
    decision = ALLOW_ALL.decide(replace(FACTS, **change))
    assert decision.effect is Effect.DENY
    assert ids(decision) == [f"guard:{guard}", "all"]
    assert word in decision.reasons[0].text


def test_guards_are_collected_all():
    facts = replace(
        FACTS,
        allowed_operations=(),
        connection_tenant_id="other",
        granted_scopes=frozenset(),
        sandbox="none",
        sandbox_floor="strict",
    )
    names = ["guard:operation", "guard:tenant", "guard:scopes", "guard:sandbox", "all"]
    assert ids(ALLOW_ALL.decide(facts)) == names


@pytest.mark.parametrize("allowed", [None, ("github.issue.create",), ("github.*",)])
def test_allowed_operations_let_through(allowed: tuple[str, ...] | None):
    assert ALLOW_ALL.decide(replace(FACTS, allowed_operations=allowed)).effect is Effect.ALLOW


@given(st.sampled_from([None, *policy.SANDBOXES]), st.sampled_from(policy.SANDBOXES))
def test_the_stricter_sandbox_holds_or_the_call_is_denied(requested: str | None, floor: str):
    decision = ALLOW_ALL.decide(replace(FACTS, sandbox=requested, sandbox_floor=floor))
    rank = policy.SANDBOXES.index
    assert rank(decision.sandbox) >= rank(floor)
    assert (decision.effect is Effect.DENY) == (requested is not None and rank(requested) < rank(floor))
    assert requested is None or decision.effect is Effect.DENY or decision.sandbox == requested


@given(
    st.sampled_from([None, *policy.SANDBOXES]), st.lists(st.sampled_from(policy.SANDBOXES), max_size=3), st.booleans()
)
def test_the_strictest_that_any_matching_rule_demands_holds(requested: str | None, demanded: list[str], matches: bool):
    capability = () if matches else ("another.one",)
    rules = (
        Rule(rule_id=f"r{index}", then=Effect.ALLOW, sandbox=level, capability=capability)
        for index, level in enumerate(demanded)
    )
    decision = decide(*rules, facts=replace(FACTS, sandbox=requested))
    assert decision.sandbox == max([requested or "none", *(demanded if matches else ())], key=policy.SANDBOXES.index)


def test_a_level_that_nobody_knows_stays_denied_beside_rules_that_demand_one():
    rules = Policy(rules=(Rule(rule_id="r", then=Effect.ALLOW, sandbox="strict"),))
    assert rules.decide(replace(FACTS, sandbox="none", sandbox_floor="strickt")).effect is Effect.DENY


def test_the_digest_pins_what_the_policy_says():
    rules = (Rule(rule_id="r", then=Effect.ALLOW, capability=("a",)),)
    assert Policy(rules=rules).digest == Policy(rules=rules).digest
    others = [Policy(), Policy(rules=rules, default=Effect.DENY), Policy(rules=rules, reviewer="lead")]
    others.append(Policy(rules=(replace(rules[0], capability=("b",)),)))
    others.append(Policy(rules=(replace(rules[0], sandbox="strict"),)))
    assert len({Policy(rules=rules).digest, *(other.digest for other in others)}) == 6
    assert Policy(rules=rules).decide(FACTS).policy_digest == Policy(rules=rules).digest


def test_facts_and_decision_are_json_with_everything_in_them():
    decision = Policy(rules=(Rule(rule_id="r", then=Effect.ASK, reason="a person looks", expires_after_s=60),)).decide(
        FACTS
    )
    assert decision.to_json() == {
        "effect": "ask",
        "reasons": [{"rule_id": "r", "effect": "ask", "text": "a person looks"}],
        "role": "approver",
        "expires_after_s": 60,
        "sandbox": "none",
        "policy_digest": decision.policy_digest,
    }
    assert set(FACTS.to_json()) == set(policy.Facts.__dataclass_fields__)


def test_a_rule_without_words_of_its_own_says_what_it_matches():
    rule = Rule(rule_id="r", then=Effect.SHED, effect=("create", "update"), pressure={"budget_left": "<0.1"})
    assert rule.text() == "shed when effect is create or update and budget_left <0.1"
    assert Rule(rule_id="r", then=Effect.DENY).text() == "deny always"


def test_two_rules_with_one_id_are_refused():
    with pytest.raises(policy.InvalidPolicy, match="also the id of rule 0"):
        Policy(rules=(Rule(rule_id="r", then=Effect.ALLOW), Rule(rule_id="r", then=Effect.DENY)))


def test_too_many_rules_are_refused():
    with pytest.raises(policy.InvalidPolicy, match="1001 rules"):
        Policy(rules=tuple(Rule(rule_id=f"r{index}", then=Effect.ALLOW) for index in range(1001)))


def test_all_that_is_wrong_with_a_policy_of_python_is_told_at_once():
    rules: Any = (Rule(rule_id="r", then=Effect.ALLOW), "r", Rule(rule_id="r", then=Effect.DENY))
    with pytest.raises(policy.InvalidPolicy) as caught:
        Policy(rules=rules, default=cast("Any", "allow"), reviewer=cast("Any", 5))
    assert [str(problem) for problem in caught.value.problems] == [
        "default: 'allow' is no Effect, such as Effect.ASK",
        "reviewer: '5' is not the name of a role",
        "rules[1]: r is no Rule",
        "rules[2].id: 'r' is also the id of rule 0",
    ]
    with pytest.raises(policy.InvalidPolicy, match="rules: 5 is no tuple of Rules"):
        Policy(rules=cast("Any", 5))


PROXIED = replace(FACTS, capability_id="github.proxy.get", effect="read", proxied=True)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), Effect.ASK),
        (("*",), Effect.ASK),
        (("github.*",), Effect.ASK),
        (("github.p*",), Effect.ASK),
        (("github.*", "github.proxy.post"), Effect.ASK),
        (("slack.proxy.get",), Effect.ASK),
        (("github.proxy.get",), Effect.ALLOW),
        (("github.issue.list", "*.proxy.get"), Effect.ALLOW),
        (("github.proxy.*",), Effect.ALLOW),
    ],
)
def test_what_callers_make_up_is_allowed_by_name_only(patterns: tuple[str, ...], expected: Effect):
    rules = Policy(rules=(*policy.DEFAULT.rules, Rule(rule_id="r", then=Effect.ALLOW, capability=patterns)))
    decision = rules.decide(PROXIED)
    assert decision.effect is expected
    told = cast("list[dict[str, Any]]", rules.explain(PROXIED)["rules"])
    assert [each["matched"] for each in told] == [False, expected is Effect.ALLOW]
    if expected is Effect.ASK:
        assert 'then = "allow", capability = "github.proxy.get"' in decision.reasons[0].text
    assert policy.DEFAULT.decide(replace(PROXIED, proxied=False)).effect is Effect.ALLOW


@pytest.mark.parametrize("then", [Effect.ASK, Effect.SHED, Effect.DENY])
def test_what_restrains_counts_for_what_callers_make_up(then: Effect):
    named = Rule(rule_id="named", then=Effect.ALLOW, capability=("*.proxy.*",))
    decision = decide(named, Rule(rule_id="all", then=then, capability=("github.*",)), facts=PROXIED)
    assert (decision.effect, ids(decision)) == (then, ["all", "named"])


def test_a_rule_that_does_not_name_them_still_demands_its_sandbox():
    walls = Rule(rule_id="walls", then=Effect.ALLOW, sandbox="strict")
    decision = decide(walls, facts=PROXIED, default=Effect.ALLOW)
    assert (decision.effect, ids(decision), decision.sandbox) == (Effect.ALLOW, ["default"], "strict")
