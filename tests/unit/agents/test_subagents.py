"""Agents that other agents may ask: what is said of them, and which of them are refused."""

from pathlib import Path
from typing import Any

import pytest

from interlock import agents
from interlock.app import Settings, collect_operations
from interlock.app.settings import AppSettings, InvalidSettings

ASKS = "{{id: {me}, instructions: Help., operations: [{{name: other, source: {{kind: subagent, ref: {other}}}}}]}}"
LONE = "id: lone\ninstructions: Help.\nmetadata: {description: Knows all.}\nresult: {schema: {type: object}}\n"


def registry(folder: Path, **specs: str) -> agents.Registry:
    for name, text in specs.items():
        (folder / f"{name}.yaml").write_text("# a spec\n" + text)
    return collect_operations(Settings(folder=folder, app=AppSettings(agents={name: f"{name}.yaml" for name in specs})))


def asking(other: str, **options: Any) -> dict[str, Any]:
    source = {"kind": "subagent", "ref": other, "options": options}
    return {"id": "boss", "instructions": "Lead.", "operations": [{"name": "ask", "source": source}]}


def test_another_agent_is_an_operation(tmp_path: Path):
    known = registry(tmp_path, lone=LONE)
    made = agents.assemble(asking("lone", forward_context=["customer"]), source="test", registry=known)
    [ask] = made.operations
    assert (ask.description, ask.idempotency.value) == ("Knows all.", "dedupe")
    assert list(ask.input["properties"]) == ["task"]
    assert ask.output is not None
    lone = agents.read_spec(LONE)
    assert ask.pinned == lone.fingerprint
    assert agents.read_spec(agents.write_spec(made), registry=known) == made
    other = registry(tmp_path, lone=LONE.replace("Help", "Obey"))
    with pytest.raises(agents.InvalidSpec, match="is another by now"):
        agents.read_spec(agents.write_spec(made), registry=other)


def test_what_is_wrong_is_told(tmp_path: Path):
    known = registry(tmp_path, lone=LONE)
    with pytest.raises(agents.InvalidSpec, match="did you mean 'lone'"):
        agents.assemble(asking("loan"), source="test", registry=known)
    with pytest.raises(agents.InvalidSpec, match=r"options\.forward: .*did you mean 'forward_context'"):
        agents.assemble(asking("lone", forward=["a"]), source="test", registry=known)
    broken = registry(tmp_path, broken="id: broken")
    with pytest.raises(agents.InvalidSpec, match="instructions"):
        agents.assemble(asking("broken"), source="test", registry=broken)
    with pytest.raises(InvalidSettings, match="lower-case letters"):
        Settings(app={"agents": {"A B": "a.yaml"}})  # type: ignore[arg-type]


def test_no_agent_comes_to_ask_itself(tmp_path: Path):
    known = registry(tmp_path, one=ASKS.format(me="one", other="two"), two=ASKS.format(me="two", other="one"))
    with pytest.raises(agents.InvalidSpec, match="one asks two asks one"):
        agents.assemble(asking("one"), source="test", registry=known)


def test_agents_ask_agents_over_few_levels(tmp_path: Path):
    chain = {f"a{n}": ASKS.format(me=f"a{n}", other=f"a{n + 1}") for n in range(5)}
    known = registry(tmp_path, **chain, a5=LONE)
    assert agents.assemble(asking("a1"), source="test", registry=known)
    with pytest.raises(agents.InvalidSpec, match="more than 5 levels"):
        agents.assemble(asking("a0"), source="test", registry=known)


VIA = "{{id: {me}, instructions: Help., operations: [{{name: other, source: {{kind: workflow, ref: {other}}}}}]}}"
STEP = "{{id: {me}, steps: [{{name: only, source: {{kind: subagent, ref: {other}}}, with: {{task: Help.}}}}]}}"


def by_workflows(folder: Path, others: dict[str, str], **specs: str) -> agents.Registry:
    """Agents of which each asks the other by a workflow that is called as that."""
    for name, other in others.items():
        (folder / f"{name}.yaml").write_text("# a spec\n" + VIA.format(me=name, other=other))
    for other in others.values():
        (folder / f"{other}.flow.yaml").write_text("# a workflow\n" + STEP.format(me=other, other=other))
    for name, text in specs.items():
        (folder / f"{name}.yaml").write_text("# a spec\n" + text)
    named = {name: f"{name}.yaml" for name in (*others, *specs)}
    flows = {other: f"{other}.flow.yaml" for other in others.values()}
    return collect_operations(Settings(folder=folder, app=AppSettings(agents=named, workflows=flows)))


def test_workflows_between_agents_hide_nothing(tmp_path: Path):
    known = by_workflows(tmp_path, {"one": "two", "two": "one"})
    with pytest.raises(agents.InvalidSpec, match=r"to ask itself|to ask for itself"):
        agents.assemble(asking("one"), source="test", registry=known)
    known = by_workflows(tmp_path, {f"a{n}": f"a{n + 1}" for n in range(5)}, a5=LONE)
    assert agents.assemble(asking("a1"), source="test", registry=known)
    with pytest.raises(agents.InvalidSpec, match="more than 5 levels"):
        agents.assemble(asking("a0"), source="test", registry=known)
