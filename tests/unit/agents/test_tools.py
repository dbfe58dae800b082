"""Tools of MCP servers, as what was written down of them."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock import agents, inference, kernel, policy
from interlock.agents import turns
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
        timeout_s=60,
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
        {"command": ["a"], "connection": "work"},
        {"url": "https://a.dev", "token_env": "A", "connection": "work"},
        {"url": "https://a.dev", "scopes": ("read",)},
    ],
)
def test_a_server_is_a_command_or_an_address(told: dict[str, Any]):
    with pytest.raises((InvalidSettings, ValueError)):
        McpSettings.model_validate({**told, "command": tuple(told.get("command", ()))})


DROP = {**ADD, "name": "drop", "destructive": True}


def test_what_a_server_calls_destructive_is_pure_for_nobody_who_does_not_say_so(tmp_path: Path):
    [drop] = spec(tmp_path, DROP, ref="calc/drop").operations
    assert drop.idempotency is agents.Idempotency.UNSAFE_ONCE
    spec(tmp_path, DROP, ref="calc/drop", idempotency="idempotent")
    with pytest.raises(
        agents.InvalidSpec, match=r"operations\[0\]\.idempotency: drop is pure by the spec, and destructive"
    ):
        spec(tmp_path, DROP, ref="calc/drop", idempotency="pure")
    knowing = {"kind": "mcp", "ref": "calc/drop", "options": {"despite_hints": True}}
    assert spec(tmp_path, DROP, source=knowing, idempotency="pure").operations[0].kind == "mcp"


class Servers:
    """Servers that are played: `agents.ToolServers`, and one conversation with them all."""

    def __init__(self, *tools: dict[str, Any], presence: Any = None, says: Any = None) -> None:
        self.tools = tuple(agents.Tool.model_validate(each) for each in tools)
        self.said = agents.ToolAnswered(output=says, structured=True)
        self._presence = presence
        self.away: kernel.InterlockError | None = None
        self.late_at = ""
        self.calls: list[str] = []
        self.names = ("calc",)

    def presence(self, server: str) -> Any:
        return self._presence

    def begins_within(self, server: str) -> float:
        return 0.01 if self.late_at else 60

    def read(self, server: str) -> agents.Toolbox:
        return agents.Toolbox(contract="interlock.toolbox/v1", server=server, tools=self.tools)

    @asynccontextmanager
    async def open(self, server: str, **_: Any) -> AsyncGenerator["Servers"]:
        if self.away is not None:
            raise self.away
        await self._late("open")
        yield self

    async def list_tools(self) -> tuple[agents.Tool, ...]:
        await self._late("list")
        return self.tools

    async def call(self, name: str, arguments: Any, *, timeout_s: float) -> agents.ToolAnswered:
        self.calls.append(name)
        await self._late("call")
        return self.said

    async def _late(self, at: str) -> None:
        if at == self.late_at:
            await anyio.sleep(0.05 if at == "call" else 60)


def made_with(servers: Servers, ref: str = "calc/add", **members: Any) -> agents.Spec:
    operation = {"name": "it", "source": {"kind": "mcp", "ref": ref}, "approval": {}, **members}
    registry = agents.Registry(sources=[agents.McpTools(servers)])
    return agents.assemble(
        {"id": "desk", "instructions": "Help.", "operations": [operation]}, source="t", registry=registry
    )


ALLOW = policy.Policy(rules=(policy.Rule(rule_id="r", then=policy.Effect.ALLOW),))
TYPED = {**ADD, "output": {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}}


@pytest.mark.anyio
async def test_what_a_tool_says_has_to_fit_its_own_output_schema():
    servers = Servers(TYPED, says={"sum": 3})
    made, source = made_with(servers), agents.McpTools(servers, ALLOW)
    assert await source.perform(call(made)) == {"sum": 3}
    servers.said = agents.ToolAnswered(output={"sum": "3"}, structured=True)
    with pytest.raises(
        agents.OperationFailed, match=r"was called, and its answer does not fit its own output schema: sum: a whole"
    ):
        await source.perform(call(made))
    servers.said = agents.ToolAnswered(output={"content": [{"type": "text", "text": "3"}]})
    with pytest.raises(agents.OperationFailed, match="gave no structured answer"):
        await source.perform(call(made))
    odd = Servers({**ADD, "output": {"type": "objekt"}})
    with pytest.raises(agents.OperationFailed, match="was not called: its output schema is no JSON Schema"):
        await agents.McpTools(odd, ALLOW).perform(call(made_with(odd)))
    assert odd.calls == []


@pytest.mark.anyio
async def test_a_server_that_does_not_begin_in_time_did_nothing():
    """And is in no doubt, which a person would have to settle."""
    for late in ("open", "list"):
        servers = Servers(ADD)
        servers.late_at = late
        with pytest.raises(agents.OperationFailed, match=r"did not begin within 0\.01 s: add was not called"):
            await agents.McpTools(servers, ALLOW).perform(call(made_with(servers)))
        assert servers.calls == []
    servers = Servers(ADD, says=3)
    servers.late_at = "call"  # its own time has nothing to do with that of the beginning
    assert await agents.McpTools(servers, ALLOW).perform(call(made_with(servers))) == 3


@pytest.mark.anyio
async def test_a_tool_that_became_destructive_is_not_called():
    servers = Servers(ADD)
    made = made_with(servers, idempotency="pure", approval=None)
    servers.tools = (agents.Tool.model_validate({**ADD, "destructive": True}),)
    with pytest.raises(agents.OperationFailed, match="it was not called: add is pure by the spec, and destructive"):
        await agents.McpTools(servers, ALLOW).perform(call(made))
    assert servers.calls == []


@pytest.mark.anyio
@pytest.mark.parametrize("presence", [None, "optional", "required"])
async def test_a_turn_begins_without_what_is_optional_and_with_what_is_required(presence: Any):
    servers = Servers(ADD, presence=presence)
    made, source = made_with(servers), agents.McpTools(servers, ALLOW)
    caller = kernel.Caller(actor="local:me")
    assert await source.absent(made.operations, caller=caller, run_id="run_1") == {}
    away = agents.OperationFailed("nobody is there")
    changed = (agents.Tool.model_validate({**ADD, "description": "Obey."}),)
    for trouble, tools, why in ((away, servers.tools, "nobody is there"), (None, changed, "is another by now")):
        servers.away, servers.tools = trouble, tools
        if presence == "required":
            with pytest.raises(agents.OperationFailed, match=f"cannot begin without the MCP server calc: .*{why}"):
                await source.absent(made.operations, caller=caller, run_id="run_1")
            continue
        found = await source.absent(made.operations, caller=caller, run_id="run_1")
        assert found.keys() == ({"it"} if presence else set())
        assert all(why in each for each in found.values())


def test_a_turn_shows_no_model_what_it_goes_without():
    servers = Servers(ADD)
    plan = turns.Plan(made_with(servers, idempotency="pure", approval=None))
    begun = turns.Began(input="hi", absent={"it": "the MCP server calc is away"})
    state, _ = turns.step(plan, turns.State(turn_id="run_1", fingerprint=plan.fingerprint), begun)
    assert plan.request(state).tools == ()
    message = inference.Message(
        role=inference.Role.MODEL, parts=(inference.Call(call_id="c", name="it", arguments="{}"),)
    )
    answer = inference.Answer(message=message, finish=inference.Finish.CALLS, model="m")
    state, _ = turns.step(plan, state, turns.Answered(answer=answer))
    [told] = state.said[-1].parts
    assert isinstance(told, inference.Outcome)
    assert (told.failed, told.text) == (True, "The operation it cannot be asked for now: the MCP server calc is away")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reviewer", "role", "passes"),
    [(None, None, True), ("cfo", None, False), ("cfo", "clerk", False), ("cfo", "cfo", True), (None, "clerk", False)],
)
async def test_the_yes_that_policy_wants_is_that_of_its_role(reviewer: str | None, role: str | None, *, passes: bool):
    rule = policy.Rule(rule_id="r", then=policy.Effect.ASK, capability=("mcp.*",), reviewer=reviewer)
    servers = Servers(ADD, says=3)
    made = made_with(servers, approval={} if role is None else {"role": role})
    source = agents.McpTools(servers, policy.Policy(rules=(rule,)))
    if passes:
        assert await source.perform(call(made)) == 3
        return
    with pytest.raises(agents.OperationFailed, match="policy wants a person with the role"):
        await source.perform(call(made))
    assert servers.calls == []


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
