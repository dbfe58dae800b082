"""Operations of agents that are capabilities: each call is one run below the turn's, however often it is asked for."""

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

import interlock.testing
from fix_app import ACME, ASK_WRITES, TOKEN, IssueCreate, Process, World, connector, operations
from interlock import agents, approvals, budgets, catalog, inference, runs, sdk
from interlock.adapters.sql.tables import budget_holds
from interlock.adapters.sql.transaction import connection
from interlock.app import collect_operations
from interlock.app.settings import AppSettings
from interlock.kernel import JSON
from interlock.testing import models

pytestmark = pytest.mark.anyio


def source(process: Process) -> agents.OperationSource:
    found = collect_operations(process.parts.settings, process.parts).find_source("capability")
    assert found is not None
    return found


async def invocation(
    process: Process, ref: str, key: str = "k1", *, kind: str = "capability", **arguments: JSON
) -> agents.Invocation:
    """A call of a turn, whose run is any run here."""
    registry = collect_operations(process.parts.settings, process.parts)
    said = {"name": "it", "source": {"kind": kind, "ref": ref}, "approval": {}}
    spec = agents.assemble({"id": "desk", "instructions": "Help.", "operations": [said]}, source="t", registry=registry)
    turn = await process.il.invoke("acme.account.fetch", idempotency_key="turn")
    return agents.Invocation(
        operation=spec.operations[0],
        arguments=arguments,
        key=key,
        again=False,
        caller=process.il.caller,
        environment="dev",
        turn_id=turn.run_id,
        session_id=None,
        agent_id="desk",
        context={},
        timeout_s=30,
    )


async def test_a_call_is_one_run_below_the_turn_however_often_it_is_asked_for(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        call = await invocation(process, "acme.issue.create", repo="acme/rocket", title="Door")
        assert await source(process).reconcile(call) == agents.NotHappened()
        made = await source(process).perform(call)
        assert isinstance(made, dict)
        assert made["title"] == "Door"
        assert await source(process).perform(dataclasses.replace(call, again=True)) == made
        assert await source(process).reconcile(call) == agents.Happened(output=made)
        [child] = [each for each in await process.il.runs.list() if each.parent_run_id == call.turn_id]
        assert (child.capability, child.origin) == ("acme.issue.create", runs.Origin.AGENT)
        other = await invocation(process, "acme.comment.create", repo="acme/rocket", issue_number=1, body="Hi")
        narrow = dataclasses.replace(other.caller, capabilities=frozenset({"acme.account.*"}))
        with pytest.raises(agents.OperationFailed, match=r"was denied.*acme\.comment\.create"):
            await source(process).perform(dataclasses.replace(other, caller=narrow))


async def test_what_policy_holds_is_done_once_a_person_has_said_yes(file_world: World):
    file_world.law = ASK_WRITES
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        call = await invocation(process, "acme.issue.create", repo="acme/rocket", title="Door")
        held = await source(process).perform(call)
        assert isinstance(held, agents.Held)
        assert await source(process).perform(call) == held
        assert await source(process).reconcile(call) == agents.NotHappened()
        await process.reviewer.approvals.approve(held.approval_id)
        made = await source(process).perform(call)
        assert isinstance(made, dict)
        assert made["number"] == 1

        other = await invocation(process, "acme.issue.create", "k2", repo="acme/rocket", title="Window")
        again = await source(process).perform(other)
        assert isinstance(again, agents.Held)
        await process.reviewer.approvals.deny(again.approval_id, reason="one is enough")
        with pytest.raises(agents.OperationFailed, match="ada said no: one is enough"):
            await source(process).perform(other)


async def test_a_capability_that_became_another_is_not_asked(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        call = await invocation(process, "acme.issue.create", repo="acme/rocket", title="Door")
    other = sdk.post("issue.create", "/repos/{repo}/issues", input=IssueCreate, output=sdk.Record, scopes=["repo"])
    async with file_world.process(manifest=connector(operations=[other, *operations()[1:]])) as process:
        with pytest.raises(agents.OperationChanged, match=r"acme\.issue\.create of the operation it"):
            await source(process).perform(call)


async def test_what_was_cut_off_is_found_out_from_the_ledger(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        call = await invocation(process, "acme.issue.create", repo="acme/rocket", title="Door")
    await file_world.killed("hold", lambda process: source(process).perform(call))
    async with file_world.process() as process:
        await process.il.runs.recover()
        found = await source(process).reconcile(call)
        assert isinstance(found, agents.Happened)
        assert await source(process).perform(dataclasses.replace(call, again=True)) == found.output
        assert len([each for each in await process.il.runs.list() if each.parent_run_id == call.turn_id]) == 1


async def test_an_operation_of_an_openapi_document_goes_the_way_of_all_capabilities(file_world: World):
    document = json.loads((Path(interlock.testing.__file__).parent / "data" / "github.openapi.json").read_text())
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    only = ("issues.create", "issues.get", "users.get_authenticated")
    hub = catalog.read_openapi(document, connector_id="hub", base_url="https://api.github.com", only=only).manifest
    async with file_world.process(manifest=[ACME, hub]) as process:
        await process.connect(file_world.server.url)
        await process.il.connections.connect_token("hub", TOKEN, base_url=file_world.server.url)
        call = await invocation(
            process, "hub.issues.create", owner="acme", repo="rocket", title="Door", body="It creaks"
        )
        assert call.operation.idempotency is agents.Idempotency.UNSAFE_ONCE
        made = await source(process).perform(call)
        read = await invocation(process, "hub.issues.get", "k2", owner="acme", repo="rocket", issue_number=1)
        assert read.operation.idempotency is agents.Idempotency.PURE
        told = await source(process).perform(read)
        assert isinstance(made, dict)
        assert isinstance(told, dict)
        assert [each["body"]["title"] for each in (made, told) if isinstance(each["body"], dict)] == ["Door", "Door"]


FLOW = """
# a workflow
id: both
input: {type: object, properties: {repo: {type: string}}, required: [repo]}
steps:
  - {name: door, source: {kind: capability, ref: acme.issue.create}, with: {repo: {from: input.repo}, title: Door}}
  - name: closed
    source: {kind: capability, ref: acme.issue.close}
    with: {repo: {from: input.repo}, issue_number: {from: door.number}}
output: {state: {from: closed.state}}
"""


async def test_a_workflow_waits_at_the_step_that_policy_holds_and_repeats_none(file_world: World):
    file_world.law = ASK_WRITES
    (file_world.folder / "both.yaml").write_text(FLOW)
    async with file_world.process(app=AppSettings(workflows={"both": "both.yaml"})) as process:
        await process.connect(file_world.server.url)
        flow = collect_operations(process.parts.settings, process.parts).find_source("workflow")
        assert flow is not None
        call = await invocation(process, "both", kind="workflow", repo="acme/rocket")
        for _ in range(2):
            held = await flow.perform(call)
            assert isinstance(held, agents.Held)
            assert await flow.perform(call) == held
            await process.reviewer.approvals.approve(held.approval_id)
        assert await flow.perform(call) == {"state": "closed"}
        assert file_world.server.effects("issues/create") == 1


EACH = """
# a workflow
id: each
input: {type: object, properties: {titles: {type: array}}, required: [titles]}
steps:
  - name: made
    map: {from: input.titles}
    source: {kind: capability, ref: acme.issue.create}
    with: {repo: acme/rocket, title: {from: item}}
"""


async def test_what_is_held_when_a_turn_ends_is_not_done_any_more(file_world: World):
    file_world.law = ASK_WRITES
    (file_world.folder / "each.yaml").write_text(EACH)
    script = models.Scripted([models.answer(models.call("each", titles=["Door", 5])), "One title is none."])
    made: dict[str, Callable[[str], inference.Model]] = {"fake": lambda _: script}
    more: dict[str, Any] = {"models": made, "app": AppSettings(workflows={"each": "each.yaml"})}
    async with file_world.process(**more) as process:
        await process.connect(file_world.server.url)
        known = process.il.agents.registry
        given = [{"name": "each", "source": {"kind": "workflow", "ref": "each"}}]
        spec = agents.agent("desk", "Help.", model="fake:x", operations=given, registry=known)
        turn = await process.il.agents.run(spec, "Make both.")
        assert turn.state is runs.State.COMPLETED
        [left] = await process.il.runs.list(capability="acme.issue.create")
        assert (left.state, left.reason) == (runs.State.CANCELLED, "turn_ended")
        [asked] = await process.reviewer.approvals.list()
        assert asked.state is approvals.State.CANCELLED


CALLS = """
[[budgets]]
name = "calls"
per = "agent"
spend = { unit = "operation_calls", limit = 10, per_seconds = 86_400 }
"""


async def calls_counted(process: Process, since: datetime) -> int:
    key = budgets.Key(tenant_id=process.il.caller.tenant_id, budget="calls", subject="desk")
    cap = budgets.Cap(key=key, unit="spend", limit=1, since=since)
    return await process.parts.store.read(lambda tx: process.parts.wiring.budgets.used_in(tx, cap))


@pytest.mark.parametrize(
    ("end", "counted"), [("approve", 1), ("deny", 0), ("expire", 0), ("cancel", 0), ("approve and cancel", 0)]
)
async def test_what_policy_held_and_was_never_done_is_no_call_of_a_budget(file_world: World, end: str, counted: int):
    file_world.law = ASK_WRITES
    create = models.answer(models.call("create", repo="acme/rocket", title="Door"))
    made: dict[str, Callable[[str], inference.Model]] = {"fake": lambda _: models.Scripted([create, "Done."])}
    async with file_world.process(models=made, rules=CALLS) as process:
        await process.connect(file_world.server.url)
        given = [{"name": "create", "source": {"kind": "capability", "ref": "acme.issue.create"}}]
        spec = agents.agent("desk", "Help.", model="fake:x", operations=given, registry=process.il.agents.registry)
        since = budgets.Rate(limit=1, per_seconds=86_400).window(process.parts.wiring.clock.now())[0]
        turn = await process.il.agents.run(spec, "Make it.")
        [waiting] = turn.waiting
        assert await calls_counted(process, since) == 1, "it may be done yet"
        if "approve" in end:
            await process.reviewer.approvals.approve(waiting.approval_id or "")
        elif end == "deny":
            await process.reviewer.approvals.deny(waiting.approval_id or "", reason="no")
        elif end == "expire":
            file_world.advance(400 * 86_400)
            await process.sweep()
        if "cancel" in end:
            await process.il.runs.cancel(turn.run_id)
        else:
            ended = await process.il.agents.resume(turn.run_id)
            assert ended.state is runs.State.COMPLETED
        assert await calls_counted(process, since) == counted
        left = select(func.count()).select_from(budget_holds)
        assert await process.parts.store.read(lambda tx: connection(tx).execute(left).scalar_one()) == 0
