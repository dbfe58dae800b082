"""The controls of a spec at its boundaries: what they are shown, what counts, and that nothing fails open."""

import json
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from pydantic import BaseModel

from interlock import agents, inference
from interlock.agents import turns
from interlock.kernel import Caller

pytestmark = pytest.mark.anyio

SHOUTED: list[agents.ControlInput] = []
AROUND = agents.Surroundings(
    caller=Caller(actor="user:ada"), environment="prod", session_id="ags_1", context={"tier": ["gold"]}
)


class Window(BaseModel):
    opens: int


@agents.control(options=Window, boundaries=("operations",))
async def office_hours(given: agents.ControlInput) -> agents.Ruling:
    await anyio.lowlevel.checkpoint()
    return agents.allow() if given.options.opens < 9 else agents.block("we are closed")


@agents.control()
def watched(given: agents.ControlInput) -> agents.Ruling:
    SHOUTED.append(given)
    return agents.allow()


@agents.control()
def dear(given: agents.ControlInput) -> bool:
    return given.arguments["n"] > 100


def broken(said: Callable[[], object], name: str) -> Callable[[agents.ControlInput], object]:
    @agents.control(name)
    def control(given: agents.ControlInput) -> object:
        return said()

    return control


@agents.control()
async def sleepy(given: agents.ControlInput) -> None:
    await anyio.sleep(60)


@agents.control()
def stuck(given: agents.ControlInput) -> None:
    time.sleep(0.3)


def fail() -> None:
    raise ValueError("password=hunter2")


def leave() -> None:
    raise SystemExit(3)


BROKEN = {
    "silent": lambda: None,
    "true": lambda: True,
    "word": lambda: "allow",
    "failing": fail,
    "leaving": leave,
    "odd": lambda: agents.Ruling(verdict="allow"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "dumb": lambda: agents.Ruling(verdict=turns.Verdict.ALLOW, reason=7),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
}


@agents.control()
def rules(given: agents.ControlInput) -> agents.Ruling:
    return {
        "allow": agents.allow,
        "block": lambda: agents.block("too loud"),
        "interrupt": lambda: agents.interrupt("ask", role="clerk"),
        "error": lambda: agents.error("the list is away"),
    }[given.options["says"]]()


REGISTRY = agents.Registry(
    controls=[rules, office_hours, watched, dear, sleepy, stuck, *(broken(said, name) for name, said in BROKEN.items())]
)
JUDGING = agents.Judging(registry=REGISTRY, timeout_s=60)
IMPATIENT = agents.Judging(registry=REGISTRY, timeout_s=0.05)
ANY = {"type": "object"}


def spec(**members: Any) -> dict[str, Any]:
    operations = [
        {"name": "look", "idempotency": "pure", "input": ANY, "source": {"kind": "function", "ref": "look"}},
        {"name": "pay", "idempotency": "unsafe_once", "input": ANY, "source": {"kind": "function", "ref": "pay"}},
    ]
    operations[1]["approval"] = {"reason": "money", "role": "treasurer", "when": "dear"}
    return {"id": "desk", "instructions": "Answer.", "operations": operations, **members}


async def judged(boundary: str, *uses: dict[str, Any], **more: Any) -> tuple[turns.Judgement, ...]:
    """What the uses say at a boundary: of an input, an answer, or calls."""
    return (await became(boundary, *uses, **more))[0]


async def became(
    boundary: str,
    *uses: dict[str, Any],
    calls: tuple[tuple[str, dict[str, Any]], ...] = (),
    text: str = "hello",
    judging: agents.Judging = JUDGING,
) -> tuple[tuple[turns.Judgement, ...], turns.State]:
    """The same, and the turn after it."""
    part = {"input": "inputs", "operations": "operations", "output": "outputs"}[boundary]
    plan = turns.Plan(agents.assemble(spec(controls={part: list(uses)}), source="a spec", registry=REGISTRY))
    state = turns.State(turn_id="run_1", fingerprint=plan.fingerprint)
    said = text if boundary == "input" else "hello"
    state, wants = turns.step(plan, state, turns.Began(input=said))
    if boundary != "input":
        asked = [(f"c{index}", name, json.dumps(each)) for index, (name, each) in enumerate(calls)]
        parts: list[inference.Piece] = [inference.Call(call_id=i, name=name, arguments=a) for i, name, a in asked]
        parts = parts or [inference.Text(text=text)]
        message = inference.Message(role=inference.Role.MODEL, parts=tuple(parts))
        finish = inference.Finish.CALLS if calls else inference.Finish.STOP
        answer = inference.Answer(message=message, finish=finish, model="m")
        state, wants = turns.step(plan, state, turns.Answered(answer=answer))
    [judge] = wants
    assert isinstance(judge, turns.Judge), judge
    found = await judging.judge(plan, state, judge, surroundings=AROUND)
    after, _ = turns.step(plan, state, turns.Judged(judgements=found))  # the machine takes what they say
    return found, after


def said(judgement: turns.Judgement) -> tuple[str, str | None, str | None]:
    return judgement.verdict.value, judgement.control, judgement.reason


async def test_the_first_that_does_not_allow_counts():
    SHOUTED.clear()
    uses = [{"control": "watched"}, {"control": "office_hours", "options": {"opens": 10}}, {"control": "failing"}]
    [found] = await judged("operations", *uses, calls=(("look", {"n": 1}),))
    assert said(found) == ("block", "office_hours", "we are closed")
    assert found.call_id == "c0"
    [given] = SHOUTED
    assert given.operation is not None
    assert (given.operation.name, given.arguments["n"], given.context["tier"]) == ("look", 1, ("gold",))
    assert (given.agent_id, given.turn_id, given.boundary) == ("desk", "run_1", "operations")
    with pytest.raises(TypeError):
        given.arguments["n"] = 2  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


ASKS = {"control": "require_approval", "options": {"role": "clerk"}}
NO_NINES = {"control": "deny_patterns", "options": {"patterns": ["9"]}}


@pytest.mark.parametrize("boundary", ["input", "operations", "output"])
async def test_a_control_that_asks_a_person_keeps_the_others_from_nothing(boundary: str):
    call = (("look", {"n": "9"}),) if boundary == "operations" else ()
    for uses, verdict in (
        ([ASKS, NO_NINES], ("block", "deny_patterns")),
        ([ASKS, {"control": "failing"}, NO_NINES], ("error", "failing")),
        ([ASKS, {"control": "watched"}], ("interrupt", "require_approval")),
    ):
        [found] = await judged(boundary, *uses, calls=call, text="9")
        assert said(found)[:2] == verdict


NEXT = {"input": "model", "operations": "action", "output": "finished"}


@pytest.mark.parametrize("boundary", ["input", "operations", "output"])
@pytest.mark.parametrize("says", ["allow", "block", "interrupt", "error"])
async def test_every_ruling_counts_at_every_boundary(boundary: str, says: str):
    calls = (("look", NOTHING),) if boundary == "operations" else ()
    [found], after = await became(boundary, {"control": "rules", "options": {"says": says}}, calls=calls)
    reasons = {"allow": None, "block": "too loud", "interrupt": "ask", "error": "the list is away"}
    assert (found.verdict.value, found.reason) == (says, reasons[says])
    blocked = "model" if boundary == "operations" else "failed"  # the model is told, and goes on
    phases = {"allow": NEXT[boundary], "block": blocked, "interrupt": "person", "error": "failed"}
    assert after.phase.value == phases[says]
    if after.failure is not None:
        assert after.failure.code == ("control_failed" if says == "error" else f"{boundary}_blocked")
        assert str(found.reason) in after.failure.message


async def test_who_has_said_yes_is_passed_over_and_nobody_else():
    cfo = {"control": "require_approval", "options": {"role": "cfo"}}
    plan = turns.Plan(agents.assemble(spec(controls={"operations": [ASKS, cfo]}), source="a spec", registry=REGISTRY))
    asked: list[str | None] = []
    for roles, n in (((), 1), (("clerk",), 1), (("clerk", "cfo"), 1), (("clerk", "cfo"), 101), ((None,), 1)):
        step = turns.Step(call_id="a", operation="pay", arguments={"n": n}, key="k", consented_roles=roles)
        state = turns.State(turn_id="run_1", fingerprint=plan.fingerprint, steps=(step,))
        intent = turns.Judge(key="j", boundary="operations", call_ids=("a",))
        [found] = await JUDGING.judge(plan, state, intent, surroundings=AROUND)
        asked.append(found.role if found.verdict is turns.Verdict.INTERRUPT else found.verdict.value)
    assert asked == ["clerk", "cfo", "allow", "treasurer", "clerk"]


async def test_every_call_is_judged_by_the_controls_that_match_it():
    uses = [{"control": "office_hours", "options": {"opens": 10}, "match": {"name": "look"}}]
    found = await judged("operations", *uses, calls=(("pay", {"n": 1}), ("look", NOTHING), ("pay", {"n": 101})))
    assert [said(each) for each in found] == [
        ("allow", None, None),
        ("block", "office_hours", "we are closed"),
        ("interrupt", "dear", "money"),
    ]
    assert found[2].role == "treasurer"


@pytest.mark.parametrize("boundary", ["input", "output"])
async def test_words_are_judged(boundary: str):
    uses = [{"control": "max_length", "options": {"max": 5}}]
    assert said((await judged(boundary, *uses))[0])[0] == "allow"
    assert said((await judged(boundary, *uses, text="hello!"))[0]) == (
        "block",
        "max_length",
        "it has 6 characters; at most 5 are let through",
    )


@pytest.mark.parametrize(
    ("control", "told"),
    [
        ("silent", "it returned NoneType, not a ruling"),
        ("true", "it returned bool, not a ruling"),
        ("word", "it returned str, not a ruling"),
        ("failing", "it raised ValueError"),
        ("leaving", "it raised SystemExit"),
        ("odd", "it returned a ruling with members that are none"),
        ("dumb", "it returned a ruling with members that are none"),
        ("sleepy", "it took more than 0.05 s, or a part of it gave up waiting"),
        ("stuck", "it took more than 0.05 s, or a part of it gave up waiting"),
        ("nobody", "there is no control of that name in this program"),
    ],
)
async def test_a_control_that_cannot_judge_allows_nothing(control: str, told: str):
    judging = IMPATIENT if control in ("sleepy", "stuck") else JUDGING
    [found] = await judged("input", {"control": control}, {"control": "watched"}, judging=judging)
    assert said(found) == ("error", control, told)


async def test_a_predicate_that_cannot_tell_allows_nothing():
    [found] = await judged("operations", {"control": "watched"}, calls=(("pay", {"n": "much"}),))
    assert said(found) == ("error", "dear", "it raised TypeError")


async def test_whoever_stops_the_turn_stops_its_controls():
    with anyio.move_on_after(0.01) as scope:
        await judged("input", {"control": "sleepy"})
    assert scope.cancelled_caught


def test_options_boundaries_and_names_are_checked_when_a_spec_is_read():
    controls = {
        "inputs": [{"control": "office_hours"}, {"control": "read_only"}, {"control": "watchd"}],
        "operations": [
            {"control": "office_hours", "options": {"opns": 1}},
            {"control": "deny_patterns", "options": {"patterns": ["("]}},
            {"control": "deny_patterns", "options": {"patterns": ["(?=a)"]}},
            {"control": "no_sensitive_data", "options": {"forms": ["mails"]}},
            {"control": "allow_domains", "options": {"domains": ["https://x.org/"]}},
            {"control": "max_length", "options": {"max": 0}},
        ],
    }
    with pytest.raises(agents.InvalidSpec) as caught:
        agents.assemble(spec(controls=controls), source="a spec", registry=REGISTRY, complete=True)
    told = [each for each in caught.value.problems if each.path.startswith("controls")]
    found = {each.path: (each.problem, each.suggestion) for each in told}
    assert found.keys() == {
        "controls.inputs[0].control",
        "controls.inputs[0].options.opens",
        "controls.inputs[1].control",
        "controls.inputs[2].control",
        "controls.operations[0].options.opens",
        "controls.operations[1].options.patterns[0]",
        "controls.operations[2].options.patterns[0]",
        "controls.operations[3].options.forms[0]",
        "controls.operations[4].options.domains[0]",
        "controls.operations[5].options.max",
    }
    assert found["controls.inputs[2].control"] == ("the registry has no control 'watchd'", "did you mean 'watched'?")
    assert "looks back or ahead" in found["controls.operations[2].options.patterns[0]"][0]


def test_a_spec_may_be_built_where_its_controls_are_not():
    controls = {"inputs": [{"control": "theirs"}]}
    agents.assemble(spec(controls=controls), source="a spec")
    with pytest.raises(agents.InvalidSpec, match="no control 'theirs'"):
        agents.assemble(spec(controls=controls), source="a spec", complete=True)
    with pytest.raises(agents.InvalidSpec, match=r"approval\.when: the registry has no control 'dear'"):
        agents.assemble(spec(), source="a spec", complete=True)


def test_nobody_else_has_the_name_of_a_control_that_is_built_in():
    with pytest.raises(agents.InvalidSpec, match="both have this name"):
        agents.Registry(controls=[broken(agents.allow, "read_only")])


TYPED = {"patterns": ["[a-z]+"], "arguments": ["a"]}
NOTHING: dict[str, Any] = {}
CARDS = {"forms": ["cards"]}


@pytest.mark.parametrize(
    ("control", "options", "call", "verdict"),
    [
        ("require_context", {"keys": ["tier"]}, ("look", NOTHING), "allow"),
        ("require_context", {"keys": ["tier", "user"]}, ("look", NOTHING), "block"),
        ("require_approval", NOTHING, ("look", NOTHING), "interrupt"),
        ("allow_operations", {"names": ["lo*"]}, ("look", NOTHING), "allow"),
        ("allow_operations", {"names": ["lo*"]}, ("pay", {"n": 1}), "block"),
        ("deny_operations", {"names": ["p?y"], "then": "interrupt"}, ("pay", {"n": 1}), "interrupt"),
        ("read_only", NOTHING, ("look", NOTHING), "allow"),
        ("read_only", NOTHING, ("pay", {"n": 1}), "block"),
        ("max_length", {"max": 9}, ("look", {"a": "bc"}), "block"),
        ("max_length", {"max": 10}, ("look", {"a": "bc"}), "allow"),
        ("deny_patterns", {"patterns": ["(?i)drop table"]}, ("look", {"a": [{"b": "x DROP table"}]}), "block"),
        ("deny_patterns", {"patterns": ["^secret$"]}, ("look", {"a": {"secret": 1}}), "block"),
        ("deny_patterns", {"patterns": ["x"], "arguments": ["a"]}, ("look", {"b": "x"}), "allow"),
        ("allow_patterns", TYPED, ("look", {"a": "ab", "b": "1"}), "allow"),
        ("allow_patterns", TYPED, ("look", {"a": "ab\n1"}), "block"),
        ("no_sensitive_data", NOTHING, ("look", {"to": "ada@example.org"}), "block"),
        ("no_sensitive_data", NOTHING, ("look", {"a": ["ghp_0123456789abcdef0123"]}), "block"),
        ("no_sensitive_data", {"forms": ["api_keys"]}, ("look", {"to": "ada@example.org"}), "allow"),
        ("no_sensitive_data", CARDS, ("look", {"to": "4242 4242 4242 4242"}), "block"),
        ("no_sensitive_data", CARDS, ("look", {"to": "4242 4242 4242 4243"}), "allow"),
    ],
)
async def test_built_in_controls(control: str, options: dict[str, Any], call: tuple[str, dict[str, Any]], verdict: str):
    [found] = await judged("operations", {"control": control, "options": options}, calls=(call,))
    assert found.verdict == verdict, found


DOMAINS = {"control": "allow_domains", "options": {"domains": ["example.com", "*.example.org"], "arguments": ["host"]}}


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.com/x and http://a.b.example.org:8080.",
        "nothing at all, not even a/b//c",
        "(https://EXAMPLE.com)",
        "wss://example.com",
        "https://example.com\nhttps://example.com",
    ],
)
async def test_addresses_of_the_domains_pass(text: str):
    [found] = await judged("operations", DOMAINS, calls=(("look", {"a": [{"b": text}]}),))
    assert found.verdict == "allow", found


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com.evil.net/",
        "https://evilexample.com",
        "https://example.org",
        "https://example.com@evil.net/",
        "https://evil.net\\@example.com",
        "https:evil.net",
        "https:/\\evil.net",
        "//evil.net/x",
        "see //evil.net/x",
        "\\\\evil.net\\share",
        "ftp://example.com",
        "file://example.com/etc/passwd",
        "git+https://example.com/x",
        "xhttps://evil.net",
        "ht\ntps://evil.net",
        " http\t://evil.net",
        "https://example.com\n.evil.net",
        "https://example\uff0ecom",
        "https://ex\u0430mple.com",
        "https://example.com%2eevil.net",
        "https://[::1]/",
        "first https://example.com then http://evil.net",
    ],
)
async def test_addresses_that_lead_elsewhere_do_not(text: str):
    [found] = await judged("operations", DOMAINS, calls=(("look", {"a": [{"b": text}]}),))
    assert found.verdict == "block", text


@pytest.mark.parametrize(
    ("host", "verdict"), [("example.com:443", "allow"), ("evil.net", "block"), ("x@evil.net", "block")]
)
async def test_an_argument_that_is_a_host_by_itself(host: str, verdict: str):
    [found] = await judged("operations", DOMAINS, calls=(("look", {"host": host}),))
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("control", "options"),
    [
        ("allow_domains", DOMAINS["options"]),
        ("no_sensitive_data", {"forms": ["emails", "cards"]}),
        ("deny_patterns", {"patterns": ["^(a+)+$"]}),
    ],
)
@pytest.mark.parametrize("unit", ["a", "//", "https:", "\\", "a.", "1 ", "http://a", "\n", "\n//"])
async def test_no_arguments_make_a_control_slow(control: str, options: dict[str, Any], unit: str):
    before = time.process_time()
    text = unit * (100_000 // len(unit)) + "!"
    await judged("operations", {"control": control, "options": options}, calls=(("look", {"a": text}),))
    assert time.process_time() - before < 5
