"""Pydantic models of contexts and results: a spec keeps their schemas, and a program sees what they parse."""

from datetime import date
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from fix_ledger import Builder
from interlock import agents, runs
from interlock.agents import harness, turns
from interlock.agents.harness.standing import turn_of
from interlock.kernel import Caller, canonical

pytestmark = pytest.mark.anyio


@agents.shape("ticket_context")
class Desk(BaseModel):
    customer: str
    since: date = date(2020, 1, 1)

    @field_validator("customer")
    @classmethod
    def _known(cls, customer: str) -> str:
        if customer == "nobody":
            raise ValueError("there is no such customer")
        return customer


class Verdict(BaseModel):
    label: str
    on: date

    @field_validator("label")
    @classmethod
    def _said(cls, label: str) -> str:
        if label == "none":
            raise ValueError("no label")
        if label == "odd":
            raise KeyError("a secret")
        return label


SEEN: list[Any] = []


@agents.operation(idempotency="pure")
def look(context: agents.Invocation[Desk]) -> str:
    """Look."""
    return f"{context.context.customer} since {context.context.since:%Y}"


@agents.control()
def old_customers(given: agents.ControlInput[Desk]) -> agents.Ruling:
    SEEN.append(given)
    given.context.customer = "changed"
    return agents.allow() if given.context.since < date(2021, 1, 1) else agents.block("too new")


MODULE = ModuleType("desk")
vars(MODULE).update(Desk=Desk, look=look, old_customers=old_customers)
YAML = """
id: desk
instructions: Answer.
context_schema: {$ref: "registry:ticket_context"}
operations: [{name: look}]
controls: {inputs: [{control: old_customers}, {control: require_context, options: {keys: [customer]}}]}
"""
BUILT = agents.agent(
    "desk",
    "Answer.",
    context=Desk,
    operations=[look],
    controls={
        "inputs": [{"control": "old_customers"}, {"control": "require_context", "options": {"keys": ["customer"]}}]
    },
)
CALLER = Caller(actor="user:ada")


def test_a_module_of_the_settings_has_schemas_for_documents():
    registry = agents.Registry(modules=[MODULE])
    assert agents.read_spec(YAML, registry=registry) == BUILT
    with pytest.raises(agents.InvalidSpec, match="did you mean 'ticket_context'"):
        agents.read_spec(YAML.replace("ticket_context", "ticket_contxt"), registry=registry)
    with pytest.raises(agents.InvalidSpec, match="two schemas both have this name"):
        agents.Registry(modules=[MODULE], schemas={"ticket_context": Verdict})


async def test_controls_see_the_model_each_its_own():
    SEEN.clear()
    registry = agents.Registry(modules=[MODULE])
    plan = turns.Plan(agents.read_spec(YAML, registry=registry))
    state, [judge] = turns.step(
        plan, turns.State(turn_id="run_1", fingerprint=plan.fingerprint), turns.Began(input="hi")
    )
    assert isinstance(judge, turns.Judge)
    for context, verdict, reason in (
        ({"customer": "ada"}, "allow", None),
        ({"customer": "ada", "since": "2024-05-01"}, "block", "too new"),
        ({"customer": "nobody"}, "error", "Desk refuses it: customer: Value error, there is no such customer"),
    ):
        around = agents.Surroundings(caller=CALLER, environment="dev", session_id=None, context=context)
        [said] = await agents.Judging(registry=registry).judge(plan, state, judge, surroundings=around)
        assert (said.verdict.value, said.reason) == (verdict, reason)
    assert [type(each.context) for each in SEEN] == [Desk, Desk]


async def test_operations_see_the_model():
    asked = harness.Asked(spec=BUILT, text="hi", context={"customer": "ada"})
    invocation = agents.Invocation(
        operation=BUILT.operations[0],
        arguments={},
        key="k",
        again=False,
        caller=CALLER,
        environment="dev",
        turn_id="run_1",
        session_id=None,
        agent_id="desk",
        context=asked.context,
        seen=asked.seen(),
        timeout_s=1,
    )
    assert await agents.Functions(agents_marked()).perform(invocation) == "ada since 2020"


def agents_marked() -> list[agents.Marked]:
    found = agents.Registry([look]).find_function("look")
    assert found is not None
    return [found]


def test_what_the_model_of_a_context_refuses_is_not_asked():
    with pytest.raises(agents.InvalidContext, match="there is no such customer"):
        harness.Asked(spec=BUILT, text="hi", context={"customer": "nobody"}).seen()
    with pytest.raises(agents.InvalidContext, match="customer"):
        harness.Asked(spec=BUILT, text="hi", context={})


def ended(label: str, spec: agents.Spec) -> harness.Turn:
    """A turn that has come to that result."""
    plan = turns.Plan(spec)
    state = turns.State(turn_id="run_1", fingerprint=plan.fingerprint, phase=turns.Phase.FINISHED)
    state = state.model_copy(update={"answer": "…", "result": {"label": label, "on": "2026-01-02"}})
    run = Builder("t1").run(state=runs.State.COMPLETED)
    return turn_of(run, harness.Asked(spec=spec, text="hi"), harness.Sheet(state=state, wanted=()))


def test_a_result_is_the_model_and_json_on_record():
    turn = ended("late", agents.agent("desk", "Answer.", result=Verdict)).check()
    assert turn.result == Verdict(label="late", on=date(2026, 1, 2))
    assert turn.result_as(Verdict) is turn.result
    assert turn.to_json()["result"] == turn.result_json == {"label": "late", "on": "2026-01-02"}


def test_a_result_of_which_the_program_has_no_model_is_json():
    spec = agents.agent("desk", "Answer.", result={"type": "object", "properties": {"label": {"type": "string"}}})
    turn = ended("late", spec).check()
    assert turn.result == {"label": "late", "on": "2026-01-02"}
    assert turn.result_as(Verdict).label == "late"
    with pytest.raises(agents.TurnFailed, match="is no Desk"):
        turn.result_as(Desk)


Twin = type("Verdict", (BaseModel,), {"__annotations__": {"label": str, "on": date}})
"""Another model, with one and the same schema."""


def test_of_models_with_one_schema_each_agent_has_its_own():
    assert agents.agent("a", "Answer.", result=Verdict).result == agents.agent("a", "Answer.", result=Twin).result
    ours, theirs = (agents.agent(name, "Answer.", result=each) for name, each in (("ours", Verdict), ("theirs", Twin)))
    late = {"label": "late", "on": date(2026, 1, 2)}
    for spec, model in ((ours, Verdict), (theirs, Twin), (ours, Verdict)):
        again = agents.Spec.model_validate_json(canonical(spec.to_json()))  # as a worker reads it
        for each in (spec, again):
            assert type(ended("late", each).check().result) is model
            assert ended("late", each).check().result_as(model).model_dump() == late


def test_of_models_with_one_schema_a_document_has_the_one_that_it_names():
    registry = agents.Registry(schemas={"ours": Verdict, "theirs": Twin})
    for name, model in (("ours", Verdict), ("theirs", Twin)):
        told = f"id: of_{name}\ninstructions: Answer.\nresult: {{schema: {{$ref: 'registry:{name}'}}}}"
        assert type(ended("late", agents.read_spec(told, registry=registry)).check().result) is model


def test_an_agent_with_another_model_parses_by_the_same_as_before():
    ours, _ = (agents.agent(name, "Answer.", result=each) for name, each in (("ours", Verdict), ("theirs", Twin)))
    assert type(ended("late", agents.asking(ours, "fake:x", source="a test")).check().result) is Verdict


def test_a_result_that_its_model_refuses_is_told():
    turn = ended("none", agents.agent("desk", "Answer.", result=Verdict))
    assert turn.result == turn.result_json
    with pytest.raises(agents.TurnFailed, match="Verdict refuses it: label: Value error, no label"):
        turn.check()


def test_a_validator_that_raises_anything_else_refuses_it_and_its_words_are_not_told():
    turn = ended("odd", agents.agent("desk", "Answer.", result=Verdict))
    with pytest.raises(agents.TurnFailed, match=r"Verdict raised KeyError of it$"):
        turn.check()
