"""Turns of agents that wait for people: a decision never ends one, and the last one has it go on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from fix_app import ASK_WRITES, REVIEWER, Process, World, asked
from interlock import agents, approvals, dispatch, kernel, runs
from interlock.adapters import sql
from interlock.cli.portrait import next_steps
from interlock.kernel import JSON, Caller, Tx

pytestmark = pytest.mark.anyio

NUMBER: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
PAY: dict[str, Any] = {"name": "pay", "idempotency": "unsafe_once", "input": NUMBER, "approval": {}}
SPEC = agents.assemble(
    {"id": "desk", "instructions": "Answer.", "operations": [PAY | {"source": {"kind": "function", "ref": "pay"}}]},
    source="a spec",
)
ASKER = Caller(tenant_id="default", actor="agent", roles=frozenset({"approver"}))


def binding(run: runs.Run, name: str, arguments: JSON) -> approvals.Binding:
    return approvals.Binding(
        tenant_id=run.tenant_id,
        actor=run.actor,
        capability_id=f"{run.capability}.{name}",
        manifest_digest=SPEC.fingerprint,
        connection_id=None,
        service="",
        subject=run.run_id,
        environment=run.environment,
        targets=(),
        input_digest=kernel.digest(arguments),
        role="approver",
    )


async def held(
    process: Process, *calls: JSON, handed: bool = True, expires_s: float = 3600
) -> tuple[runs.Run, Sequence[str]]:
    """A turn that waits for a yes to each of these calls (None: to what goes in)."""
    wiring, shop = process.parts.wiring, process.parts.workshop
    task = runs.Task(name="agent.desk", kind=runs.Kind.AGENT_TURN, input={"spec": SPEC.to_json()})
    drawn = shop.tasks.draw(ASKER, task)

    def admit(tx: Tx) -> runs.Run:
        [(_, run)] = shop.tasks.admit_all_in(tx, [drawn])
        if handed:
            shop.docket.enter(tx, [shop.docket.due_of(run, lane="agent", retry=dispatch.RetryPolicy())])
        return run

    working = await shop.tasks.begin(await wiring.store.write(admit), ASKER)
    run, wanted = working.journal.run, list[approvals.Approval]()

    def ask(tx: Tx) -> None:
        wanted[:] = [
            wiring.approvals.request(
                tx,
                binding=binding(run, "input" if each is None else "pay", each),
                summary={"call_id": None if each is None else f"c{index}"},
                run_id=run.run_id,
                expires_after=timedelta(seconds=expires_s),
            )
            for index, each in enumerate(calls)
        ]

    await shop.tasks.end(
        working,
        runs.TaskEnd(
            state=runs.State.HELD,
            attempt_state=runs.AttemptState.COMPLETED,
            reason="approval_required",
            told=lambda: [runs.approval_moved(each) for each in wanted],
            approval_id=lambda: wanted[-1].approval_id,
        ),
        beside=ask,
    )
    return working.journal.run, [each.approval_id for each in wanted]


async def state(process: Process, run: runs.Run) -> runs.State:
    return (await process.il.runs.fetch(run.run_id)).state


async def test_it_goes_on_once_nobody_is_asked_any_more(world: World):
    async with world.process() as process:
        run, [first, second] = await held(process, {"n": 1}, {"n": 2})
        await process.reviewer.approvals.approve(first)
        assert await state(process, run) is runs.State.HELD
        denied = await process.reviewer.approvals.deny(second, reason="too much")
        assert denied.state is approvals.State.DENIED
        assert await state(process, run) is runs.State.QUEUED
        told = await process.events(run.run_id)
        assert told[-3:] == ["approval.approved", "approval.denied", "run.queued"]
        due = await process.parts.store.read(lambda tx: sql.DispatchRecords().find(tx, run.tenant_id, run.run_id))
        assert due is not None
        assert due.standing is dispatch.Standing.DUE


async def test_one_that_nobody_else_takes_waits_to_be_resumed(world: World):
    async with world.process() as process:
        run, [approval] = await held(process, {"n": 1}, handed=False)
        assert [step for step, _ in next_steps(await process.last())] == [f"interlock approvals approve {approval}"]
        await process.reviewer.approvals.approve(approval)
        assert [step for step, _ in next_steps(await process.last())] == [f"interlock agent resume {run.run_id}"]
        assert await state(process, run) is runs.State.HELD
        with pytest.raises(runs.RunNotHeld, match="spends its approvals itself") as caught:
            await process.il.approvals.execute(approval)
        assert f"agent resume {run.run_id}" in (caught.value.next_step or "")


async def test_who_asked_does_not_decide_and_whose_role_it_takes_does(world: World):
    async with world.process() as process:
        _, [approval] = await held(process, {"n": 1})
        with pytest.raises(approvals.SelfReview):
            await process.il.approvals.approve(approval)
        nobody = process.il.as_caller(replace(REVIEWER, roles=frozenset({"reader"})))
        with pytest.raises(approvals.RoleMissing):
            await nobody.approvals.approve(approval)


async def test_reviewers_of_one_turn_at_once_let_it_go_on_once(world: World):
    async with world.process() as process:
        run, wanted = await held(process, *({"n": each} for each in range(4)))
        async with anyio.create_task_group() as group:
            for each in wanted:
                group.start_soon(process.reviewer.approvals.approve, each)
        told = await process.events(run.run_id)
        assert [told.count("approval.approved"), told.count("run.queued")] == [
            4,
            2,
        ]  # queued once when it was asked for


async def test_a_decision_while_it_is_at_work_is_in_its_chain(world: World):
    async with world.process() as process:
        run, [first, second] = await held(process, {"n": 1}, {"n": 2}, handed=False)
        await process.reviewer.approvals.approve(first)
        working = await process.parts.workshop.tasks.begin(await process.il.runs.fetch(run.run_id), ASKER)
        await process.reviewer.approvals.approve(second)
        assert (await process.events(run.run_id))[-1] == "approval.approved"
        end = runs.TaskEnd(state=runs.State.COMPLETED, attempt_state=runs.AttemptState.COMPLETED)
        await process.parts.workshop.tasks.end(working, end)  # which goes on all the same
        assert await state(process, run) is runs.State.COMPLETED


async def test_what_nobody_decides_in_time_is_no_end(world: World):
    async with world.process() as process:
        run, _ = await held(process, {"n": 1}, expires_s=60)
        world.advance(61)
        await process.sweep()
        assert await state(process, run) is runs.State.QUEUED
        assert "approval.expired" in await process.events(run.run_id)


async def test_one_that_is_cancelled_asks_nobody_any_more(world: World):
    async with world.process() as process:
        run, wanted = await held(process, {"n": 1}, {"n": 2})
        await process.il.runs.cancel(run.run_id)
        for each in wanted:
            assert (await process.il.approvals.fetch(each)).state is approvals.State.CANCELLED
            with pytest.raises(approvals.AlreadyDecided):
                await process.reviewer.approvals.approve(each)


async def test_an_edit_fits_the_operation(world: World):
    async with world.process() as process:
        _, [pays, goes_in] = await held(process, {"n": 1}, None)
        with pytest.raises(approvals.InvalidEdit, match=r"pay does not fit: .*n"):
            await process.reviewer.approvals.approve(pays, edited_input={"n": "much"})
        with pytest.raises(approvals.InvalidEdit, match="cannot be edited"):
            await process.reviewer.approvals.approve(goes_in, edited_input={"text": "x"})
        edited = await process.reviewer.approvals.approve(pays, edited_input={"n": 2})
        assert edited.binding.input_digest == kernel.digest({"n": 2})


async def test_one_that_waits_is_settled_call_by_call(file_world: World):
    async with file_world.process() as process:
        run, _ = await held(process, {"n": 1})
        working = await process.parts.workshop.tasks.begin(await process.il.runs.fetch(run.run_id), ASKER)
        end = runs.TaskEnd(state=runs.State.WAITING, attempt_state=runs.AttemptState.COMPLETED, reason="unclear")
        await process.parts.workshop.tasks.end(working, end)
        for seen in (None, runs.Seen.HAPPENED):
            with pytest.raises(runs.RunNotWaiting, match="is said of each"):
                await process.reviewer.runs.settle(run.run_id, seen=seen)
        assert await state(process, run) is runs.State.WAITING
        assert "agent settle" in next_steps(await process.last())[0][0]


@pytest.mark.parametrize("decision", ["approve", "deny", "expire", "cancel"])
async def test_a_decision_about_what_it_asked_a_connector_for_lets_it_go_on(file_world: World, decision: str):
    file_world.law = ASK_WRITES
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run, [own] = await held(process, {"n": 1})
        called = await process.create(parent_run_id=run.run_id)
        await process.reviewer.approvals.approve(own)  # and now it waits for the call alone
        working = await process.parts.workshop.tasks.begin(await process.il.runs.fetch(run.run_id), ASKER)
        end = runs.TaskEnd(state=runs.State.HELD, attempt_state=runs.AttemptState.COMPLETED, reason="operation_held")
        await process.parts.workshop.tasks.end(working, end)
        match decision:
            case "approve":
                await process.reviewer.approvals.approve(asked(called))
            case "deny":
                await process.reviewer.approvals.deny(asked(called), reason="no")
            case "cancel":
                await process.il.runs.cancel(called.run_id)
            case _:
                file_world.advance(25 * 3600)
                await process.sweep()
        assert await state(process, run) is runs.State.QUEUED
