"""Agents as documents of the Open Agent Specification, and back."""

from typing import Any

import pytest
from hypothesis import given

import made_up_specs
from interlock import agents, bridges

FOREIGN = """
component_type: Agent
id: 86223a17
name: Help Desk
metadata: {owner: ops}
inputs: [{title: who, type: string}]
outputs: [{title: label, type: string}, {title: score, type: number, default: 0}]
llm_config: {$component_ref: llm}
system_prompt: Answer {{who}}.
tools:
- component_type: ServerTool
  id: t1
  name: find ticket
  description: Find it.
  inputs: [{title: number, type: integer}]
  outputs: []
  requires_confirmation: false
- {component_type: RemoteTool, id: t2, name: post, url: 'https://example.com', http_method: POST}
toolboxes: [{component_type: MCPToolBox, id: b1, name: files}]
$referenced_components:
  llm:
    component_type: VllmConfig
    id: llm
    name: big
    url: http://localhost:8000
    model_id: meta/llama
    api_key: {$component_ref: secret}
    default_generation_parameters: {max_tokens: 10, temperature: 0.5, min_p: 0.1}
agentspec_version: 25.4.2
"""


@given(made_up_specs.SPECS)
def test_what_leaves_comes_back_as_it_was(raw: dict[str, Any]):
    spec = agents.assemble(raw, source="a spec")
    text, _ = bridges.to_open_agent_spec(spec)
    again, report = bridges.from_open_agent_spec(text)
    assert agents.compare(spec, again) == []
    assert report.notes == ()


def test_others_are_read_in_the_safe_sense_and_told_what_is_lost():
    spec, report = bridges.from_open_agent_spec(FOREIGN)
    assert (spec.id, spec.model, spec.metadata) == ("help_desk", "vllm:meta/llama", {"owner": "ops"})
    assert spec.generation.params == agents.Params(max_tokens=10, temperature=0.5)
    assert spec.generation.provider_options == {"min_p": 0.1}
    assert spec.result is not None
    assert spec.result.json_schema["required"] == ("label",)
    assert [each.name for each in spec.operations] == ["find_ticket", "post"]
    for each in spec.operations:
        assert (each.idempotency, each.approval) == ("unsafe_once", agents.Consent())
    assert spec.operations[0].input["properties"] == {"number": {"type": "integer"}}
    told = {(each.path, each.fate) for each in report.notes}
    assert told == {
        ("name", "assumed"),
        ("llm_config.url", "lost"),
        ("tools[find ticket].idempotency", "assumed"),
        ("tools[post]", "lost"),
        ("tools[post].idempotency", "assumed"),
        ("toolboxes", "lost"),
        ("instructions", "lost"),
    }
    assert "secret" not in agents.write_spec(spec)


def test_options_that_no_provider_is_told_are_lost():
    given = FOREIGN.replace("min_p: 0.1", "min_p: 0.1, max_completion_tokens: 9, n: 3")
    spec, report = bridges.from_open_agent_spec(given)
    assert spec.generation.provider_options == {"min_p": 0.1}
    lost = {each.path.rpartition(".")[2]: each.text for each in report.notes if "parameters" in each.path}
    assert lost.keys() == {"max_completion_tokens", "n"}
    assert lost["max_completion_tokens"].endswith("say `params.max_tokens`")


def test_what_others_cannot_know_is_told():
    spec = agents.assemble(
        {
            "id": "desk",
            "instructions": "Ask {{name}}.",
            "memory": {},
            "operations": [
                {
                    "name": "pay",
                    "idempotency": "unsafe_once",
                    "approval": {},
                    "source": {"kind": "mcp", "ref": "bank/pay"},
                }
            ],
        },
        source="a spec",
    )
    text, report = bridges.to_open_agent_spec(spec)
    assert [(each.path, each.fate.value) for each in report.notes] == [
        ("memory", "aside"),
        ("controls", "aside"),
        ("instructions", "lost"),
        ("operations[pay].idempotency", "aside"),
        ("operations[pay].source", "aside"),
        ("operations[pay].approval", "aside"),
    ]
    assert "requires_confirmation: true" in text


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("[]", "no Agent"),
        ("component_type: Flow", "no Agent"),
        ("a: &x 1", "anchors"),
        ("component_type: Agent\nname: [1]", "name must be a text"),
        ("component_type: Agent\nname: a\ntools: 1", "llm_config is no component"),
        ("component_type: Agent\nname: a\nllm_config: {model_id: m}\ntools: 1", "tools must be a list"),
        (
            "component_type: Agent\nname: a\nllm_config: {model_id: m}\ntools: [{$component_ref: x}]",
            "tools[0] is no component",
        ),
        ("component_type: Agent\nname: a\nllm_config: {model_id: m}\noutputs: [1]", "each with a title"),
        ("x" * 1_000_001, "larger than"),
        (b"\xff", "utf-8"),
    ],
)
def test_what_is_none_is_refused_in_a_sentence(document: str | bytes, told: str):
    with pytest.raises(bridges.ForeignSpec) as caught:
        bridges.from_open_agent_spec(document)
    assert told in caught.value.message
