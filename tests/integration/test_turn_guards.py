"""What stands between a model and its wishes: people who say yes once, and limits that nothing passes, on every store."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fix_app import LEASE, REVIEWER, Process, World
from interlock import agents, approvals, budgets, dispatch, inference, runs
from interlock.agents import harness
from interlock.kernel import StoreError
from interlock.testing import models

pytestmark = pytest.mark.anyio

PAID: list[int] = []


@pytest.fixture(autouse=True)
def nothing_paid() -> None:
    PAID.clear()


@agents.operation(idempotency="unsafe_once", approval={"reason": "money", "expires_after_s": 3600})
async def pay(n: int) -> str:
    """Pay."""
    PAID.append(n)
    return f"paid {n}"


@agents.operation(idempotency="pure")
async def look(n: int) -> str:
    """Look."""
    PAID.append(-n)
    return f"saw {n}"


def fake(*script: Any) -> dict[str, Callable[[str], inference.Model]]:
    """The provider `fake`, whose answers are these in turn, and then words."""
    model = models.Scripted([*script, *["Done."] * 20])
    return given(model)


def given(model: inference.Model) -> dict[str, Callable[[str], inference.Model]]:
    return {"fake": lambda _: model}


def calls(*asked: tuple[str, int]) -> inference.Answer:
    return models.answer(*(models.call(name, n=number) for name, number in asked))


def spec(**members: Any) -> agents.Spec:
    return agents.agent("desk", "Answer.", model="fake:test", operations=[pay, look], **members)


async def held(process: Process, **members: Any) -> tuple[harness.Turn, str]:
    """A turn that waits for a yes."""
    process.il.agents.offer(pay, look)
    turn = await process.il.agents.run(spec(**members), "Pay.")
    assert turn.state is runs.State.HELD, turn
    [waiting] = turn.waiting
    assert waiting.approval_id is not None
    return turn, waiting.approval_id


async def told(process: Process, turn: harness.Turn) -> list[str]:
    """What the model was told of its calls."""
    sheet = await process.il.agents.replay(turn.run_id)
    return [each.text for said in sheet.state.said for each in said.parts if isinstance(each, inference.Outcome)]


async def test_a_yes_is_spent_once_by_many_processes(world: World):
    script = fake(calls(("pay", 1)))
    async with world.process(models=script) as process, world.process(models=script) as other:
        turn, approval = await held(process)
        await process.reviewer.approvals.approve(approval)
        other.il.agents.offer(pay, look)
        stopped: list[str] = []

        async def resume(il: Any) -> None:
            try:
                await il.agents.resume(turn.run_id)
            except (runs.StaleRun, agents.TurnNotResumable) as error:
                stopped.append(error.code)

        async with anyio.create_task_group() as group:
            for each in (process, other, process, other):
                group.start_soon(resume, each.il)
        assert PAID == [1]
        spent = await process.il.approvals.fetch(approval)
        assert (spent.state, spent.spent_by) == (approvals.State.SPENT, turn.run_id)
        kinds = await process.events(turn.run_id)
        assert kinds.count("approval.spent") == kinds.count("turn.decided") == 1


async def test_a_yes_is_for_one_call_of_one_turn(file_world: World):
    script = fake(calls(("pay", 1)))
    async with file_world.process(models=script) as process:
        first, one = await held(process)
        second, other = await held(process)
        found = [await process.il.approvals.fetch(each) for each in (one, other)]
        assert found[0].binding_digest != found[1].binding_digest, "the same call in another turn is another question"
        await process.reviewer.approvals.approve(one)
        assert (await process.il.agents.resume(second.run_id)).state is runs.State.HELD
        assert PAID == []
        assert (await process.il.agents.resume(first.run_id)).state is runs.State.COMPLETED
        assert PAID == [1]
        again = await process.il.agents.resume(first.run_id)
        assert (again.state, PAID) == (runs.State.COMPLETED, [1])


async def test_nobody_in_time_is_a_no_that_the_model_is_told(world: World):
    async with world.process(models=fake(calls(("pay", 1)), calls(("pay", 1)))) as process:
        turn, approval = await held(process)
        await process.reviewer.approvals.approve(approval)  # and it is not used in time either
        world.advance(3601)
        ended = await process.il.agents.resume(turn.run_id)
        assert (ended.state, PAID) == (runs.State.COMPLETED, [])
        assert await told(process, turn) == [
            "A person said no: nobody has decided in time. Do not ask for it again.",
            "A person has said no to exactly this. Do not ask for it again.",
        ]


async def test_a_reviewer_puts_other_arguments_in_place_which_are_judged_again(world: World):
    limit = {"control": "max_length", "options": {"max": 8}, "match": {"name": "pay"}}
    async with world.process(models=fake(calls(("pay", 1)), calls(("pay", 3)))) as process:
        turn, approval = await held(process, controls={"operations": [limit]})
        await process.reviewer.approvals.approve(approval, edited_input={"n": 2})
        turn = await process.il.agents.resume(turn.run_id)
        assert PAID == [2]
        [waiting] = turn.waiting
        assert waiting.approval_id is not None
        await process.reviewer.approvals.approve(waiting.approval_id, edited_input={"n": 1000})
        ended = await process.il.agents.resume(turn.run_id)
        assert (ended.state, PAID) == (runs.State.COMPLETED, [2])
        outcome = (await told(process, turn))[-1]
        assert outcome.startswith(
            'A person put other arguments in place: {"n":1000}. The outcome: The control max_length'
        )


async def test_what_goes_in_and_what_comes_out_wait_for_a_yes(world: World):
    controls = {
        "inputs": [{"control": "require_approval", "options": {"reason": "who asks", "role": "desk"}}],
        "outputs": [{"control": "max_length", "options": {"max": 4, "then": "interrupt"}}],
    }
    desk = replace(REVIEWER, roles=frozenset({"desk"}))
    async with world.process(models=fake("Too long.", "Too long.")) as process:
        turn, approval = await held(process, controls=controls)
        with pytest.raises(approvals.RoleMissing, match="desk"):
            await process.reviewer.approvals.approve(approval)
        await process.il.as_caller(desk).approvals.approve(approval)
        turn = await process.il.agents.resume(turn.run_id)
        [waiting] = turn.waiting
        assert (waiting.call_id, turn.answer, (await process.il.agents.fetch(turn.run_id)).answer) == (None, None, None)
        assert waiting.approval_id is not None
        shown = await process.reviewer.approvals.fetch(waiting.approval_id)
        assert isinstance(shown.summary, dict)
        assert shown.summary["input"] == {"text": "Too long."}
        await process.reviewer.approvals.deny(waiting.approval_id, reason="rude")
        with pytest.raises(agents.TurnFailed, match="a person said no to the output: rude"):
            await process.il.agents.resume(turn.run_id)
        assert (await process.il.agents.fetch(turn.run_id)).answer is None


async def test_what_is_judged_before_it_comes_out_is_told_to_nobody_before(file_world: World):
    async with file_world.process(models=fake("A secret.", "A secret.", "Fine.")) as process:
        process.il.agents.offer(pay, look)
        checked = {"outputs": [{"control": "deny_patterns", "options": {"patterns": ["sec.et"]}}]}
        for controls, heard in (({}, True), (checked, False)):
            session = await process.il.agent_sessions.create(spec(controls=controls))
            told = process.il.agents.stream(spec(controls=controls), "Pay.", session=session.session_id)
            happened = [str(each) async for each in told]
            assert any("turn.answered" in each for each in happened)
            said = await process.il.agent_sessions.turns(session.session_id)
            assert ("secret" in str(happened), "secret" in str(said)) == (heard, heard)


async def test_one_that_is_left_to_workers_goes_on_by_itself(world: World):
    async with world.process(models=fake(calls(("pay", 1), ("pay", 2)))) as process:
        process.il.agents.offer(pay, look)
        turn = await process.il.agents.submit(spec(), "Pay.")
        taken = await take(process, turn)
        [first, second] = [each.approval_id for each in taken.waiting]
        assert first is not None
        assert second is not None
        await process.reviewer.approvals.deny(first, reason="not this one")
        assert (await process.il.runs.fetch(turn.run_id)).state is runs.State.HELD
        await process.reviewer.approvals.approve(second)
        assert (await process.il.runs.fetch(turn.run_id)).state is runs.State.QUEUED
        ended = await take(process, turn)
        assert (ended.state, PAID) == (runs.State.COMPLETED, [2])


async def take(process: Process, turn: harness.Turn) -> harness.Turn:
    """What a worker does with a turn that is due."""
    holder = process.il.agents._harness
    run = await process.il.runs.fetch(turn.run_id)
    due = await process.parts.workshop.docket.find(run)
    assert due is not None
    assert due.standing is dispatch.Standing.DUE
    assert await holder.take_due(run, process.il.caller, due) is not None
    return await process.il.agents.fetch(turn.run_id)


# -- budgets


async def failure(process: Process, **members: Any) -> tuple[str, str]:
    """Why a turn comes to no end."""
    session = members.pop("session", None)
    process.il.agents.offer(pay, look)
    with pytest.raises(agents.TurnFailed) as caught:
        await process.il.agents.run(spec(**members), "Pay.", session=session)
    return str(caught.value.details["failure"]), caught.value.message


async def test_a_turn_takes_no_more_calls_than_its_spec_lets_it(world: World):
    script = fake(calls(("look", 1)), calls(("look", 2), ("look", 3)))
    async with world.process(models=script) as process:
        code, message = await failure(process, controls={"budgets": {"operation_calls": 2}})
        assert (code, PAID) == ("budget_exhausted", [-1]), "of a batch all is done or nothing"
        assert "operation_calls: 2 of 2 are used or reserved, up to 1 more" in message
    async with world.process(models=fake(calls(("look", 1)))) as process:
        code, message = await failure(process, controls={"budgets": {"model_calls": 1}})
        assert code == "budget_exhausted"
        assert "model_calls: 1 of 1 are used or reserved" in message


async def test_tokens_are_reserved_and_settled(world: World):
    generation = {"params": {"max_tokens": 100}}
    script = fake(*[calls(("look", number)) for number in range(1, 6)])
    async with world.process(models=script) as process:
        # Each question may take some hundred tokens and takes few: five would not fit, were they not settled.
        process.il.agents.offer(pay, look)
        limits = {"budgets": {"tokens": 1200}}
        enough = await process.il.agents.run(spec(generation=generation, controls=limits), "Look.")
        assert (enough.state, enough.operations) == (runs.State.COMPLETED, 5)
        code, message = await failure(process, generation=generation, controls={"budgets": {"tokens": 100}})
        assert (code, "tokens: 0 of 100 are used or reserved" in message) == ("budget_exhausted", True), message


async def test_dollars_want_a_price(file_world: World):
    async with file_world.process(models=fake()) as process:
        code, message = await failure(process, controls={"budgets": {"usd": 1}})
        assert (code, "nobody knows what fake:test costs" in message) == ("model_failed", True), message


SESSIONS = """
[[budgets]]
name = "talk"
per = "session"
spend = { unit = "model_calls", limit = 2, per_seconds = 86400 }
"""


async def test_a_session_has_a_budget_over_its_turns(world: World):
    async with world.process(models=fake(), rules=SESSIONS) as process:
        one, other = [await process.il.agent_sessions.create(spec()) for _ in range(2)]
        process.il.agents.offer(pay, look)
        for _ in range(2):
            turn = await process.il.agents.run(spec(), "Hello.", session=one.session_id)
            assert turn.state is runs.State.COMPLETED
        code, message = await failure(process, session=one.session_id)
        assert (code, "budget 'talk'" in message) == ("budget_exhausted", True)
        turn = await process.il.agents.run(spec(), "Hello.", session=other.session_id)
        assert turn.state is runs.State.COMPLETED


async def test_what_a_dead_process_reserved_counts_until_the_turn_goes_on(world: World):
    stuck = Stuck()
    limits = {"budgets": {"model_calls": 2, "tokens": 2000}}
    small = {"params": {"max_tokens": 100}}
    async with world.doomed(models=given(stuck)) as process, anyio.create_task_group() as group:
        process.il.agents.offer(pay, look)

        async def cut() -> None:
            with suppress(StoreError):
                await process.il.agents.run(spec(controls=limits, generation=small), "Look.")

        group.start_soon(cut)
        await stuck.asked.wait()
        process.parts.store.close()
        group.cancel_scope.cancel()
    world.advance(LEASE + 1)
    async with world.process(models=fake(calls(("look", 1)))) as process:
        process.il.agents.offer(pay, look)
        await process.sweep()
        world.advance(LEASE + 1)
        await process.sweep()
        [run] = await process.il.runs.list(capability="agent.desk")
        key = budgets.Key(tenant_id=run.tenant_id, budget=":turn", subject=run.run_id)
        caps = [budgets.Cap(key=key, unit=unit, limit=0, since=run.created_at) for unit in ("model_calls", "tokens")]

        async def used() -> list[int]:
            desk = process.parts.wiring.budgets
            return [await process.parts.store.read(lambda tx, cap=cap: desk.used_in(tx, cap)) for cap in caps]

        before = await used()
        assert before[0] == 1
        assert before[1] > 100
        turn = await process.il.agents.resume(run.run_id)
        assert (turn.state, turn.rounds) == (runs.State.COMPLETED, 2)
        lost = before[1]  # of the attempt of the dead process nobody knows what it came to
        assert await used() == [2, lost + turn.usage.tokens]


class Stuck:
    """A model that never answers."""

    def __init__(self) -> None:
        self.asked = anyio.Event()

    async def answer(
        self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
    ) -> inference.Answer:
        self.asked.set()
        await anyio.sleep_forever()
        raise AssertionError


async def test_of_a_yes_and_a_no_at_once_one_stands(world: World):
    async with world.process(models=fake(calls(("pay", 1)))) as process:
        turn, approval = await held(process)
        desk, late = process.reviewer.approvals, list[str]()

        async def decide(work: Awaitable[object]) -> None:
            try:
                await work
            except approvals.AlreadyDecided as error:
                late.append(error.code)

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(decide, desk.approve(approval))
                group.start_soon(decide, process.il.as_caller(REVIEWER).approvals.approve(approval))
        assert len(late) == 3
        with pytest.raises(approvals.AlreadyDecided, match="is approved by ada"):
            await desk.approve(approval)
        await desk.deny(approval, reason="on second thought")  # what was not spent is taken back
        ended = await process.il.agents.resume(turn.run_id)
        assert (ended.state, PAID) == (runs.State.COMPLETED, [])
        with pytest.raises(approvals.AlreadyDecided):
            await desk.approve(approval)


async def test_a_held_turn_that_is_cancelled_leaves_its_session_free(file_world: World):
    async with file_world.process(models=fake(calls(("pay", 1)))) as process:
        process.il.agents.offer(pay, look)
        session = await process.il.agent_sessions.create(spec())
        turn = await process.il.agents.run(spec(), "Pay.", session=session.session_id)
        assert turn.state is runs.State.HELD
        await process.il.runs.cancel(turn.run_id)
        again = await process.il.agents.run(spec(), "Pay.", session=session.session_id)
        assert again.answer == "Done.", "it is told what was asked for, and that nothing came of it"


async def test_what_agents_below_take_the_asking_turn_takes(file_world: World):
    async with file_world.process(models=fake(calls(("pay", 1)))) as process:
        turn, _ = await held(process, controls={"budgets": {"model_calls": 3}})
        below = harness.Asked(spec=agents.agent("below", "Help.", model="fake:test"), text="Help.")
        for code in (None, "budget_exhausted"):
            options = harness.Options(parent_run_id=turn.run_id)
            asked = await process.il.agents._harness.run(process.il.caller, below, options)
            assert (asked.failure and asked.failure.code) == code
