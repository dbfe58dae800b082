"""What turns leave in their sessions, however they end, and what they leave below them."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from interlock import Interlock, agents, dispatch, inference, kernel, runs
from interlock.agents import sessions
from interlock.testing import models

pytestmark = pytest.mark.anyio


@agents.operation(idempotency="unsafe_once", approval={})
async def pay(n: int) -> str:
    """Pay."""
    return f"paid {n}"


@agents.operation(idempotency="unsafe_once", approval={})
async def odd() -> str:
    """Odd."""
    raise kernel.UnknownOutcome("nobody knows")


def given(says: Callable[[inference.Request], Any]) -> dict[str, Callable[[str], inference.Model]]:
    return {"fake": lambda _: models.Scripted(says)}


def payer(request: inference.Request) -> Any:
    """It pays when it is told to, and else says what it was told."""
    texts = [each.text for each in request.messages if each.role is inference.Role.USER]
    last = request.messages[-1]
    return models.call("pay", n=1) if last.text == "pay" else "|".join(texts)


SPEC = agents.agent("desk", "Pay.", model="fake:x", operations=[pay])


async def told(il: Interlock, session_id: str) -> list[tuple[str | None, list[str]]]:
    return [
        (each.failure, [message.text for message in each.said if message.role is inference.Role.USER])
        for each in await il.agent_sessions.turns(session_id)
    ]


@pytest.mark.parametrize("look", [False, True])
async def test_a_turn_that_was_cancelled_while_it_waited_leaves_what_was_said_once(look: bool):
    async with Interlock.open(":memory:", models=given(payer)) as il:
        il.agents.offer(pay)
        session_id = (await il.agent_sessions.create(SPEC)).session_id
        held = await il.agents.run(SPEC, "pay", session=session_id)
        await il.runs.cancel(held.run_id)
        if look:
            found = await il.agent_sessions.fetch(session_id)
            assert (found.open_turn, found.head, found.title) == (None, 1, "pay")
        turn = await il.agents.run(SPEC, "again", session=session_id)
        assert turn.answer == "pay|again"
        assert await told(il, session_id) == [("cancelled", ["pay"]), (None, ["again"])]


async def dead(il: Interlock, session_id: str) -> str:
    """A turn that is a dead letter, after its first try."""
    turn = await il.agents.submit(SPEC, "first", session=session_id, retry=dispatch.RetryPolicy(max_attempts=1))
    harness = il._turning.harness
    due = await il._parts.workshop.docket.find(await il.runs.fetch(turn.run_id))
    assert due is not None
    with pytest.raises(inference.ModelUnavailable):
        await harness.take_due(await il.runs.fetch(turn.run_id), il.caller, due)
    assert (await il.runs.fetch(turn.run_id)).state is runs.State.DEAD
    return turn.run_id


def away(request: inference.Request) -> Any:
    """It is away when it is told of nothing else."""
    return inference.ModelUnavailable("away") if len(request.messages) == 1 else payer(request)


async def test_a_dead_turn_is_not_replayed_once_its_session_went_on():
    async with Interlock.open(":memory:", models=given(away), background=False) as il:
        il.agents.offer(pay)
        session_id = (await il.agent_sessions.create(SPEC)).session_id
        run_id = await dead(il, session_id)
        assert await told(il, session_id) == [], "it may be replayed"
        with pytest.raises(agents.TurnNotResumable, match="dead letter") as caught:
            await il.agents.resume(run_id)
        assert f"interlock runs replay {run_id}" in caught.value.next_step
        await il.dispatch.replay(run_id)
        with pytest.raises(sessions.SessionBusy):
            await il.agents.run(SPEC, "second", session=session_id)
        await il.runs.cancel(run_id)
        assert (await il.agents.run(SPEC, "second", session=session_id)).answer == "first|second"
        assert await told(il, session_id) == [("cancelled", ["first"]), (None, ["second"])]

        other = (await il.agent_sessions.create(SPEC)).session_id
        run_id = await dead(il, other)
        assert (await il.agents.run(SPEC, "second", session=other)).answer == "first|second"
        assert await told(il, other) == [("dead", ["first"]), (None, ["second"])]
        with pytest.raises(sessions.SessionWentOn, match=run_id):
            await il.dispatch.replay(run_id)
        await il.dispatch.dismiss(run_id, reason="said again")
        assert len(await told(il, other)) == 2


async def test_what_controls_keep_from_the_model_is_told_to_no_later_turn():
    controls = {"inputs": [{"control": "deny_patterns", "options": {"patterns": ["secret"]}}]}
    spec = agents.agent("desk", "Pay.", model="fake:x", controls=controls)
    async with Interlock.open(":memory:", models=given(payer)) as il:
        session_id = (await il.agent_sessions.create(spec)).session_id
        with pytest.raises(agents.TurnFailed, match="does not allow the input"):
            await il.agents.run(spec, "the secret", session=session_id)
        assert (await il.agents.run(spec, "hello", session=session_id)).answer == "hello"
        assert await told(il, session_id) == [("input_blocked", []), (None, ["hello"])]


async def test_what_is_said_beside_calls_is_told_to_nobody_where_what_comes_out_is_judged():
    @agents.operation(idempotency="pure")
    async def look() -> str:
        """Look."""
        return "a door"

    controls = {"outputs": [{"control": "deny_patterns", "options": {"patterns": ["secret"]}}]}
    spec = agents.agent("desk", "Look.", model="fake:x", operations=[look], controls=controls)
    seen: list[list[str]] = []

    def says(request: inference.Request) -> Any:
        seen.append([each.text for each in request.messages])
        first = models.answer("the secret", models.call("look"))
        return first if request.messages[-1].text == "look" else "Done."

    async with Interlock.open(":memory:", models=given(says)) as il:
        il.agents.offer(look)
        session_id = (await il.agent_sessions.create(spec)).session_id
        turn = await il.agents.run(spec, "look", session=session_id)
        assert "the secret" in seen[1], "its own turn goes on with its own words"
        await il.agents.run(spec, "and now", session=session_id)
        [left, _] = await il.agent_sessions.turns(session_id)
        assert "the secret" not in str(left.to_json())
        assert [each.role for each in left.said] == ["user", "model", "operations", "model"]
        assert seen[-1] == ["look", "", "", "Done.", "and now"]
        copy = await il.agents.snapshot(turn.run_id)
        forks = [await il.agents.fork(turn.run_id), await il.agents.fork(snapshot=copy)]
        forks += [await il.agents.fork(snapshot=copy, spec=spec)]
        for fork in forks:
            exchanges = [each.to_json() for each in await il.agent_sessions.turns(fork.session_id)]
            assert "the secret" not in str(exchanges)
            assert "Done." in str(exchanges)


@pytest.mark.parametrize("waits", [pay, odd])
async def test_who_cancels_a_turn_cancels_those_below_it(waits: Any):
    wanted = models.call("pay", n=1) if waits is pay else models.call("odd")
    below = agents.agent("below", "Do.", model="fake:x", operations=[waits])

    def says(request: inference.Request) -> Any:
        text = request.messages[-1].text
        if text == "Go.":
            return models.call("ask", task="do")
        return wanted if text == "do" else "Done."

    async with Interlock.open(":memory:", models=given(says)) as il:
        il.agents.offer(waits)
        # As a turn of an agent below leaves it when nobody goes on with it.
        above = await il.agents.submit(SPEC, "Go.")
        child = await il.agents.run(below, "do", parent_run_id=above.run_id)
        if waits is odd:
            [each] = child.waiting
            assert each.approval_id is not None
            reviewer = il.as_caller(kernel.Caller(tenant_id="default", actor="ada", roles=frozenset({"approver"})))
            await reviewer.approvals.approve(each.approval_id)
            with pytest.raises(agents.OperationUnclear):
                await il.agents.resume(child.run_id)
            assert (await il.runs.fetch(child.run_id)).state is runs.State.WAITING
        await il.runs.cancel(above.run_id)
        gone = await il.runs.fetch(child.run_id)
        assert (gone.state, gone.reason) == (runs.State.CANCELLED, "turn_ended")


async def test_who_cancels_a_turn_cancels_those_that_were_cut_off_below_it():
    reached = anyio.Event()

    @agents.operation(idempotency="pure")
    async def wait() -> str:
        """Wait."""
        reached.set()
        await anyio.sleep_forever()
        return ""

    below = agents.agent("below", "Do.", model="fake:x", operations=[wait])
    async with Interlock.open(":memory:", models=given(lambda _: models.call("wait"))) as il:
        il.agents.offer(wait)
        above = await il.agents.submit(SPEC, "Go.")
        async with anyio.create_task_group() as tasks:

            async def take() -> None:
                await il.agents.run(below, "do", parent_run_id=above.run_id)

            tasks.start_soon(take)
            await reached.wait()
            tasks.cancel_scope.cancel()
        [child] = [each for each in await il.runs.list() if each.capability == "agent.below"]
        assert child.state is runs.State.RETRY_SCHEDULED
        await il.runs.cancel(above.run_id)
        assert (await il.runs.fetch(child.run_id)).state is runs.State.CANCELLED


async def test_nobody_is_asked_any_more_about_a_turn_that_has_ended(monkeypatch: pytest.MonkeyPatch):
    both = models.answer(models.call("pay", n=1), models.call("pay", n=2))
    async with Interlock.open(":memory:", models=given(lambda _: both), background=False) as il:
        il.agents.offer(pay)
        held = await il.agents.run(SPEC, "pay")
        first, second = [str(each.approval_id) for each in held.waiting]
        reviewer = il.as_caller(kernel.Caller(tenant_id="default", actor="ada", roles=frozenset({"approver"})))
        await reviewer.approvals.approve(first)
        tasks, note = il._parts.workshop.tasks, il._parts.workshop.tasks.note

        async def noted(*given: Any, **more: Any) -> None:
            await note(*given, **more)
            await il.runs.cancel(held.run_id)
            await il.agents.stopping.look()

        monkeypatch.setattr(tasks, "note", noted)
        with pytest.raises(runs.RunCancelled):
            await il.agents.resume(held.run_id)
        asked = await il.approvals.fetch(second)
        assert (asked.state, asked.reason) == ("cancelled", "turn_ended")
        told = [each.type for each in await il.runs.events(held.run_id)]
        assert "approval.cancelled" in told


async def test_a_turn_that_is_left_to_workers_goes_on_without_the_one_that_asked_for_it():
    def says(request: inference.Request) -> Any:
        return models.call("leave") if request.messages[-1].text == "Go." else "Left."

    async with Interlock.open(":memory:", models=given(says), background=False) as il:

        @agents.operation(idempotency="dedupe")
        async def leave(context: agents.Invocation) -> str:
            """Leave."""
            below = await il.agents.submit(
                SPEC, "later", parent_run_id=context.turn_id, idempotency_key=f"{context.turn_id}:{context.key}"
            )
            return below.run_id

        spec = agents.agent("above", "Leave it.", model="fake:x", operations=[leave])
        il.agents.offer(leave)
        turn = await il.agents.run(spec, "Go.")
        [below] = [each for each in await il.runs.list() if each.capability == "agent.desk"]
        assert turn.state is runs.State.COMPLETED
        assert below.state is runs.State.QUEUED


@pytest.mark.parametrize("call_id", ["c1", ""])
async def test_a_turn_is_told_of_after_its_session_is_deleted_whatever_ids_its_calls_had(call_id: str):
    @agents.operation(idempotency="pure")
    async def look() -> str:
        """Look."""
        return "a door"

    def says(request: inference.Request) -> Any:
        asks = request.messages[-1].role is inference.Role.USER
        return models.call("look", call_id=call_id) if asks else "Done."

    spec = agents.agent("desk", "Look.", model="fake:x", operations=[look])
    async with Interlock.open(":memory:", models=given(says)) as il:
        il.agents.offer(look)
        session_id = (await il.agent_sessions.create(spec)).session_id
        taken = [await il.agents.run(spec, "look", session=session_id) for _ in range(2)]
        await il.agent_sessions.delete(session_id)
        assert [await il.agents.fetch(each.run_id) for each in taken] == taken
