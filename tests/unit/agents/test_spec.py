"""A spec as a value: two spellings, one fingerprint, and documents that come back as what they were written of."""

import copy
import json
import pickle
from typing import Any, Literal

import pytest
from hypothesis import given
from pydantic import BaseModel

import made_up_specs
from interlock import agents


class Verdict(BaseModel):
    label: str
    score: float | None = None


@agents.operation(idempotency="pure")
def add(context: object, a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@agents.operation("send_mail", idempotency="unsafe_once", approval={"message": "It cannot be taken back."})
async def send(to: str) -> Verdict:
    """Send it."""
    return Verdict(label=to)


def test_python_and_yaml_make_the_same_spec():
    made = agents.agent("desk", "Answer.", operations=[add, send], result=Verdict, controls={"max_turns": 3})
    told = """
        id: desk
        instructions: Answer.
        result: {schema: {$ref: "registry:verdict"}}
        operations: [{name: add}, {name: send_mail}]
        controls: {max_turns: 3}
    """
    registry = agents.Registry([add, send], schemas={"verdict": Verdict})
    read = agents.read_spec(told, registry=registry)
    assert read == made
    assert read.fingerprint == made.fingerprint
    assert hash(read) == hash(made)


def test_a_function_is_shown_as_it_is_declared():
    spec = agents.agent("desk", "Answer.", operations=[add, send])
    adding, sending = (each.model_dump(mode="json") for each in spec.operations)
    assert adding["description"] == "Add two numbers."
    assert adding["input"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert adding["source"] == {"kind": "function", "ref": "add", "options": {}}
    assert sending["output"]["required"] == ["label"]
    assert spec.operations[1].approval == agents.Consent(message="It cannot be taken back.")
    assert [each.kind for each in spec.operations] == ["function", "function"]


def test_defaults_are_written_into_the_spec():
    defaults = agents.Defaults(model="anthropic:some-model", temperature=0.5, max_tokens=10)
    spec = agents.agent("desk", "Answer.", defaults=defaults)
    assert spec.model == "anthropic:some-model"
    assert spec.generation.params == agents.Params(temperature=0.5, max_tokens=10)
    assert agents.read_spec(agents.write_spec(spec), defaults=agents.Defaults(model="other:model")) == spec


def test_generation_that_says_nothing_stays_so():
    spec = agents.agent("desk", "Answer.", generation={})
    assert spec.generation.params.max_tokens is None
    assert agents.read_spec(agents.write_spec(spec)) == spec


def test_nothing_in_a_spec_can_be_changed():
    spec = agents.agent("desk", "Answer.", operations=[add], metadata={"list": [1, {"a": 1}]})
    with pytest.raises(ValueError, match="frozen"):
        spec.instructions = "Obey."  # pyright: ignore[reportAttributeAccessIssue]
    for holder in (spec.metadata, spec.operations[0].input, spec.operations[0].input["properties"]):
        with pytest.raises(TypeError):
            holder["x"] = 1  # pyright: ignore[reportIndexIssue]
    assert spec.metadata["list"][1]["a"] == 1
    assert isinstance(spec.metadata["list"], tuple)


def test_a_spec_can_be_copied_and_pickled():
    spec = agents.agent("desk", "Answer.", operations=[add], metadata={"list": [1, {"a": 1}]})
    assert copy.deepcopy(spec) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"instructions": "Answer!"},
        {"model": "openai:other"},
        {"generation": {"params": {"temperature": 1}}},
        {"metadata": {"a": None}},
        {"controls": {"max_turns": 9}},
        {"operations": []},
        {"memory": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_change_is_another_fingerprint(change: dict[str, Any]):
    one = agents.agent("desk", "Answer.", operations=[add])
    other = agents.assemble({**one.to_json(), **change}, source="a spec")
    assert one.fingerprint != other.fingerprint


@given(made_up_specs.SPECS)
def test_a_spec_and_its_documents_are_one(raw: dict[str, Any]):
    spec = agents.assemble(raw, source="a spec")
    forms: tuple[Literal["yaml", "json"], ...] = ("yaml", "json")
    for form in forms:
        text = agents.write_spec(spec, form)
        again = agents.read_spec(text)
        assert again == spec
        assert again.fingerprint == spec.fingerprint
        assert agents.write_spec(again, form) == text
    assert json.loads(agents.write_spec(spec, "json")) == spec.to_json()


def test_a_copy_has_a_fingerprint_of_its_own():
    spec = agents.agent("desk", "Answer.", model="fake:echo")
    before = spec.fingerprint
    copied = spec.model_copy(update={"instructions": "Answer at once."})
    assert copied.fingerprint != before == spec.model_copy().fingerprint
    assert copied.fingerprint == agents.agent("desk", "Answer at once.", model="fake:echo").fingerprint
