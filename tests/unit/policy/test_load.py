import contextlib
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import policy
from interlock.policy import Effect

TOML = """\
[store]
url = "interlock.db"

[policy]
default = "deny"
reviewer = "lead"

[[policy.rules]]
id = "reads"
then = "allow"
effect = "read"

[[policy.rules]]
id = "writes"
then = "ask"
capability = ["github.*", "linear.*"]
reason = "a person looks at writes"
reviewer = "security"
expires_after_s = 3600
sandbox = "standard"
ahead = true

[[policy.rules]]
id = "busy"
then = "shed"

  [policy.rules.pressure]
  budget_left = "<0.1"
"""

YAML = """\
store: {url: interlock.db}
policy:
  default: deny
  reviewer: lead
  rules:
    - {id: reads, then: allow, effect: read}
    - id: writes
      then: ask
      capability: ["github.*", "linear.*"]
      reason: a person looks at writes
      reviewer: security
      expires_after_s: 3600
      sandbox: standard
      ahead: true
    - id: busy
      then: shed
      pressure: {budget_left: "<0.1"}
"""


JSON = """\
{
  "policy": {
    "default": "deny",
    "reviewer": "lead",
    "rules": [
      {"id": "reads", "then": "allow", "effect": "read"},
      {
        "id": "writes", "then": "ask", "capability": ["github.*", "linear.*"],
        "reason": "a person looks at writes", "reviewer": "security", "expires_after_s": 3600, "sandbox": "standard",
        "ahead": true
      },
      {"id": "busy", "then": "shed", "pressure": {"budget_left": "<0.1"}}
    ]
  }
}
"""


def load(text: str | bytes, source: str = "interlock.toml") -> policy.Policy:
    return policy.from_document(policy.parse_document(text, source=source))


def problems(text: str | bytes, source: str = "interlock.toml") -> list[tuple[object, ...]]:
    with pytest.raises(policy.InvalidPolicy) as caught:
        load(text, source)
    listed: Any = caught.value.to_json()["details"]
    return [(item["line"], item["column"], item["problem"], item["suggestion"]) for item in listed["problems"]]


def test_both_forms_give_the_same_policy_as_python():
    rules = (
        policy.Rule(rule_id="reads", then=Effect.ALLOW, effect=("read",)),
        policy.Rule(
            rule_id="writes",
            then=Effect.ASK,
            capability=("github.*", "linear.*"),
            reason="a person looks at writes",
            reviewer="security",
            expires_after_s=3600,
            sandbox="standard",
            ahead=True,
        ),
        policy.Rule(rule_id="busy", then=Effect.SHED, pressure={"budget_left": "<0.1"}),
    )
    written = policy.Policy(rules=rules, default=Effect.DENY, reviewer="lead")
    assert load(TOML) == load(YAML, "policy.yaml") == load(YAML, "policy.yml") == load(JSON, "policy.json") == written
    assert load(TOML).digest == load(YAML, "policy.yaml").digest == written.digest


@pytest.mark.parametrize(("text", "source"), [("", "a.toml"), ("", "a.yaml"), ("[store]\nurl='x'", "a.toml")])
def test_a_file_without_a_policy_leaves_the_default(text: str, source: str):
    assert load(text, source) is policy.DEFAULT


def test_a_file_with_a_policy_says_all():
    assert load("[policy]") == policy.Policy(rules=(), default=Effect.ASK)


def test_a_policy_file_holds_a_policy():
    text = "policy: {default: deny}\nbudgets: []\n"
    alone = policy.from_policy_file(policy.parse_document(text, source="p.yaml"))
    assert alone == policy.Policy(default=Effect.DENY)


def test_a_misspelt_policy_is_not_the_default():
    document = policy.parse_document("polcy: {default: deny}\n", source="p.yaml")
    with pytest.raises(policy.InvalidPolicy) as caught:
        policy.from_policy_file(document)
    assert [str(problem) for problem in caught.value.problems] == [
        "p.yaml:1:1: polcy: unknown key; did you mean 'policy'?",
        "p.yaml: policy: the file has no such key; default, reviewer, rules stand below it",
    ]


def test_what_is_wrong_at_the_top_hides_nothing_below():
    document = policy.parse_document("policy: {defualt: deny}\nbudget: []\n", source="p.yaml")
    with pytest.raises(policy.InvalidPolicy) as caught:
        policy.from_policy_file(document)
    assert [str(problem) for problem in caught.value.problems] == [
        "p.yaml:2:1: budget: unknown key; did you mean 'budgets'?",
        "p.yaml:1:10: policy.defualt: unknown key; did you mean 'default'?",
    ]


@pytest.mark.parametrize(
    ("text", "source"), [("default: deny\nrules: []\n", "p.yaml"), ('default = "deny"\nrules = []\n', "p.toml")]
)
def test_what_belongs_below_policy_is_told_so(text: str, source: str):
    with pytest.raises(policy.InvalidPolicy) as caught:
        policy.from_policy_file(policy.parse_document(text, source=source))
    assert [str(problem) for problem in caught.value.problems] == [
        f"{source}:1:1: default: stands at the top of the file, and belongs below the key 'policy'",
        f"{source}:2:1: rules: stands at the top of the file, and belongs below the key 'policy'",
        f"{source}: policy: the file has no such key; default, reviewer, rules stand below it",
    ]


def test_all_problems_have_their_line_and_a_suggestion():
    text = """\
[policy]
defualt = "deny"
default = "alow"

[[policy.rules]]
id = "one"
then = "ask"
capabilty = "github.*"
efect = ["read"]

[[policy.rules]]
id = "two"
then = "denny"
effect = ["reed"]
note = '''
id = "not a key"
[[policy.rules]]
'''
[policy.rules.pressure]
budget_lft = "<0.1"

[[policy.rules]]
then = "allow"
pressure = { queue_age = ">1" }
"""
    assert problems(text) == [
        (2, 1, "unknown key", "default"),
        (3, 1, "'alow' is none of allow, ask, shed, deny", "allow"),
        (8, 1, "unknown key", "capability"),
        (9, 1, "unknown key", "effect"),
        (15, 1, "unknown key", None),
        (13, 1, "'denny' is none of allow, ask, shed, deny", "deny"),
        (14, 1, "'reed' is none of read, create, update, delete, execute", "read"),
        (20, 1, "no such reading; there are queue_age_s, budget_left, store_latency_ms", "budget_left"),
        (22, 1, "a rule needs the key 'id'", None),
        (24, 1, "no such reading; there are queue_age_s, budget_left, store_latency_ms", "queue_age_s"),
    ]


def test_a_misspelt_key_is_not_missed_as_well():
    text = "policy:\n  rules:\n    - ID: a\n      thn: ask\n    - tehn: deny\n"
    assert problems(text, "p.yaml") == [
        (3, 7, "unknown key", "id"),
        (4, 7, "unknown key", "then"),
        (5, 7, "unknown key", "then"),
        (5, 7, "a rule needs the key 'id'", None),
    ]


def test_the_message_reads_well():
    with pytest.raises(policy.InvalidPolicy) as caught:
        load('[policy]\nrules = [{ id = "a", then = "allow", capabilty = "x" }]\n')
    assert str(caught.value) == (
        "the policy is not valid:\n"
        "  interlock.toml:2:1: policy.rules[0].capabilty: unknown key; did you mean 'capability'?"
    )


def test_yaml_problems_have_line_and_column():
    text = "policy:\n  rules:\n    - id: a\n      then: alow\n      efect: read\n    - 7\n"
    assert problems(text, "p.yaml") == [
        (5, 7, "unknown key", "effect"),
        (4, 7, "'alow' is none of allow, ask, shed, deny", "allow"),
        (6, 7, "must be a table", None),
    ]


def test_json_problems_have_line_and_column():
    text = '{"policy": {\n  "rules": [\n    {"id": "a", "efect": "read",\n     "then": "alow"}\n    , 7]}}'
    assert problems(text, "p.json") == [
        (3, 17, "unknown key", "effect"),
        (4, 6, "'alow' is none of allow, ask, shed, deny", "allow"),
        (5, 7, "must be a table", None),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{"policy":\n {"a" 1}}', 2, "not JSON"),
        ('{"policy":\n NaN}', 2, "NaN at line 2, column 2 is no number of JSON"),
        ('{"policy": 1,\n "policy": 2}', 2, "$: the key 'policy' stands twice"),
        (
            '{"policy": {"rules": [\n {"id": "a",\n  "\\u0069d": "b"}]}}',
            3,
            "$.policy.rules[0]: the key 'id' stands twice",
        ),
        ('{"policy": ' + "[" * 30 + "]" * 30 + "}", None, "nested deeper than 20 levels"),
        ("[]", 1, "table of keys"),
        ('{"policy": "\\u0007"}', None, "control character"),
    ],
)
def test_bad_json_is_refused(text: str, line: int | None, message: str):
    ((at, _, problem, _),) = problems(text, "p.json")
    assert at == line
    assert message in str(problem)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("policy: &a {}\n", 1, "anchors"),
        ("policy:\n  rules: *a\n", 2, "anchors"),
        ("policy: !!python/object:os.system {}\n", 1, "tags"),
        ("policy:\n  default: deny\n  default: ask\n", 3, "stands twice"),
        ("policy:\n  ? [a]\n  : b\n", 2, "a key must be text"),
        ("policy: [\n", 2, "not YAML"),
        ("- a\n", 1, "table of keys"),
        ("a: " + "[" * 30 + "]" * 30, 1, "nested deeper"),
        ("a: b\n---\na: c\n", 2, "not YAML"),
    ],
)
def test_yaml_that_is_more_than_data_is_refused(text: str, line: int, message: str):
    ((at, _, problem, _),) = problems(text, "p.yaml")
    assert at == line
    assert message in str(problem)


def test_yaml_has_no_values_that_json_has_not():
    text = "a: [no, on, Yes, 2026-11-20, 0o7, 1_000, 'true', '']\nb: [true, null, 7, 1.5]\nc:\n"
    assert policy.parse_document(text, source="p.yaml").value == {
        "a": ["no", "on", "Yes", "2026-11-20", "0o7", "1_000", "true", ""],
        "b": [True, None, 7, 1.5],
        "c": None,
    }
    rule = "policy:\n  rules:\n    - {id: a, then: deny, environment: no}\n"
    judged = policy.from_document(policy.parse_document(rule, source="p.yaml"))
    assert judged.rules[0].environment == ("no",)


def test_a_matcher_of_a_file_is_told_no_advice_on_python():
    text = "policy:\n  rules:\n    - id: a\n      then: deny\n      environment: true\n"
    assert problems(text, "p.yaml") == [(5, 7, "True is neither a text nor a list of texts", None)]


def test_an_id_that_stands_twice_is_told_with_all_the_rest():
    text = "[[policy.rules]]\nid='a'\nthen='deny'\n[[policy.rules]]\nid='a'\nthen='alow'\n"
    assert problems(text) == [
        (6, 1, "'alow' is none of allow, ask, shed, deny", "allow"),
        (5, 1, "'a' is also the id of rule 0", None),
    ]


def test_a_control_character_in_yaml_is_refused():
    ((_, _, problem, _),) = problems("a: \x07", "p.yaml")
    assert "not YAML" in str(problem)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[policy]\ndefault = \n", 2, "not TOML"),
        ("[policy]\na = 1\na = 2\n", 3, "not TOML"),
        (b"[policy]\nreviewer = '\xff'", None, "not UTF-8 (byte 21)"),
        ("#" * 262_145, None, "262145 bytes"),
        ("a = " + "[" * 5000, None, "nested too deeply"),
        ("policy = 7", 1, "must be a table"),
        ("[policy]\nrules = 7", 2, "must be a list"),
        ("[policy]\nreviewer = 7", 2, "not the name of a role"),
        ("[[policy.rules]]\nid='a'\nthen='deny'\n[[policy.rules]]\nid='a'\nthen='deny'\n", 5, "also the id of rule 0"),
    ],
)
def test_bad_toml_is_refused(text: str | bytes, line: int | None, message: str):
    ((at, _, problem, _),) = problems(text)
    assert at == line
    assert message in str(problem)


def test_places_follow_dotted_keys_and_nested_tables():
    text = 'a.b."c d" = 1\n[[x]]\n[[x.y]]\nk = 1\n[[x.y]]\nk = 2\n[[x]]\n[x.z]\n  q = 1\n'
    document = policy.parse_document(text, source="f.toml")
    where = {
        ("a", "b", "c d"): "f.toml:1:1",
        ("x", 0, "y", 0, "k"): "f.toml:4:1",
        ("x", 0, "y", 1, "k"): "f.toml:6:1",
        ("x", 1): "f.toml:7:1",
        ("x", 1, "z", "q"): "f.toml:9:3",
        ("x", 1, "z", "missing"): "f.toml:8:1",
        ("nowhere",): "f.toml",
    }
    assert {path: str(document.locate(path)) for path in where} == where


@given(st.text("[]ab.=\"'\n 1#", max_size=60))
def test_places_never_fail_on_valid_toml(text: str):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(policy.InvalidPolicy):
            policy.parse_document(text, source="f.toml")
    else:
        policy.parse_document(text, source="f.toml")


@given(st.text("-: ab[]{}&*!?#'\"|>\n1,", max_size=60))
def test_yaml_gives_a_table_or_one_clear_error(text: str):
    with contextlib.suppress(policy.InvalidPolicy):
        assert isinstance(policy.parse_document(text, source="f.yaml").value, dict)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_RULE = st.dictionaries(st.sampled_from(["id", "then", "effect", "pressure", "reason", "expires_after_s", "x"]), _JSON)


@given(
    st.dictionaries(st.sampled_from(["default", "reviewer", "rules", "x"]), _JSON | st.lists(_RULE | _JSON, max_size=3))
)
def test_whatever_stands_in_the_file_it_loads_or_is_refused(table: dict[str, Any]):
    document = policy.Document(source="f.toml", value={"policy": table}, places={})
    with contextlib.suppress(policy.InvalidPolicy):
        assert isinstance(policy.from_document(document), policy.Policy)


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Effect)), st.lists(st.sampled_from(policy.EFFECTS), max_size=3)), max_size=5
    )
)
def test_a_policy_survives_its_file_form(drawn: list[tuple[Effect, list[str]]]):
    rules = tuple(
        policy.Rule(rule_id=f"r{index}", then=then, effect=tuple(effects))
        for index, (then, effects) in enumerate(drawn)
    )
    written = policy.Policy(rules=rules)
    document = policy.Document(source="f", value={"policy": written.to_json()}, places={})
    assert policy.from_document(document) == written
