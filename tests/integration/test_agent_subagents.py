"""Agents that ask other agents: each is a turn below the asking one, held and gone on with as any."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fix_app import ASK_WRITES, Process, World
from interlock import agents, approvals, inference, runs
from interlock.app.settings import AppSettings
from interlock.testing import models

pytestmark = pytest.mark.anyio

CHILD = """
# a spec
id: clerk
instructions: Do the task.
model: fake:clerk
context_schema: {type: object, properties: {customer: {type: string}}, additionalProperties: false}
operations: [{name: close, approval: {reason: careful}}]
"""
DONE: list[tuple[str, Any]] = []


@agents.operation(idempotency="unsafe_once")
def close(number: int, context: agents.Invocation) -> str:
    """Close it."""
    DONE.append((context.agent_id, dict(context.context)))
    return f"{number} is closed"


@agents.operation(idempotency="pure")
def look() -> str:
    """Look."""
    return "seen"


def given(folder: Path, boss: list[Any], clerk: list[Any]) -> dict[str, Any]:
    (folder / "clerk.yaml").write_text(CHILD)
    scripts = {"boss": models.Scripted(boss), "clerk": models.Scripted(clerk)}
    made: dict[str, Callable[[str], inference.Model]] = {
        "fake": lambda model: scripts[model.partition(":")[2] or model]
    }
    return {"models": made, "app": AppSettings(agents={"clerk": "clerk.yaml"})}


def boss(process: Process) -> agents.Spec:
    process.il.agents.offer(close)
    source = {"kind": "subagent", "ref": "clerk", "options": {"forward_context": ["customer"]}}
    return agents.agent(
        "boss",
        "Lead.",
        model="fake:boss",
        operations=[{"name": "ask_clerk", "source": source}],
        registry=process.il.agents.registry,
    )


async def test_an_agent_asks_another_which_waits_for_a_yes(file_world: World):
    DONE.clear()
    script = [models.answer(models.call("ask_clerk", task="Close ticket 7.")), "All done."]
    clerk = [models.answer(models.call("close", number=7)), "It is closed."]
    async with file_world.process(**given(file_world.folder, script, clerk)) as process:
        told = {"customer": "ana", "secret": "x"}
        turn = await process.il.agents.run(boss(process), "Close it.", context=told)
        assert turn.state is runs.State.HELD
        [waiting] = turn.waiting
        assert waiting.approval_id is not None
        assert not DONE
        await process.reviewer.approvals.approve(waiting.approval_id)
        ended = await process.il.agents.resume(turn.run_id)
        assert (ended.state, ended.answer) == (runs.State.COMPLETED, "All done.")
        assert DONE == [("clerk", {"customer": "ana"})]
        below = await process.il.runs.list(capability="agent.clerk")
        assert [(each.parent_run_id, each.origin) for each in below] == [(turn.run_id, runs.Origin.AGENT)]
        sheet = await process.il.agents.replay(turn.run_id)
        assert "It is closed." in str(sheet.state)


async def test_what_is_held_below_a_turn_is_cancelled_with_it(file_world: World):
    DONE.clear()
    script = [models.answer(models.call("ask_clerk", task="Close ticket 7."))]
    clerk = [models.answer(models.call("close", number=7))]
    async with file_world.process(**given(file_world.folder, script, clerk)) as process:
        turn = await process.il.agents.run(boss(process), "Close it.")
        await process.il.runs.cancel(turn.run_id)
        [below] = await process.il.runs.list(capability="agent.clerk")
        assert (below.state, below.reason) == (runs.State.CANCELLED, "turn_ended")
        with pytest.raises(approvals.AlreadyDecided):
            await process.reviewer.approvals.approve(turn.waiting[0].approval_id or "")


LOOKS = """
id: clerk
instructions: Do the task.
model: fake:clerk
operations: [{name: create, source: {kind: capability, ref: acme.issue.create}}]
"""


async def test_what_policy_held_below_and_nobody_did_is_no_call_of_the_turn_above(file_world: World):
    file_world.law = ASK_WRITES
    script = [models.answer(models.call("ask_clerk", task="Open one.")), models.answer(models.call("look")), "Done."]
    clerk = [models.answer(models.call("create", repo="acme/rocket", title="Door"))]
    more = given(file_world.folder, script, clerk)
    (file_world.folder / "clerk.yaml").write_text(LOOKS)
    async with file_world.process(**more) as process:
        await process.connect(file_world.server.url)
        process.il.agents.offer(look)
        spec = agents.agent(
            "boss",
            "Lead.",
            model="fake:boss",
            operations=[{"name": "ask_clerk", "source": {"kind": "subagent", "ref": "clerk"}}, look],
            controls={"budgets": {"operation_calls": 2}},
            registry=process.il.agents.registry,
        )
        turn = await process.il.agents.run(spec, "Open it, or look.")
        [below] = await process.il.runs.list(capability="agent.clerk")
        await process.il.runs.cancel(below.run_id)
        assert (await process.il.agents.resume(turn.run_id)).answer == "Done."


async def test_an_agent_that_comes_to_no_end_is_told_of(file_world: World):
    script = [models.answer(models.call("ask_clerk", task="Anything.")), "It failed."]
    more = given(file_world.folder, script, [])
    async with file_world.process(**more) as process:
        turn = await process.il.agents.run(boss(process), "Go.")
        assert (turn.state, turn.answer) == (runs.State.COMPLETED, "It failed.")
        assert "came to no end" in str((await process.il.agents.replay(turn.run_id)).state)
