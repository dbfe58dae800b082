"""What is told of a turn that comes to its end is what its run says, whatever becomes of the commit."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from interlock import Interlock, agents, dispatch, inference, kernel, runs
from interlock.kernel import Retry, StoreError
from interlock.testing import models

pytestmark = pytest.mark.anyio


def given(*script: Any) -> dict[str, Callable[[str], inference.Model]]:
    return {"fake": lambda _: models.Scripted(list(script))}


@agents.operation(idempotency="unsafe_once", approval={})
async def pay(n: int) -> str:
    """Pay."""
    return f"paid {n}"


SPEC = agents.agent("desk", "Pay.", model="fake:x", operations=[pay])


def on_ends(il: Interlock, monkeypatch: pytest.MonkeyPatch, act: Callable[..., Any]) -> None:
    """`act` stands in for how attempts at turns end; it is given how they do."""
    tasks, end = il._parts.workshop.tasks, il._parts.workshop.tasks.end

    async def ending(working: runs.Working, told: runs.TaskEnd, **also: Any) -> runs.Run:
        if working.journal.run.kind is not runs.Kind.AGENT_TURN:
            return await end(working, told, **also)
        return await act(lambda: end(working, told, **also), working)

    monkeypatch.setattr(tasks, "end", ending)


async def taken_over(il: Interlock, run: runs.Run) -> None:
    """Recovery has taken this process for dead."""
    move = runs.Move(state=runs.State.RETRY_SCHEDULED, reason="attempt_lost", fence=run.fence + 1)
    await il._parts.wiring.journal(run).write([], at=il._parts.wiring.clock.now(), move=move)


@pytest.mark.parametrize("retry", [Retry.LATER, Retry.NEVER])
async def test_nobody_is_told_an_answer_that_is_nowhere_on_record(monkeypatch: pytest.MonkeyPatch, retry: Retry):
    async with Interlock.open(":memory:", models=given("It is done."), background=False) as il:
        il.agents.offer(pay)

        async def lost(end: Any, working: runs.Working) -> Any:
            if retry is Retry.NEVER:
                raise StoreError("damaged", retry=retry)
            await taken_over(il, working.journal.run)
            return await end()

        on_ends(il, monkeypatch, lost)
        with pytest.raises(StoreError if retry is Retry.NEVER else runs.StaleRun):
            await il.agents.run(SPEC, "Go.")
        monkeypatch.undo()
        [turn] = await il.agents.list()
        if retry is Retry.LATER:
            assert (await il.agents.resume(turn.run_id)).answer == "It is done."


async def test_an_end_whose_commit_had_no_answer_is_told_as_it_stands(monkeypatch: pytest.MonkeyPatch):
    script = [models.answer(models.call("pay", n=1), models.call("pay", n=2))]
    async with Interlock.open(":memory:", models=given(*script, "Done.")) as il:
        il.agents.offer(pay)
        failures = 0

        async def unheard(end: Any, working: runs.Working) -> Any:
            nonlocal failures
            known = working.journal.run
            came = await end()
            if failures < 1:
                failures += 1
                working.journal.run = known
                raise StoreError("the answer was lost")
            return came

        on_ends(il, monkeypatch, unheard)
        told = [each async for each in il.agents.stream(SPEC, "Go.")]
        held = told.pop()
        assert isinstance(held, agents.harness.Turn)
        assert held.state is runs.State.HELD
        assert held == await il.agents.fetch(held.run_id)
        happenings = [each for each in told if isinstance(each, agents.harness.Happening)]
        assert [each.kind for each in happenings].count("turn.asked") == 2
        numbers = [each.seq for each in happenings if each.seq is not None]
        assert numbers == sorted(set(numbers))
        reviewer = il.as_caller(kernel.Caller(tenant_id="default", actor="ada", roles=frozenset({"approver"})))
        for each in held.waiting:
            await reviewer.approvals.deny(str(each.approval_id), reason="no")
        failures = 0
        ended = await il.agents.resume(held.run_id)
        assert (ended.state, ended.answer) == (runs.State.COMPLETED, "Done.")


async def test_a_turn_does_not_take_for_its_own_what_went_on_below_it(monkeypatch: pytest.MonkeyPatch):
    @agents.operation(idempotency="dedupe")
    async def ask(context: agents.Invocation) -> str:
        """Ask."""
        raise runs.StaleRun("run_x went on without this process", run_id="run_x")

    spec = agents.agent("desk", "Ask.", model="fake:x", operations=[ask])
    async with Interlock.open(":memory:", models=given(models.call("ask"), "Done."), background=False) as il:
        il.agents.offer(ask)
        with pytest.raises(runs.StaleRun):
            await il.agents.run(spec, "Go.")
        [turn] = await il.agents.list()
        assert turn.state is runs.State.RETRY_SCHEDULED, "it may be gone on with at once"


async def test_a_program_that_catches_a_doubt_comes_to_no_end():
    step = agents.harness.Step(
        key="a", kind="tool", name="pay", idempotency=agents.Idempotency.UNSAFE_ONCE, call_id="c1"
    )

    async def do(*, again: bool) -> str:
        raise kernel.UnknownOutcome("nobody knows")

    async def loop(steps: agents.harness.Steps) -> agents.harness.Came:
        with suppress(agents.OperationUnclear):
            await steps.take(step, do, agents.harness.Asking(told=str, failed=ValueError))
        return agents.harness.Came(answer="It is paid.")

    guest = agents.harness.Guest(name="till", framework="own", input="Go.", key="k")
    async with Interlock.open(":memory:") as il:
        with pytest.raises(agents.OperationUnclear):
            await il.agents.take_guest(guest, loop)
        [turn] = await il.agents.list()
        assert turn.state is runs.State.WAITING


async def test_a_guests_journal_grows_with_its_steps_whatever_fails():
    async def fail(*, again: bool) -> str:
        raise ValueError("no")

    async def loop(steps: agents.harness.Steps) -> agents.harness.Came:
        for number in range(20):
            step = agents.harness.Step(
                key=f"k{number}", kind="tool", name="look", idempotency=agents.Idempotency.PURE, call_id=f"c{number}"
            )
            with suppress(ValueError):
                await steps.take(step, fail, agents.harness.Asking(told=str, failed=ValueError))
        return agents.harness.Came(answer="Nothing.")

    async with Interlock.open(":memory:") as il:
        taken = await il.agents.take_guest(
            agents.harness.Guest(name="till", framework="own", input="Go.", key="k"), loop
        )
        lines = await il.agents.lines(taken.turn.run_id)
        passed: list[Any] = [each.data["passed"] for each in lines if each.kind == "step.intended"]
        assert passed == [[], *([f"k{number}"] for number in range(19))]


async def test_a_guests_long_answer_stands_beside_its_journal():
    long = "é" * 20_000

    async def loop(_: agents.harness.Steps) -> agents.harness.Came:
        return agents.harness.Came(answer=long)

    async with Interlock.open(":memory:") as il:
        taken = await il.agents.take_guest(
            agents.harness.Guest(name="till", framework="own", input="Go.", key="k"), loop
        )
        assert taken.turn.answer == long
        assert (await il.agents.fetch(taken.turn.run_id)).answer == long
        [ended] = [each for each in await il.agents.lines(taken.turn.run_id) if each.kind == "guest.ended"]
        assert "é" not in str(ended.data)
        assert ended.kept_in is not None


async def test_a_store_that_is_away_makes_no_dead_letter_of_a_turn():
    @agents.operation(idempotency="pure")
    async def look() -> str:
        """Look."""
        raise StoreError("the store is away")

    spec = agents.agent("desk", "Look.", model="fake:x", operations=[look])
    async with Interlock.open(":memory:", models=given(models.call("look"), "Done."), background=False) as il:
        il.agents.offer(look)
        turn = await il.agents.submit(spec, "Go.", retry=dispatch.RetryPolicy(max_attempts=1))
        run = await il.runs.fetch(turn.run_id)
        due = await il._parts.workshop.docket.find(run)
        assert due is not None
        with pytest.raises(StoreError):
            await il._turning.harness.take_due(run, il.caller, due)
        assert (await il.runs.fetch(turn.run_id)).state is runs.State.RETRY_SCHEDULED
