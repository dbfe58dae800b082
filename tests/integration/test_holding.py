"""Held runs: approved and done once, denied for good, bound to exactly what was shown to the reviewer."""

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest

from fix_app import ASK_WRITES, REVIEWER, World, asked, connector, shown
from interlock import approvals, catalog, policy, runs, sdk
from interlock.cli.invoking import execute_given
from interlock.cli.portrait import next_steps
from interlock.kernel import Caller, InvalidJson

pytestmark = pytest.mark.anyio
NO_WINDOWS = policy.Policy(
    rules=(policy.Rule(rule_id="no", then=policy.Effect.DENY, capability=("acme.issue.create",), reason="not now"),)
)


@pytest.fixture(autouse=True)
def asking(request: pytest.FixtureRequest) -> None:
    for name in ("world", "file_world"):
        if name in request.fixturenames:
            request.getfixturevalue(name).law = ASK_WRITES


async def test_approved_it_is_done_once(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        assert held.state is runs.State.HELD
        await process.reviewer.approvals.approve(asked(held))
        done = await process.il.approvals.execute(asked(held))
        assert done.state is runs.State.COMPLETED
        assert done.run_id == held.run_id
        assert world.server.effects("issues/create") == 1
        with pytest.raises(runs.RunNotHeld):
            await process.il.approvals.execute(asked(held))
        history = await process.last()
        assert [each.effect for each in history.decisions] == ["ask", "ask"]
        told = [each for each in await process.events(held.run_id) if each.startswith("approval.")]
        assert told == ["approval.requested", "approval.approved", "approval.spent"]
        [approval] = history.approvals
        assert (approval.state, approval.reviewer, approval.spent_by) == ("spent", "ada", held.run_id)


async def test_executed_twice_at_once_it_is_done_once(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        told: list[object] = []

        async def execute() -> None:
            try:
                told.append((await process.il.approvals.execute(asked(held))).state)
            except (approvals.AlreadySpent, runs.RunNotHeld, runs.StaleRun) as error:
                told.append(error.code)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(execute)
        assert told.count(runs.State.COMPLETED) == 1
        assert world.server.effects("issues/create") == 1


async def test_two_reviewers_race(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        second = process.il.as_caller(replace(REVIEWER, actor="grace"))
        told: list[str] = []

        async def decide(work: Awaitable[approvals.Approval]) -> None:
            try:
                told.append((await work).state.value)
            except approvals.AlreadyDecided as error:
                told.append(error.code)

        async with anyio.create_task_group() as group:
            group.start_soon(decide, process.reviewer.approvals.approve(asked(held)))
            group.start_soon(decide, second.approvals.deny(asked(held), reason="no"))
        # A no takes back the yes before it; only if both come at once, one of them is told so.
        one_is_told = (["already_decided", "approved"], ["already_decided", "denied"])  # who loses may hear it first
        assert told == ["approved", "denied"] or sorted(told) in one_is_told
        state = (await process.last()).run.state
        assert state is (runs.State.DENIED if "denied" in told else runs.State.HELD)


async def test_a_yes_that_was_not_executed_is_taken_back(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        with pytest.raises(approvals.RoleMissing):
            await process.il.as_caller(replace(REVIEWER, roles=frozenset())).approvals.deny(asked(held), reason="no")
        await process.reviewer.approvals.deny(asked(held), reason="on second thought")
        with pytest.raises(runs.RunNotHeld):
            await process.il.approvals.execute(asked(held))
        assert (await process.last()).run.state is runs.State.DENIED
        told = [each for each in await process.events(held.run_id) if each.startswith("approval.")]
        assert told == ["approval.requested", "approval.approved", "approval.denied"]
        assert world.server.effects("issues/create") == 0


@pytest.mark.parametrize("repo", ["../..", "acme/.."])
async def test_what_cannot_stand_in_a_path_is_never_asked_about(file_world: World, repo: str):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with pytest.raises(sdk.InvalidPathValue):
            await process.il.invoke("acme.issue.create", {"repo": repo, "title": "Door"})
        assert await process.states() == []
        held = await process.create()
        with pytest.raises(sdk.InvalidPathValue):
            await process.reviewer.approvals.approve(asked(held), edited_input={"repo": repo, "title": "Door"})
        assert (await process.reviewer.approvals.fetch(asked(held))).state is approvals.State.PENDING


async def test_the_requester_does_not_review(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.create()
        with pytest.raises(approvals.SelfReview):
            await process.il.approvals.approve(asked(held))
        nobody = process.il.as_caller(Caller(tenant_id="default", actor="bob", roles=frozenset()))
        with pytest.raises(approvals.RoleMissing):
            await nobody.approvals.approve(asked(held))
        with pytest.raises(approvals.NotApproved):
            await process.il.approvals.execute(asked(held))
        assert file_world.server.effects() == 0


async def test_an_edit_changes_what_is_done(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create(idempotency_key="k")
        before = (await process.last()).run
        edited = {"repo": "acme/rocket", "title": "Window"}
        await process.reviewer.approvals.approve(asked(held), edited_input=edited)
        done = await process.il.approvals.execute(asked(held))
        assert shown(done)["title"] == "Window"
        run = (await process.last()).run
        assert run.input_digest != before.input_digest
        assert "run.input_edited" in await process.events(run.run_id)
        again = await process.create(idempotency_key="k")
        assert (again.run_id, again.replayed, shown(again)["title"]) == (run.run_id, True, "Window")
        assert world.server.effects("issues/create") == 1


async def test_what_is_held_can_be_read_back(file_world: World):
    """The limit counts the bytes that are kept, at the border and nowhere else."""
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        value = {"repo": "acme/rocket", "title": "Door"}
        for text in ("é" * 600_000, '"' * 600_000):
            with pytest.raises(InvalidJson):
                await process.il.invoke("acme.issue.file", {**value, "body": text})
        assert await process.states() == []
        held = await process.il.invoke("acme.issue.file", {**value, "body": "é" * 524_000})
        await process.reviewer.approvals.approve(asked(held))
        assert (await process.il.approvals.execute(asked(held))).state is runs.State.COMPLETED


@pytest.mark.parametrize("edited", [{"repo": "acme/rocket"}, {"repo": "acme/rocket", "title": "x", "titel": "y"}])
async def test_an_edit_is_validated(file_world: World, edited: dict[str, Any]):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await process.create()
        with pytest.raises(catalog.InvalidInput):
            await process.reviewer.approvals.approve(asked(held), edited_input=edited)
        assert (await process.il.approvals.fetch(asked(held))).state is approvals.State.PENDING


async def test_an_edit_is_judged_again(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
    world.law = NO_WINDOWS
    async with world.process() as process:
        with pytest.raises(approvals.InvalidEdit, match="not now"):
            await process.reviewer.approvals.approve(
                asked(held), edited_input={"repo": "acme/rocket", "title": "Window"}
            )
        history = await process.last()
        assert [(each.number, each.effect) for each in history.decisions] == [(1, "ask"), (2, "deny")]
        assert history.run.state is runs.State.HELD


async def test_a_denial_sticks(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create(idempotency_key="k")
        await process.reviewer.approvals.deny(asked(held), reason="too risky")
        run = (await process.last()).run
        assert (run.state, run.reason) == (runs.State.DENIED, "approval_denied")
        with pytest.raises(approvals.AlreadyDecided):
            await process.reviewer.approvals.approve(asked(held))
        with pytest.raises(runs.RunNotHeld):
            await process.il.approvals.execute(asked(held))
        again = await process.create(idempotency_key="k")
        assert (again.state, again.replayed) == (runs.State.DENIED, True)
        assert again.reasons[0].endswith("said no: too risky")
        assert world.server.effects() == 0


async def test_what_came_with_the_request_outlasts_the_hold(world: World):
    rules = '[policy]\ndefault = "ask"\n[[budgets]]\nname = "money"\nper = "tenant"\n'
    rules += 'spend = { limit = 10, per_seconds = 60, unit = "cents" }\n'
    async with world.process(rules=rules) as process:
        await process.connect(world.server.url)
        world.advance(60 - world.clock.now().timestamp() % 60)
        held = [await process.create(title=title, cost={"cents": 7}, max_attempts=1) for title in ("Door", "Window")]
        for each in held:
            await process.reviewer.approvals.approve(asked(each))
        assert (await process.il.approvals.execute(asked(held[0]))).state is runs.State.COMPLETED
        with pytest.raises(runs.OverBudget, match="money"):
            await process.il.approvals.execute(asked(held[1]))
        world.advance(60)
        world.server.fault("status:503", match="issues/create", apply=False)
        with pytest.raises(sdk.ProviderUnavailable):
            await process.il.approvals.execute(asked(held[1]))
        assert len((await process.last()).attempts) == 1


async def test_an_approval_that_expires_ends_the_run(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        world.advance(25 * 3600)
        with pytest.raises(approvals.ApprovalExpired):
            await process.il.approvals.execute(asked(held))
        await process.il.runs.recover()
        run = (await process.last()).run
        assert (run.state, run.reason) == (runs.State.CANCELLED, "approval_expired")
        assert world.server.effects() == 0


async def test_who_finds_an_approval_given_and_comes_late_is_told_so(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        told: list[object] = []

        async def execute() -> None:
            try:
                told.append((await execute_given(process.il, held.run_id, asked(held))).state)
            except approvals.AlreadyDecided as error:
                told.append((error.run_id, "is spent by ada, and its run is executed already" in error.message))

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(execute)
        await execute()
        assert sorted(map(str, told)) == [*[str((held.run_id, True))] * 4, "completed"]
        assert world.server.effects("issues/create") == 1


async def test_an_approval_that_expired_is_offered_no_more(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create(idempotency_key="k")
        assert (await process.create(idempotency_key="k")).state is runs.State.HELD
        assert "approve" in next_steps(await process.last())[0][0]
        world.advance(25 * 3600)
        with pytest.raises(runs.RunCancelled, match=f"{asked(held)} expired") as raised:
            await process.create(idempotency_key="k")
        assert "under a new key" in raised.value.next_step
        assert next_steps(await process.last()) == [("interlock runs recover", "its approval expired; this ends it")]


async def test_a_held_run_can_be_cancelled(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        run = await process.il.runs.cancel(held.run_id, reason="changed my mind")
        assert run.state is runs.State.CANCELLED
        assert (await process.il.approvals.fetch(asked(held))).state is approvals.State.CANCELLED
        with pytest.raises(runs.RunCancelled):
            await process.il.runs.outcome(held.run_id)


@pytest.mark.parametrize("executed", [True, False])
async def test_a_run_that_goes_on_while_it_is_cancelled(world: World, monkeypatch: pytest.MonkeyPatch, executed: bool):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        reading, others = process.parts.reading, [True]
        fetch = reading.fetch

        async def overtaken(caller: Caller, run_id: str) -> runs.Run:
            run = await fetch(caller, run_id)
            if others:
                others.clear()
                if executed:
                    await process.reviewer.approvals.approve(asked(held))
                    await process.il.approvals.execute(asked(held))
                else:
                    await process.reviewer.approvals.deny(asked(held), reason="no")
            return run

        monkeypatch.setattr(reading, "fetch", overtaken)
        with pytest.raises(runs.NotCancellable, match="completed" if executed else "denied"):
            await process.il.runs.cancel(held.run_id)


async def test_policy_that_has_changed_its_mind_denies(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    world.law = NO_WINDOWS
    async with world.process() as process:
        outcome = await process.il.approvals.execute(asked(held))
        assert outcome.state is runs.State.DENIED
        assert (await process.il.approvals.fetch(asked(held))).state is approvals.State.CANCELLED
        assert world.server.effects() == 0


async def test_another_version_of_the_connector_is_not_what_was_approved(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    async with world.process(manifest=connector(version="1.1.0")) as process:
        with pytest.raises(approvals.BindingMismatch) as raised:
            await process.il.approvals.execute(asked(held))
        assert raised.value.run_id == held.run_id
        assert world.server.effects() == 0


async def test_another_account_is_not_what_was_approved(world: World, monkeypatch: pytest.MonkeyPatch):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        desk = process.parts.wiring.connections
        resolve = desk.resolve

        async def somebody_else(*args: Any, **kwargs: Any):
            found = await resolve(*args, **kwargs)
            return replace(found, connection=replace(found.connection, subject="mona"))

        monkeypatch.setattr(desk, "resolve", somebody_else)
        with pytest.raises(approvals.BindingMismatch):
            await process.il.approvals.execute(asked(held))
        monkeypatch.undo()
        assert world.server.effects() == 0


async def test_the_same_call_again_spends_the_approval_and_ends_the_held_run(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        done = await process.create()
        assert done.state is runs.State.COMPLETED
        assert done.approval_id == asked(held)
        assert done.run_id != held.run_id
        first = await process.il.runs.fetch(held.run_id)
        assert (first.state, first.reason) == (runs.State.CANCELLED, "approval_spent_elsewhere")
        history = await process.il.runs.history(done.run_id)
        assert [each.approval_id for each in history.approvals] == [asked(held)]
        assert (await process.create()).state is runs.State.HELD
        assert world.server.effects("issues/create") == 1


async def test_a_held_write_whose_answer_is_cut(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        world.server.fault("cut_answer", match="issues/create")
        assert (await process.il.approvals.execute(asked(held))).state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def test_a_held_run_whose_process_died_is_recovered(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    await world.killed("hold", lambda process: process.il.approvals.execute(asked(held)))
    async with world.process() as process:
        for decide in (process.reviewer.approvals.approve, partial(process.reviewer.approvals.deny, reason="late")):
            with pytest.raises(
                approvals.AlreadyDecided, match=f"is spent by ada; its run {held.run_id} is running"
            ) as late:
                await decide(asked(held))
            assert late.value.run_id == held.run_id
            assert "Do not ask anew" in late.value.next_step
            assert "`interlock runs recover`" in late.value.next_step
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1
        with pytest.raises(approvals.AlreadyDecided, match="is completed") as late:
            await process.reviewer.approvals.approve(asked(held))
        assert late.value.next_step == f"`interlock runs show {held.run_id}` shows what came of it."


async def test_who_decides_what_was_approved_and_not_executed_hears_how_to_go_on(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        with pytest.raises(
            approvals.AlreadyDecided, match=f"is approved by ada; its run {held.run_id} is held"
        ) as late:
            await process.reviewer.approvals.approve(asked(held))
        assert late.value.next_step == (
            f"`interlock approvals approve {asked(held)}` executes what was approved; `interlock approvals deny "
            f"{asked(held)} --reason TEXT` takes it back."
        )


BY_ENVIRONMENT = """
[policy]
default = "ask"
[[policy.rules]]
id = "dev"
then = "ask"
environment = "dev"
reviewer = "approver"
[[policy.rules]]
id = "prod"
then = "ask"
environment = "prod"
reviewer = "sre"
"""


async def test_one_roles_yes_does_not_serve_where_anothers_is_needed(world: World):
    async with world.process(rules=BY_ENVIRONMENT) as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        elsewhere = await process.create(environment="prod")
        assert (elsewhere.state, world.server.effects("issues/create")) == (runs.State.HELD, 0)
        with pytest.raises(approvals.RoleMissing):
            await process.reviewer.approvals.approve(asked(elsewhere))


async def test_a_yes_ends_with_the_rule_that_asked_for_that_role(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
    async with world.process(rules='[policy]\ndefault = "ask"\nreviewer = "sre"\n') as process:
        with pytest.raises(approvals.BindingMismatch):
            await process.il.approvals.execute(asked(held))
        assert world.server.effects("issues/create") == 0


async def test_of_two_that_want_one_approval_the_other_is_asked_about(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await process.create()
        await process.reviewer.approvals.approve(asked(held))
        told: list[str] = []

        async def ask() -> None:
            told.append((await process.create()).state.value)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        assert sorted(told) == ["completed", "held", "held"]
        assert world.server.effects("issues/create") == 1
