"""Workflows as operations: what is refused, what is done, and that nothing is done twice however often one is asked for."""

from pathlib import Path
from typing import Any

import pytest

from interlock import agents, kernel
from interlock.agents.sourcing import flows
from interlock.app import Settings, collect_operations
from interlock.app.settings import AppSettings
from interlock.kernel import JSON, ProviderError

pytestmark = pytest.mark.anyio

DONE: dict[str, str] = {}
FAILURES: list[Exception] = []
PAID: list[str] = []
LOOKS: list[Exception] = []


@agents.operation(idempotency="pure")
def people(team: str) -> dict[str, JSON]:
    """Who is there."""
    return {"names": [f"{team}-{number}" for number in range(3)], "open": team != "closed"}


@agents.operation(idempotency="dedupe")
async def tell(name: str, text: str, context: agents.Invocation) -> str:
    """Tell somebody."""
    DONE.setdefault(context.key, f"{name}: {text}")
    if FAILURES:
        raise FAILURES.pop()
    return f"told {name}"


def was_paid(context: agents.Invocation) -> JSON | agents.NotHappened | agents.Unclear:
    """What the bank says."""
    if LOOKS:
        raise LOOKS.pop()
    return f"paid {PAID.count(context.key)}" if context.key in PAID else agents.NotHappened()


@agents.operation(idempotency="reconcile", reconcile=was_paid)
async def pay(context: agents.Invocation) -> str:
    """Pay."""
    PAID.append(context.key)
    if FAILURES:
        raise FAILURES.pop()
    return "paid"


@agents.operation(idempotency="unsafe_once")
def shout(text: str) -> str:
    """Shout it."""
    return text


FLOW = """
# a workflow
id: spread
description: Tell a team.
input: {type: object, properties: {team: {type: string}, text: {type: string}}, required: [team, text]}
steps:
  - {name: who, source: {kind: function, ref: people}, with: {team: {from: input.team}}}
  - {name: is_open, gate: {from: who.open}}
  - name: told
    map: {from: who.names}
    source: {kind: function, ref: tell}
    with: {name: {from: item}, text: {from: input.text}}
    retry: {max_attempts: 2, pause_s: 0}
output: {first: {from: told.0}, all: {from: told}}
"""


def registry(folder: Path, text: str = FLOW) -> agents.Registry:
    (folder / "spread.yaml").write_text(text)
    settings = Settings(folder=folder, app=AppSettings(workflows={"spread": "spread.yaml"}))
    return collect_operations(settings, operations=[people, tell, shout, pay])


def spec(known: agents.Registry) -> agents.Spec:
    operation = {"name": "spread", "source": {"kind": "workflow", "ref": "spread"}}
    document = {"id": "desk", "instructions": "Help.", "operations": [operation]}
    return agents.assemble(document, source="test", registry=known)


def flow(ref: str, **more: JSON) -> str:
    """A workflow of one step."""
    step: dict[str, JSON] = {"name": "only", "source": {"kind": "function", "ref": ref}, **more}
    return kernel.canonical({"id": "spread", "description": "One step.", "steps": [step]}).decode()


async def perform(known: agents.Registry, *, key: str = "k", **given: JSON) -> Any:
    source = known.find_source("workflow")
    assert source is not None
    return await source.perform(
        agents.Invocation(
            operation=spec(known).operations[0],
            arguments=given,
            key=key,
            again=False,
            caller=kernel.Caller(tenant_id="default", actor="local:me"),
            environment="dev",
            turn_id="run_1",
            session_id=None,
            agent_id="desk",
            context={},
            timeout_s=10,
        )
    )


async def test_steps_are_done_in_order_and_each_once(tmp_path: Path):
    DONE.clear()
    known = registry(tmp_path)
    told = {"first": "told a-0", "all": ["told a-0", "told a-1", "told a-2"]}
    assert await perform(known, team="a", text="hi") == told
    assert sorted(DONE.values()) == ["a-0: hi", "a-1: hi", "a-2: hi"]
    assert await perform(known, team="a", text="hi") == told
    assert len(DONE) == 3
    await perform(known, key="other", team="a", text="hi")
    assert len(DONE) == 6
    assert await perform(known, team="closed", text="hi") == {"stopped": "is_open"}


async def test_what_may_be_tried_later_is_tried_again(tmp_path: Path):
    DONE.clear()
    FAILURES[:] = [ProviderError("cut, once it was told")]
    assert await perform(registry(tmp_path), team="a", text="hi")
    assert len(DONE) == 3  # under the key that it had
    FAILURES[:] = [agents.OperationFailed("never")]
    with pytest.raises(agents.OperationFailed, match="never"):
        await perform(registry(tmp_path), team="a", text="hi")
    with pytest.raises(agents.OperationFailed, match="the arguments of told do not fit"):
        await perform(registry(tmp_path), team="a", text=3)


async def test_what_has_to_be_asked_about_is_asked_about_first(tmp_path: Path):
    PAID.clear()
    known = registry(tmp_path, flow("pay", retry={"max_attempts": 2, "pause_s": 0}))
    FAILURES[:] = [ProviderError("cut")]
    assert await perform(known) == "paid 1"
    assert await perform(known) == "paid 1"
    assert await perform(known, key="other") == "paid"
    assert len(PAID) == 2


@pytest.mark.parametrize("error", [agents.OperationFailed("the bank is closed"), RuntimeError("closed")])
async def test_what_cannot_be_found_out_is_not_done(tmp_path: Path, error: Exception):
    PAID.clear()
    LOOKS[:] = [error]
    with pytest.raises(kernel.UnknownOutcome, match="whether the step only was done cannot be found out"):
        await perform(registry(tmp_path, flow("pay")))
    assert not PAID


def test_a_workflow_is_pinned(tmp_path: Path):
    known = registry(tmp_path)
    [operation] = spec(known).operations
    assert (operation.description, operation.idempotency.value) == ("Tell a team.", "dedupe")
    made = agents.write_spec(spec(known))
    assert agents.read_spec(made, registry=known) == spec(known)
    with pytest.raises(agents.InvalidSpec, match="is another by now"):
        agents.read_spec(made, registry=registry(tmp_path, FLOW.replace("told.0", "told.1")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("who.names", "whom.names"), "'whom.names' is from nowhere; there are input, is_open, who"),
        (("{from: item}", "{from: itm}"), "'itm' is from nowhere"),
        (("ref: tell", "ref: shout"), "unsafe_once, and nobody would know it again"),
        (("ref: tell", "ref: yell"), "there is no function 'yell'"),
        (("kind: function, ref: tell", "kind: workflow, ref: spread"), "no workflows in it"),
        (("name: is_open", "name: who"), "'who' stands for something else already"),
        (("gate: {from: who.open}", "gates: {}"), "did you mean 'gate'"),
        (("gate: {from: who.open}", "with: {}"), "a `source` or a `gate`"),
        (("type: object, properties: {team", "type: strange, properties: {team"), "no JSON Schema"),
        (("# a workflow", "a: &x 1"), "spread.yaml"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, change: tuple[str, str], said: str):
    assert change[0] in FLOW
    with pytest.raises(agents.InvalidSpec) as raised:
        spec(registry(tmp_path, FLOW.replace(*change)))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("gate", "goes_on"),
    [
        ({"from": "a.b"}, True),
        ({"from": "a.c"}, False),
        ({"from": "nowhere.at.all"}, False),
        ({"from": "a.b", "equals": [1, "x"]}, True),
        ({"from": "a.b", "equals": 1}, False),
        ({"from": "a.b", "contains": "x"}, True),
        ({"from": "a.b.1", "contains": "y"}, False),
    ],
)
def test_gates(gate: dict[str, JSON], goes_on: bool):
    assert flows.holds(flows.Gate.model_validate(gate), {"a": {"b": [1, "x"], "c": 0}}) is goes_on
