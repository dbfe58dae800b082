"""What stays the same of an agent and of its turns."""

import json
from typing import Any

from interlock import agents, inference
from interlock.agents import turns
from interlock.testing import golden, models

SPEC = agents.assemble(
    {
        "id": "desk",
        "instructions": "Answer.",
        "model": "fake:echo",
        "operations": [
            {"name": "look", "idempotency": "pure", "source": {"kind": "function", "ref": "look"}},
            {"name": "pay", "idempotency": "unsafe_once", "source": {"kind": "function", "ref": "pay"}, "approval": {}},
        ],
        "controls": {"operations": [{"control": "careful", "match": {"name": "look"}}]},
    },
    source="a spec",
)
PLAN = turns.Plan(SPEC)


def taken(run: str, call_id: str) -> turns.State:
    """The same turn, with ids and times of its own."""
    state = turns.State(turn_id=run, fingerprint=PLAN.fingerprint)
    thought = inference.Thinking(text=f"hm, {run}", opaque={"signature": call_id})
    first = models.answer(thought, models.call("look", call_id=call_id), "Let me see.")
    second = models.answer(models.call("pay", call_id=f"{call_id}-2"))
    allow = turns.Judged(judgements=(turns.Judgement(call_id=call_id, verdict=turns.Verdict.ALLOW),))
    events: list[turns.AnyEvent] = [
        turns.Began(input="hello", took_s=len(run) / 7),
        turns.Answered(answer=first, took_s=len(run) / 3),
        allow,
        turns.Performed(call_id=call_id, text="a door"),
        turns.Answered(answer=second),
    ]
    for event in events:
        state, _ = turns.step(PLAN, state, event)
    return state


def test_the_same_turn_is_told_the_same():
    one, other = golden.turn(taken("run_1", "abc")), golden.turn(taken("run_22", "xyz"))
    assert one == other == json.loads(json.dumps(one))
    assert one == {
        "phase": "person",
        "rounds": 2,
        "operations": 1,
        "said": [
            {"role": "user", "parts": ["hello"]},
            {"role": "model", "parts": [{"call": 1, "operation": "look", "arguments": {}}, "Let me see."]},
            {"role": "operations", "parts": [{"outcome_of": 1, "failed": False, "text": "a door"}]},
            {"role": "model", "parts": [{"call": 2, "operation": "pay", "arguments": {}}]},
        ],
        "waiting": [{"call": 2, "operation": "pay", "standing": "held"}],
    }


def test_another_turn_is_told_otherwise():
    state = taken("run_1", "abc")
    stopped, _ = turns.step(PLAN, state, turns.Stopped(code="cancelled", message="enough"))
    assert golden.turn(stopped) != golden.turn(state)
    assert golden.turn(stopped)["failure"] == "cancelled"


def test_an_agent_is_told_without_its_texts():
    told: dict[str, Any] = golden.spec(SPEC)
    assert [(each["name"], each["approval"], each["controls"]) for each in told["operations"]] == [
        ("look", False, ["careful"]),
        ("pay", True, []),
    ]
    assert "instructions" not in told
    assert golden.spec(SPEC.model_copy(update={"instructions": "Other."})) == told
