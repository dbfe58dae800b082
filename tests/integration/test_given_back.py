"""An approval whose call provably never left serves its run again; any other spending is for good."""

from collections.abc import Mapping
from typing import Any

import pytest

from fix_app import ASK_WRITES, World, asked, run_of
from interlock import approvals, kernel, plane, policy, runs

pytestmark = pytest.mark.anyio

CLOSED: Mapping[str, Any] = {"execution": {"egress_allow": ()}}
"""A process that may not connect to where the service is."""


@pytest.fixture(autouse=True)
def asking(request: pytest.FixtureRequest) -> None:
    for name in ("world", "file_world"):
        if name in request.fixturenames:
            request.getfixturevalue(name).law = ASK_WRITES


async def test_a_refusal_before_anything_left_keeps_the_approval(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create(idempotency_key="k")
        await process.reviewer.approvals.approve(asked(held))
    async with world.process(**CLOSED) as process:
        with pytest.raises(plane.EffectFailed) as refused:
            await process.il.approvals.execute(asked(held))
        assert refused.value.details["failure_code"] == "address_refused"
        assert f"interlock approvals approve {held.approval_id}" in refused.value.next_step
        told = await process.last()
        assert (told.run.state, told.run.reason) == (runs.State.HELD, "effect_failed")
        assert [each.delivery for each in told.sends] == [runs.Delivery.NOT_SENT]
        [approval] = told.approvals
        assert (approval.state, approval.reviewer, approval.spent_by) == (approvals.State.APPROVED, "ada", None)
        assert (await process.create(idempotency_key="k")).state is runs.State.HELD
    assert world.server.effects() == 0
    async with world.process() as process:
        done = await process.il.approvals.execute(asked(held))
        assert (done.state, done.run_id) == (runs.State.COMPLETED, held.run_id)
        with pytest.raises(runs.RunNotHeld):
            await process.il.approvals.execute(asked(held))
        told = await process.last()
        assert told.run.error is None
        assert [each.state for each in told.attempts] == [runs.AttemptState.FAILED, runs.AttemptState.COMPLETED]
    assert world.server.effects("issues/create") == 1


FORBIDDEN = policy.Policy(rules=(policy.Rule(rule_id="no", then=policy.Effect.DENY),))


@pytest.mark.parametrize("fault", ["hold_before", "hold"])
async def test_what_policy_forbids_when_it_is_recovered_keeps_its_approval_if_it_did_not_happen(
    world: World, fault: str
):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    await world.killed(fault, lambda process: process.il.approvals.execute(asked(held)))
    world.law = FORBIDDEN
    async with world.process() as process:
        [recovered] = await process.il.runs.recover()
        [approval] = (await process.last()).approvals
        if fault == "hold":
            assert (recovered.state, approval.state) == (runs.State.COMPLETED, approvals.State.SPENT)
            return
        assert (recovered.state, approval.state) == (runs.State.HELD, approvals.State.APPROVED)
        assert recovered.error is not None
        assert f"did not happen, so the approval still holds: `interlock approvals approve {held.approval_id}`" in (
            recovered.error.next_step
        )
    world.law = ASK_WRITES
    async with world.process() as process:
        done = await process.il.approvals.execute(asked(held))
        assert (done.state, done.run_id) == (runs.State.COMPLETED, held.run_id)
        assert (await process.last()).approvals[0].state is approvals.State.SPENT
    assert world.server.effects("issues/create") == 1


async def test_what_was_asked_to_stop_does_not_get_its_approval_back(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    await world.killed("hold_before", lambda process: process.il.approvals.execute(asked(held)))
    world.law = FORBIDDEN
    async with world.process() as process:
        await process.il.runs.cancel(held.run_id)
        await process.il.runs.recover()
        told = await process.last()
        assert told.run.state in (runs.State.FAILED, runs.State.CANCELLED)
        assert told.approvals[0].state is approvals.State.SPENT
    assert world.server.effects() == 0


async def test_what_the_service_refused_has_used_the_approval_up(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.il.invoke("acme.issue.create", {"repo": "acme/nowhere", "title": "Door"})
        await process.reviewer.approvals.approve(asked(held))
        with pytest.raises(kernel.InterlockError) as refused:
            await process.il.approvals.execute(asked(held))
        assert refused.value.details.get("effect", "none") == "none"
        told = await process.last()
        assert (told.run.state, told.approvals[0].state) == (runs.State.FAILED, approvals.State.SPENT)


async def test_an_approval_that_expired_meanwhile_is_not_given_back(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    async with file_world.process(**CLOSED) as process:
        with pytest.raises(plane.EffectFailed):
            await process.il.approvals.execute(asked(held))
        file_world.advance(100_000)
        await process.sweep()
        told = await process.last()
        assert (told.run.state, told.approvals[0].state) == (runs.State.CANCELLED, approvals.State.EXPIRED)


async def test_another_runs_approval_is_used_up_and_the_error_says_so(file_world: World):
    """The run that asked for it has ended with that; its record says for whom."""
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    async with file_world.process(**CLOSED) as process:
        with pytest.raises(plane.EffectFailed, match="refused") as refused:
            await process.create()
        assert "used up" in refused.value.next_step
        told = await process.il.runs.history(run_of(refused.value))
        assert told.run.run_id != held.run_id
        assert (told.run.state, (await process.il.approvals.fetch(asked(held))).state) == ("failed", "spent")


async def test_a_request_to_cancel_meanwhile_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch):
    """It came while the call was on its way to be refused: nobody may execute the run afterwards."""
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create(idempotency_key="k")
        await process.reviewer.approvals.approve(asked(held))
    async with world.process(**CLOSED) as process:
        node = process.parts.wiring.node
        execute = node.execute

        async def cancelled_first(*intent: Any, **how: Any) -> plane.Receipt:
            await process.il.runs.cancel(held.run_id, reason="enough")
            return await execute(*intent, **how)

        monkeypatch.setattr(node, "execute", cancelled_first)
        with pytest.raises(plane.EffectFailed) as refused:
            await process.il.approvals.execute(asked(held))
        assert "approve" not in refused.value.next_step
        told = await process.last()
        assert (told.run.state, told.run.reason) == (runs.State.CANCELLED, "run_cancelled")
        assert [each.delivery for each in told.sends] == [runs.Delivery.NOT_SENT]
        assert told.approvals[0].state is approvals.State.SPENT
    async with world.process() as process:
        with pytest.raises(runs.RunNotHeld):
            await process.il.approvals.execute(asked(held))
    assert world.server.effects() == 0


async def test_what_an_earlier_attempt_sent_has_used_the_approval_up(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        file_world.server.fault("secondary_limit", match="issues/create", retry_after=1)
        node, sent = process.parts.wiring.node, 0
        execute = node.execute

        async def stays_here_later(*intent: Any, **how: Any) -> plane.Receipt:
            nonlocal sent
            sent += 1
            return await execute(*intent, **{**how, **({} if sent == 1 else {"may_leave": lambda: False})})

        monkeypatch.setattr(node, "execute", stays_here_later)
        with pytest.raises(plane.EffectFailed) as refused:
            await process.il.approvals.execute(asked(held))
        assert "Nothing was sent" not in refused.value.next_step
        told = await process.last()
        assert [each.delivery for each in told.sends][:2] == [runs.Delivery.REJECTED, runs.Delivery.NOT_SENT]
        assert (told.run.state, told.approvals[0].state) == (runs.State.FAILED, approvals.State.SPENT)
