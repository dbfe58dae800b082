"""Budgets bind direct calls, and what a call takes comes back however it ends."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import anyio
import pytest

from fix_app import LEASE, World, asked
from interlock import budgets, runs, sdk
from interlock.adapters import sql
from interlock.kernel import InterlockError, RequestError, Retry, SystemClock, UnknownOutcome

pytestmark = pytest.mark.anyio

ALL = '[[policy.rules]]\nid = "all"\nthen = "allow"\n'
ONE_AT_A_TIME = ALL + '[[budgets]]\nname = "one"\nper = "connection"\nconcurrency = 1\n'
TWO_A_MINUTE = ALL + '[[budgets]]\nname = "two"\nper = "connection"\nrate = { limit = 2, per_seconds = 60 }\n'
ASK = '[policy]\ndefault = "ask"\n[[budgets]]\nname = "one"\nper = "connection"\nconcurrency = 1\n'


async def test_what_is_beyond_the_concurrency_is_shed(world: World):
    world.clock = SystemClock()
    async with world.process(rules=ONE_AT_A_TIME) as one, world.process(rules=ONE_AT_A_TIME) as two:
        await one.connect(world.server.url)
        world.server.fault("hold", match="issues/create")
        async with anyio.create_task_group() as group:
            group.start_soon(one.create)
            await anyio.to_thread.run_sync(world.server.wait_held)
            for process in (one, two):
                shed = await process.create(title="Window")
                assert shed.state is runs.State.SHED
                assert any("budget 'one'" in reason for reason in shed.reasons)
            world.server.release()
        assert (await two.create(title="Window")).state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 2


async def test_a_slot_outlives_the_lease_at_whose_beats_it_is_renewed(file_world: World):
    lease = {"owner_lease": 300}
    async with file_world.process(rules=ONE_AT_A_TIME, execution=lease) as one:
        await one.connect(file_world.server.url)
        file_world.server.fault("hold", match="issues/create")
        taken: Mapping[str, datetime] = {}
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: one.create(timeout=3600))
            await anyio.to_thread.run_sync(file_world.server.wait_held)
            [connection] = await one.il.connections.list()
            place = budgets.Key(tenant_id="default", budget="one", subject=connection.connection_id)
            almost = file_world.clock.now() + timedelta(seconds=299)
            taken = await one.parts.store.read(lambda tx: sql.BudgetRecords().list_slots(tx, place, almost))
            file_world.server.release()
        assert len(taken) == 1


async def test_what_is_beyond_the_spend_is_shed(world: World):
    rules = (
        ALL + '[[budgets]]\nname = "money"\nper = "tenant"\nspend = { limit = 10, per_seconds = 60, unit = "cents" }\n'
    )
    async with world.process(rules=rules) as process:
        await process.connect(world.server.url)
        world.advance(60 - world.clock.now().timestamp() % 60)
        asked_for = [("Door", {"cents": 6}), ("Window", {"cents": 6}), ("Gate", {"cents": 4}), ("Roof", {"euros": 99})]
        outcomes = [await process.create(title=title, cost=cost) for title, cost in asked_for]
        assert [each.state.value for each in outcomes] == ["completed", "shed", "completed", "completed"]
        waits = [each.to_json()["retry_after_seconds"] for each in outcomes]
        assert waits == [None, outcomes[1].retry_after_seconds, None, None]
        assert 0 < (outcomes[1].retry_after_seconds or 0) <= 60


async def test_a_call_that_costs_more_than_the_whole_is_denied(world: World):
    money = '[[budgets]]\nname = "money"\nper = "tenant"\nspend = { limit = 10, per_seconds = 60, unit = "cents" }\n'
    async with world.process(rules=ALL + money) as process:
        await process.connect(world.server.url)
        denied = await process.create(cost={"cents": 11})
        assert denied.state is runs.State.DENIED
        assert denied.reasons[0].endswith("ask for less, or raise its limit")
        assert (await process.last()).run.reason == "budget:money"
    async with world.process(rules='[policy]\ndefault = "ask"\n' + money) as process:
        held = await process.create(cost={"cents": 11})
        await process.reviewer.approvals.approve(asked(held))
        with pytest.raises(runs.OverBudget, match="ask for less") as caught:
            await process.il.approvals.execute(asked(held))
        assert (caught.value.retry, caught.value.retry_after) == (Retry.AFTER_CHANGE, None)
        assert (await process.il.runs.fetch(held.run_id)).state is runs.State.HELD
    assert world.server.effects() == 0


@pytest.mark.parametrize("cost", [{"": 1}, {"cents": -1}, {"cents": 2**53}, {"a b": 1}])
async def test_a_cost_is_a_name_and_an_amount(file_world: World, cost: dict[str, int]):
    async with file_world.process() as process:
        with pytest.raises(RequestError, match="cost"):
            await process.create(cost=cost)


async def test_what_is_beyond_the_rate_is_shed(world: World):
    async with world.process(rules=TWO_A_MINUTE) as process:
        await process.connect(world.server.url)
        world.advance(60 - world.clock.now().timestamp() % 60)
        states = [(await process.create(title=f"Door {index}")).state.value for index in range(3)]
        assert states == ["completed", "completed", "shed"]
        history = await process.last()
        assert history.run.reason == "budget:two"
        assert not history.attempts
        world.advance(60)
        assert (await process.create()).state is runs.State.COMPLETED


@pytest.mark.parametrize("ending", ["done", "status:422", "cut_before", "cancelled", "store"])
async def test_slots_come_back(file_world: World, ending: str, monkeypatch: pytest.MonkeyPatch):
    world = file_world
    async with world.process(rules=ONE_AT_A_TIME) as process:
        await process.connect(world.server.url)
        world.server.add_issues("acme/rocket", 1)
        value = {"repo": "acme/rocket", "issue_number": 1, "body": "Hm."}
        if ending == "cancelled":
            world.server.fault("hold", match="issues/create-comment")
            async with anyio.create_task_group() as group:
                group.start_soon(process.il.invoke, "acme.comment.create", value)
                await anyio.to_thread.run_sync(world.server.wait_held)
                group.cancel_scope.cancel()
            world.server.release()
        elif ending == "store":
            with monkeypatch.context() as patch:

                async def broken(change: runs.Change) -> None:
                    raise UnknownOutcome("gone")

                patch.setattr(process.parts.wiring.ledger, "admit", broken)
                with pytest.raises(InterlockError):
                    await process.il.invoke("acme.comment.create", value)
        elif ending == "done":
            await process.il.invoke("acme.comment.create", value)
        else:
            world.server.fault(ending, match="issues/create-comment")
            with pytest.raises(InterlockError):
                await process.il.invoke("acme.comment.create", value)
        assert (await process.create()).state is runs.State.COMPLETED


async def test_a_rate_limit_of_the_service_closes_the_budget(file_world: World):
    async with file_world.process(rules=TWO_A_MINUTE) as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("secondary_limit", match="issues/create", retry_after=90)
        with pytest.raises(sdk.RateLimited):
            await process.create()
        assert (await process.create()).state is runs.State.SHED
        file_world.advance(91)
        assert (await process.create()).state is runs.State.COMPLETED


async def test_an_approval_is_kept_while_the_budget_is_used_up(file_world: World):
    world = file_world
    world.clock = SystemClock()
    async with world.process(rules=ASK) as process:
        await process.connect(world.server.url)
        first, second = await process.create(), await process.create(title="Window")
        for held in (first, second):
            await process.reviewer.approvals.approve(asked(held))
        world.server.fault("hold", match="issues/create")
        async with anyio.create_task_group() as group:
            group.start_soon(process.il.approvals.execute, asked(first))
            await anyio.to_thread.run_sync(world.server.wait_held)
            with pytest.raises(runs.OverBudget) as raised:
                await process.il.approvals.execute(asked(second))
            assert raised.value.run_id == second.run_id
            world.server.release()
        assert (await process.il.approvals.execute(asked(second))).state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 2


async def test_a_slot_lives_as_long_as_its_call(file_world: World):
    world = file_world
    async with world.process(rules=ONE_AT_A_TIME) as process:
        await process.connect(world.server.url)
        world.server.fault("hold", match="issues/create")
        async with anyio.create_task_group() as group:
            group.start_soon(process.create)
            await anyio.to_thread.run_sync(world.server.wait_held)
            for _ in range(4):
                world.advance(40)
                await process.parts.wiring.ownership.renew()
                for renewal in process.parts.wiring.ownership.renewals:
                    await renewal()
            assert (await process.create(title="Window")).state is runs.State.SHED
            world.server.release()
        assert (await process.create(title="Window")).state is runs.State.COMPLETED


async def test_recovery_waits_for_the_budget(world: World):
    async with world.process(rules=ONE_AT_A_TIME) as process:
        await process.connect(world.server.url)
    await world.killed("hold_before", lambda process: process.create(), rules=ONE_AT_A_TIME)
    async with world.process(rules=ONE_AT_A_TIME) as process:
        await process.parts.recovery.sweep()  # from here on the silence of the dead is heard
        world.server.fault("hold", match="issues/create")
        async with anyio.create_task_group() as group:
            group.start_soon(process.create, "Window")
            await anyio.to_thread.run_sync(world.server.wait_held)
            for part in (LEASE / 2, LEASE / 2 + 1):
                world.advance(part)
                await process.beat()
            assert await process.il.runs.recover() == []
            world.server.release()
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 2
