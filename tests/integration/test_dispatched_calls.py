"""Capabilities that are invoked later, by a worker."""

from typing import Any

import anyio
import pytest

from fix_app import ASK_WRITES, TOKEN, Process, World, asked, connector, operations
from fix_dispatch import find_due, list_due, work, worker
from interlock import policy, runs
from interlock.kernel import Caller

pytestmark = pytest.mark.anyio

SHED_UNDER_PRESSURE = """
[[policy.rules]]
id = "all"
then = "allow"

[[policy.rules]]
id = "busy"
then = "shed"
capability = "acme.issue.create"
pressure = { queue_age_s = ">60" }
"""


async def create(process: Process, title: str = "Door", **later: Any) -> runs.Outcome:
    return await process.il.dispatch.invoke("acme.issue.create", {"repo": "acme/rocket", "title": title}, **later)


async def state(process: Process, run_id: str) -> tuple[str, str | None]:
    run = await process.il.runs.fetch(run_id)
    return run.state.value, run.reason


async def test_a_call_is_queued_and_a_worker_makes_it(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        outcome = await create(process)
        assert outcome.state is runs.State.QUEUED
        assert world.server.effects("issues/create") == 0
        assert await work(process) == 1
        done = await process.il.dispatch.wait(outcome.run_id)
        assert done.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1
        assert await find_due(process, outcome.run_id) is None


async def test_the_same_key_again_is_answered_with_the_queued_run(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        first, again = await create(process, idempotency_key="k"), await create(process, idempotency_key="k")
        assert (again.run_id, again.replayed) == (first.run_id, True)
        assert await work(process) == 1


@pytest.mark.parametrize(("kind", "tries"), [("status:503", 1), ("rate_limit", 0), ("secondary_limit", 0)])
async def test_what_passes_is_tried_again_and_a_pause_takes_no_try(file_world: World, kind: str, tries: int):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault(kind, match="issues/create", apply=False)
        run_id = (await create(process)).run_id
        await work(process)
        due = await find_due(process, run_id)
        assert due is not None
        assert (await process.il.runs.fetch(run_id)).state in (runs.State.RETRY_SCHEDULED, runs.State.COMPLETED)
        assert (due.tries, due.number) == (tries, 2)
        file_world.advance(3600)
        await work(process)
        assert await state(process, run_id) == ("completed", None)
        assert file_world.server.effects("issues/create") == 1


@pytest.mark.faults
async def test_a_service_that_says_for_an_hour_to_wait_is_asked_when_it_says_and_others_are_not_kept_waiting(
    file_world: World,
):
    pause, calls = 600, 5
    server = file_world.server
    async with file_world.process() as process:
        await process.connect(server.url)
        other = process.il.as_caller(Caller(tenant_id="other", actor="mona"))
        await other.connections.connect_token("acme", TOKEN, base_url=server.url)
        server.fault("secondary_limit:429", match="issues/create", apply=False, retry_after=pause, times=10_000)
        run_ids = [(await create(process, f"Door {number}")).run_id for number in range(calls)]
        handed = 0
        for _ in range(3600 // 60):
            theirs = await other.dispatch.invoke("acme.account.fetch", {})
            handed += await work(process) - 1
            assert (await other.runs.fetch(theirs.run_id)).state is runs.State.COMPLETED
            file_world.advance(60)
        assert handed <= 3600 // pause * calls  # once for each time that it named, and not once more
        due = [await find_due(process, run_id) for run_id in run_ids]
        assert [each and each.tries for each in due] == [0] * calls
        assert server.effects("issues/create") == 0
        server.clear_faults()
        file_world.advance(2 * pause)
        await work(process)
        assert [await state(process, run_id) for run_id in run_ids] == [("completed", None)] * calls
        assert server.effects("issues/create") == calls


async def test_what_a_service_refuses_for_good_is_a_dead_letter_at_once(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("status:422", match="issues/create", apply=False)
        run_id = (await create(process)).run_id
        await work(process)
        assert (await state(process, run_id))[0] == "dead"
        assert len((await process.il.runs.history(run_id)).attempts) == 1


async def test_a_write_of_unknown_outcome_is_settled_by_reading(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("cut_answer", match="issues/create")
        run_id = (await create(process)).run_id
        await work(process)
        assert await state(process, run_id) == ("completed", None)
        assert file_world.server.effects("issues/create") == 1


async def test_a_write_that_nobody_can_read_about_waits_for_a_person_and_their_word_makes_it_a_dead_letter(
    file_world: World,
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        issue = {"repo": "acme/rocket", "issue_number": 1, "body": "hello"}
        await process.create()
        file_world.server.fault("cut_before", match="issues/create-comment", apply=False)
        outcome = await process.il.dispatch.invoke("acme.comment.create", issue)
        await work(process)
        assert await state(process, outcome.run_id) == ("waiting", "unknown_outcome")
        assert await list_due(process) == []
        await process.il.runs.settle(outcome.run_id, seen=runs.Seen.NOT_HAPPENED)
        assert await state(process, outcome.run_id) == ("dead", "settled_by_person")
        await process.il.dispatch.replay(outcome.run_id)
        await work(process)
        assert await state(process, outcome.run_id) == ("completed", None)
        assert file_world.server.effects("issues/create-comment") == 1


@pytest.mark.parametrize("happened", [True, False])
async def test_what_is_read_about_later_goes_on_as_workers_do(file_world: World, happened: bool):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("cut_answer" if happened else "cut_before", match="issues/create", apply=happened)
        file_world.server.fault("status:403", match="issues/list-for-repo", times=5)
        run_id = (await create(process)).run_id
        await work(process)
        assert (await state(process, run_id))[0] == "waiting"
        file_world.server.clear_faults()
        await process.il.runs.settle(run_id)
        file_world.advance(60)
        await work(process)
        assert await state(process, run_id) == ("completed", None)
        assert await find_due(process, run_id) is None
        assert file_world.server.effects("issues/create") == 1


async def test_a_process_that_died_in_the_middle_is_followed_by_one_that_reads_first(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        run_id = (await create(process)).run_id

    async def take(victim: Process) -> None:
        [due] = await list_due(victim)
        await worker(victim).handle(due.job)

    await world.killed("hold", take)
    async with world.process() as process:
        await process.il.runs.recover()
        assert await state(process, run_id) == ("retry_scheduled", "attempt_lost")
        await work(process)
        assert await state(process, run_id) == ("completed", None)
        history = await process.il.runs.history(run_id)
        assert [each.state.value for each in history.attempts] == ["lost", "completed"]
        assert world.server.effects("issues/create") == 1


async def test_a_held_call_is_queued_once_it_is_approved(world: World):
    world.law = ASK_WRITES
    async with world.process() as process:
        await process.connect(world.server.url)
        held = await create(process)
        assert held.state is runs.State.HELD
        assert await work(process) == 0
        approval = await process.reviewer.approvals.approve(asked(held))
        assert (approval.state.value, approval.spent_by) == ("spent", held.run_id)
        queued = await process.reviewer.approvals.execute(asked(held))
        assert queued.state is runs.State.QUEUED
        assert await work(process) == 1
        assert await state(process, held.run_id) == ("completed", None)


async def test_a_denied_call_is_struck_off(file_world: World):
    file_world.law = ASK_WRITES
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        held = await create(process)
        await process.reviewer.approvals.deny(asked(held), reason="no")
        assert await find_due(process, held.run_id) is None


async def test_a_budget_that_is_used_up_puts_work_off_without_an_attempt(file_world: World):
    rules = """
[[budgets]]
name = "few"
per = "tenant"
rate = { limit = 1, per_seconds = 60 }
capability = "acme.issue.create"
"""
    async with file_world.process(rules=rules) as process:
        await process.connect(file_world.server.url)
        first, second = (await create(process, "One")).run_id, (await create(process, "Two")).run_id
        await work(process)
        assert await state(process, first) == ("completed", None)
        due = await find_due(process, second)
        assert due is not None
        assert (due.why, due.tries) == ("budget:few", 0)
        assert (await process.il.runs.fetch(second)).attempt_count == 0
        file_world.advance(61)
        await work(process)
        assert await state(process, second) == ("completed", None)


async def test_policy_is_asked_again_before_a_worker_begins(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = (await create(process)).run_id
    file_world.law = policy.Policy(
        rules=(policy.Rule(rule_id="no", then=policy.Effect.DENY, capability=("acme.issue.create",)),)
    )
    async with file_world.process() as process:
        await work(process)
        assert await state(process, run_id) == ("dead", "refused_by_policy")
        assert file_world.server.effects("issues/create") == 0


async def test_a_call_whose_contract_changed_meanwhile_is_a_dead_letter(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = (await create(process)).run_id
    changed = connector(version="2.0.0", operations=operations()[1:])
    async with file_world.process(manifest=changed) as process:
        await work(process)
        assert (await state(process, run_id))[0] == "dead"


async def test_a_worker_that_is_stopped_in_the_middle_of_a_call_hands_it_on(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = (await create(process)).run_id
        file_world.server.fault("hold", match="issues/create")
        async with anyio.create_task_group() as group:
            [due] = await list_due(process)
            group.start_soon(worker(process).handle, due.job)
            await anyio.to_thread.run_sync(file_world.server.wait_held)
            group.cancel_scope.cancel()
        file_world.server.release()
        assert await state(process, run_id) == ("retry_scheduled", "worker_stopped")
        await work(process)
        assert await state(process, run_id) == ("completed", None)
        assert file_world.server.effects("issues/create") == 1


async def test_pressure_is_what_policy_sheds_by(file_world: World):
    async with file_world.process(rules=SHED_UNDER_PRESSURE) as process:
        await process.connect(file_world.server.url)
        held = await process.il.dispatch.invoke("acme.account.fetch")
        assert held.state is runs.State.QUEUED
        file_world.advance(61)
        await process.parts.workshop.sweeping.look()
        assert (await create(process)).state is runs.State.SHED
