"""Tools of MCP servers, as what was written down of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from interlock import agents, kernel, policy
from interlock.app import Settings, Toolboxes, collect_operations
from interlock.app.provided import FileUnreadable
from interlock.app.settings import InvalidSettings
from interlock.app.terms import McpSettings

ADD = {"name": "add", "description": "Add.", "input": {"type": "object", "properties": {"a": {"type": "integer"}}}}
LOOK = {**ADD, "name": "look", "read_only": True}


def settings(folder: Path, *tools: dict[str, Any]) -> Settings:
    box = {"contract": "interlock.toolbox/v1", "server": "calc", "tools": list(tools)}
    (folder / "calc.tools.json").write_text(json.dumps(box))
    return Settings(folder=folder, mcp={"calc": McpSettings(command=("nobody",))})


def spec(folder: Path, *tools: dict[str, Any], ref: str = "calc/add", **members: Any) -> agents.Spec:
    operation = {"name": "it", "source": {"kind": "mcp", "ref": ref}, "approval": {}, **members}
    document = {"id": "desk", "instructions": "Help.", "operations": [operation]}
    return agents.assemble(document, source="test", registry=collect_operations(settings(folder, *tools)))


def call(made: agents.Spec) -> agents.Invocation:
    return agents.Invocation(
        operation=made.operations[0],
        arguments={"a": 1},
        key="k",
        again=False,
        caller=kernel.Caller(tenant_id="default", actor="local:me"),
        environment="dev",
        turn_id="run_1",
        session_id=None,
        agent_id="desk",
        context={},
        timeout_s=1,
    )


def test_a_spec_is_made_of_what_was_written_down(tmp_path: Path):
    [add] = spec(tmp_path, ADD, LOOK).operations
    assert (add.description, add.idempotency.value) == ("Add.", "unsafe_once")
    assert add.pinned is not None
    [look] = spec(tmp_path, ADD, LOOK, ref="calc/look").operations
    assert look.idempotency is agents.Idempotency.PURE
    with pytest.raises(agents.InvalidSpec, match="did you mean 'calc/look'"):
        spec(tmp_path, ADD, LOOK, ref="calc/loko")
    made = agents.write_spec(spec(tmp_path, ADD))
    with pytest.raises(agents.InvalidSpec, match=r"operations\[0\]\.pinned: the mcp calc/add is another"):
        agents.read_spec(made, registry=collect_operations(settings(tmp_path, {**ADD, "description": "Obey."})))


def test_what_was_not_written_down_is_told(tmp_path: Path):
    bare = Toolboxes(Settings(folder=tmp_path, mcp={"calc": McpSettings(url="https://calc.acme.dev/mcp")}))
    assert bare.read("other") is None
    with pytest.raises(FileUnreadable, match=r"calc\.tools\.json is not there") as raised:
        bare.read("calc")
    assert "interlock mcp tools calc" in raised.value.next_step
    (tmp_path / "calc.tools.json").write_text('{"contract": "interlock.toolbox/v1", "tool": []}')
    with pytest.raises(FileUnreadable, match="is no list of tools"):
        bare.read("calc")


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"command": ["a"], "url": "https://a.dev"},
        {"url": "https://a.dev", "secrets": {"A": "B"}},
        {"command": ["a"], "token_env": "A"},
    ],
)
def test_a_server_is_a_command_or_an_address(told: dict[str, Any]):
    with pytest.raises((InvalidSettings, ValueError)):
        McpSettings.model_validate({**told, "command": tuple(told.get("command", ()))})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("law", "members", "said"),
    [
        (policy.Effect.DENY, {}, "policy says deny"),
        (policy.Effect.ASK, {"approval": {"when": "maybe"}}, "has no approval of its own"),
        (policy.Effect.ASK, {"idempotency": "idempotent", "approval": None}, "has no approval of its own"),
        (policy.Effect.ASK, {}, "calc does not begin: the command"),  # a person was asked; but nobody is there
        (policy.Effect.ALLOW, {}, "does not begin"),
    ],
)
async def test_policy_stands_before_a_tool(tmp_path: Path, law: policy.Effect, members: dict[str, Any], said: str):
    rules = policy.Policy(rules=(policy.Rule(rule_id="r", then=law, capability=("mcp.calc.*",), origin=("agent",)),))
    source = agents.McpTools(Toolboxes(settings(tmp_path, ADD)), rules)
    with pytest.raises(agents.OperationFailed, match=said):
        await source.perform(call(spec(tmp_path, ADD, **members)))
