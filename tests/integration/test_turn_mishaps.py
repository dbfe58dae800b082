"""What goes wrong around a turn and is not the turn's own: its question cancelled, its memory broken, too much said of it."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from interlock import Interlock, agents, inference, kernel, memory, runs
from interlock.agents.harness import recalling
from interlock.inference import pursuing
from interlock.testing import models

pytestmark = pytest.mark.anyio


def opened(model: inference.Model) -> AbstractAsyncContextManager[Interlock]:
    return Interlock.open(":memory:", models={"fake": lambda _: model})


class Stuck:
    """A model that never answers."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.times = 0

    async def answer(
        self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
    ) -> inference.Answer:
        self.times += 1
        self.asked.set()
        await anyio.sleep_forever()
        raise AssertionError


async def test_who_cancels_a_question_ends_its_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pursuing, "WATCH_S", 0.01)
    stuck = Stuck()
    async with opened(stuck) as il, anyio.create_task_group() as tasks:
        ended: list[agents.harness.Turn] = []
        over = anyio.Event()

        async def take() -> None:
            with pytest.raises(runs.RunCancelled) as failed:
                await il.agents.run(agents.agent("desk", "Help.", model="fake:x"), "Go.")
            ended.append(await il.agents.fetch(failed.value.run_id or ""))
            over.set()

        tasks.start_soon(take)
        await stuck.asked.wait()
        [question] = await il.runs.list(capability="inference.fake")
        await il.runs.cancel(question.run_id)
        await over.wait()
        [turn] = ended
        assert turn.failure is not None
        assert (turn.state, turn.failure.code, stuck.times) == (runs.State.CANCELLED, "cancelled", 1)
        assert question.run_id in turn.failure.message


async def test_who_cancels_a_turn_that_still_recalls_is_heard_at_once(monkeypatch: pytest.MonkeyPatch):
    recalls = anyio.Event()

    async def asleep(*_: Any) -> Any:
        recalls.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(memory.Turns, "before", asleep)
    monkeypatch.setattr(recalling, "PATIENCE_S", 1e6)
    model = models.Scripted(["Here."])
    async with opened(model) as il, anyio.create_task_group() as tasks:
        over = anyio.Event()

        async def take() -> None:
            with pytest.raises(runs.RunCancelled):
                await il.agents.run(agents.agent("desk", "Help.", model="fake:x", memory=BROKEN), "Go.")
            over.set()

        tasks.start_soon(take)
        await recalls.wait()
        [turn] = await il.runs.list(capability="agent.desk")
        await il.runs.cancel(turn.run_id)
        await il.agents._harness.stopping.look()
        with anyio.fail_after(60):
            await over.wait()
        ended = await il.agents.fetch(turn.run_id)
        assert ended.failure is not None
        assert (ended.state, ended.failure.code, model.requests) == (runs.State.CANCELLED, "cancelled", [])
        assert (await il.agents.replay(turn.run_id)).state.phase is agents.turns.Phase.FAILED


BROKEN = {"capture": "conversation"}


async def raising(*_: Any) -> Any:
    raise ValueError("what a stranger's provider says")


async def test_a_memory_that_breaks_is_told_of_and_keeps_no_answer_back(monkeypatch: pytest.MonkeyPatch):
    for name in ("before", "after"):
        monkeypatch.setattr(memory.Turns, name, raising)
    async with opened(models.Scripted(["Here."])) as il:
        spec = agents.agent("desk", "Help.", model="fake:x", memory=BROKEN)
        *heard, turn = [each async for each in il.agents.stream(spec, "Go.")]
        assert isinstance(turn, agents.harness.Turn)
        assert (turn.state, turn.answer) == (runs.State.COMPLETED, "Here.")
        events = await il.runs.events(turn.run_id)
        again = [agents.harness.happening(each, judged=False) for each in events]
        assert [each for each in heard if isinstance(each, agents.harness.Happening) and each.kind != "delta"] == [
            *filter(None, again)
        ], "who follows later hears as much"
        told = {each.type: each.body for each in events if each.type.startswith("memory.")}
        assert list(told) == ["memory.recall_failed", "memory.capture_failed"]
        assert "ValueError" in told["memory.recall_failed"]
        assert "stranger" not in str(told)


async def test_a_turn_that_needs_its_memory_fails_without(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory.Turns, "before", raising)
    model = models.Scripted(["Here."])
    async with opened(model) as il:
        needy = agents.agent("desk", "Help.", model="fake:x", memory={**BROKEN, "required": True})
        with pytest.raises(agents.TurnFailed, match="memory is required, and failed: its provider raised ValueError"):
            await il.agents.run(needy, "Go.")
        shown = await il.agents.preview(needy, "Go.")
        assert (shown.recalled, shown.memory_failed) == (None, "its provider raised ValueError")
        assert shown.to_json()["memory_failed"] == shown.memory_failed
    assert model.requests == []
    plain = agents.agent("desk", "Help.", model="fake:x", memory=BROKEN)
    assert "required" not in str(plain.to_json()), "what says nothing of it has the fingerprint that it had"


@agents.operation(idempotency="unsafe_once")
def odd(n: int) -> str:
    """Odd."""
    raise kernel.UnknownOutcome(f"nobody knows of {n}")


async def test_no_more_is_said_of_what_was_unclear_than_a_model_is_shown():
    script = models.Scripted([models.answer(models.call("odd", n=1, call_id="c1")), "Done."])
    async with opened(script) as il:
        il.agents.offer(odd)
        harmless = {"operations": [{"control": "max_length", "options": {"max": 99}}]}
        spec = agents.agent("desk", "Help.", model="fake:x", operations=[odd], controls=harmless)
        with pytest.raises(agents.OperationUnclear) as raised:
            await il.agents.run(spec, "Go.")
        run_id = raised.value.run_id or ""
        most = agents.turns.MAX_OUTCOME
        reviewer = il.as_caller(kernel.Caller(tenant_id="default", actor="ada", roles=frozenset({"approver"})))
        with pytest.raises(kernel.RequestError, match=f"has {most + 1} characters"):
            await reviewer.agents.settle(run_id, "c1", happened=True, text="x" * (most + 1))
        await reviewer.agents.settle(run_id, "c1", happened=True, text="x" * most)
        assert (await il.agents.resume(run_id)).answer == "Done."
