"""Asking models as runs: judged, tried again, answered once, on every store. What the packets say is proven as each process
ends."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import anyio
import pytest

from fix_app import LEASE, Process, World, run_of
from interlock import inference, policy, runs
from interlock.kernel import RequestError
from interlock.testing import models

pytestmark = pytest.mark.anyio

MINIMUM = ["run.accepted", "policy.decided", "attempt.started"]
"""What a question begins with."""


def asked(text: str = "How is it?", model: str = "fake:test") -> inference.Request:
    return inference.Request(model=model, instructions="Help.", messages=(inference.said(text),))


async def ask(process: Process, request: inference.Request | None = None, **changes: Any) -> inference.Answered:
    changes.setdefault("key", "k1")
    return await process.parts.inference.ask(process.il.caller, request or asked(), **changes)


class Stuck:
    """A model that never answers."""

    def __init__(self) -> None:
        self.asked = [anyio.Event(), anyio.Event()]

    async def answer(
        self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
    ) -> inference.Answer:
        next((each for each in self.asked if not each.is_set()), self.asked[0]).set()
        await anyio.sleep_forever()
        raise AssertionError


def given(*scripted: inference.Model) -> dict[str, Callable[[str], inference.Model]]:
    """Providers fake, fake2 …"""
    names = ("fake", "other")
    return {name: lambda _, model=model: model for name, model in zip(names, scripted, strict=False)}


async def test_an_answer_is_on_record_and_is_not_asked_for_twice(world: World):
    model, told = models.Scripted(["It rains."]), list[inference.Delta]()
    async with world.process(models=given(model)) as process:
        answered = await ask(process, told=told.append)
        assert answered.answer.message.text == "It rains." == "".join(each.text for each in told)
        run = await process.il.runs.fetch(answered.run_id)
        assert (run.kind, run.capability, run.state) == (runs.Kind.INFERENCE, "inference.fake", runs.State.COMPLETED)
        kept = runs.input_of(run)
        assert (kept["model"], kept["messages"], kept["tools"]) == ("fake:test", 1, 0)
        assert "How is it?" not in run.input_json, "the conversation is not kept again with each question"
        assert await process.events(run.run_id) == [
            *MINIMUM,
            "inference.compatibility_evaluated",
            "inference.target_resolved",
            "inference.answered",
            "artifact.recorded",
            "attempt.ended",
            "run.completed",
        ]
        assert await ask(process) == answered
        with pytest.raises(runs.IdempotencyConflict):
            await ask(process, asked("And there?"))
    async with world.process(models=given(model)) as process:
        assert await ask(process) == answered, "another process has it from the record"
    assert len(model.requests) == 1


async def test_what_fails_is_tried_again_a_number_of_times_and_stays_failed(world: World):
    model = models.Scripted(["Now."], once=[models.unavailable()])
    async with world.process(models=given(model)) as process:
        answered = await ask(process)
        history = await process.il.runs.history(answered.run_id)
        assert [each.state.value for each in history.attempts] == ["failed", "completed"]
        broken = models.Scripted(lambda _: models.unavailable())
    async with world.process(models=given(broken)) as process:
        with pytest.raises(inference.ModelUnavailable) as failed:
            await ask(process, key="k2")
        assert len(broken.requests) == 3
        history = await process.il.runs.history(run_of(failed.value))
        assert [each.state.value for each in history.attempts] == ["failed"] * 3
        with pytest.raises(runs.RunFailed) as again:
            await ask(process, key="k2")
        assert again.value.recorded_code == "model_unavailable"
        assert len(broken.requests) == 3, "what is on record is not asked for again"


@pytest.mark.parametrize(
    ("step", "error", "code"),
    [
        (inference.ModelRefused("too long"), inference.ModelRefused, "model_request_refused"),
        (ValueError("what the provider sent"), inference.ModelUnreadable, "model_answer_unreadable"),
    ],
)
async def test_what_no_repetition_mends_is_not_repeated(
    world: World, step: Exception, error: type[Exception], code: str
):
    model = models.Scripted(lambda _: step)
    async with world.process(models=given(model)) as process:
        with pytest.raises(error) as failed:
            await ask(process)
        run = await process.il.runs.fetch(run_of(failed.value))
        assert (run.state, run.reason) == (runs.State.FAILED, code)
        assert "what the provider sent" not in str(run.error)
    assert len(model.requests) == (3 if code == "model_answer_unreadable" else 1)


async def test_policy_judges_the_model_and_says_no_on_record(world: World):
    rule = policy.Rule(rule_id="no-big", then=policy.Effect.DENY, capability=("inference.*",), model=("fake:big*",))
    model = models.Scripted(["Yes."])
    law = policy.Policy(rules=(rule,), default=policy.Effect.DENY)
    async with replace(world, law=law).process(models=given(model)) as process:
        assert (await ask(process)).answer.message.text == "Yes."
        with pytest.raises(runs.RefusedByPolicy, match="fake:big") as refused:
            await ask(process, asked(model="fake:big-one"), key="k2")
        with pytest.raises(runs.RefusedByPolicy, match="fake:big"):
            await ask(process, asked(model="fake:big-one"), key="k2")
        run = await process.il.runs.fetch(run_of(refused.value))
        assert (run.state, run.reason) == (runs.State.DENIED, "no-big")
    assert len(model.requests) == 1


BUDGET = """
[[budgets]]
name = "models"
per = "tenant"
capability = "inference.*"
spend = { unit = "tokens", limit = 5000, per_seconds = 3600 }
"""


async def test_a_budget_is_asked_before_settled_after_and_refuses_on_record(world: World):
    model, stuck = models.Scripted(["Yes.", "Yes."]), Stuck()
    async with world.process(models=given(model, stuck), rules=BUDGET) as process:
        assert (await ask(process)).answer.message.text == "Yes."
        assert (await ask(process)).answer.message.text == "Yes.", "told again, it costs nothing"
        await ask(process, key="k2")  # what the first did not use is there again
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ask(process, asked(model="other:slow"), key="k3"))
            await stuck.asked[0].wait()
            with pytest.raises(runs.OverBudget):
                await ask(process, key="k4")
            group.cancel_scope.cancel()
        with pytest.raises(runs.OverBudget) as refused:  # nobody knows what the one that was cut off has used
            await ask(process, key="k5")
        assert (await process.il.runs.fetch(run_of(refused.value))).state is runs.State.SHED
    assert len(model.requests) == 2
    async with world.process(models=given(model), rules=BUDGET.replace("tokens", "usd_micros")) as process:
        with pytest.raises(inference.ModelUnpriced):
            await ask(process, key="k3")


PLACES = """
[[budgets]]
name = "places"
per = "tenant"
capability = "inference.*"
concurrency = 1
rate = { limit = 4, per_seconds = 86_400 }
"""


async def test_a_question_that_is_taken_over_has_a_place_as_any_other(world: World):
    stuck, again, model = Stuck(), Stuck(), models.Scripted(["Here."])
    async with world.doomed(models=given(stuck), rules=PLACES) as process:
        parent = await _turn(process)
        async with anyio.create_task_group() as group:
            group.start_soon(_until_cut, process, "k1", {"parent_run_id": parent})
            await stuck.asked[0].wait()
            process.parts.store.close()
            group.cancel_scope.cancel()
    world.advance(LEASE + 1)
    async with world.process(models=given(again, model), rules=PLACES) as process:
        await process.sweep()
        world.advance(LEASE + 1)
        await process.sweep()
        elsewhere = asked(model="other:x")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ask(process, parent_run_id=parent))
            await again.asked[0].wait()
            with pytest.raises(runs.OverBudget, match=r"places.*concurrency"):
                await ask(process, elsewhere, key="k2")
            group.cancel_scope.cancel()
        await ask(process, elsewhere, key="k3")
        await ask(process, elsewhere, key="k4")
        await ask(process, elsewhere, key="k5")
        with pytest.raises(runs.OverBudget, match=r"places.*rate"):  # what is taken over was counted before, and once
            await ask(process, elsewhere, key="k6")
        assert len(model.requests) == 3


async def _turn(process: Process) -> str:
    """The run of a turn at work, below which somebody asks."""
    tasks, caller = process.parts.workshop.tasks, process.il.caller
    await process.parts.wiring.ownership.begin()
    drawn = tasks.draw(
        caller, runs.Task(name="agent.desk", kind=runs.Kind.AGENT_TURN, input={}), state=runs.State.RUNNING
    )
    assert isinstance(await tasks.start(drawn, caller), runs.Working)
    return drawn.run.run_id


async def test_a_question_of_a_dead_process_is_asked_once_more_in_its_run(world: World):
    stuck, model = Stuck(), models.Scripted(["Here."])
    async with world.doomed(models=given(stuck)) as process:
        parent = await _turn(process)
        async with anyio.create_task_group() as group:
            for key in ("k1", "orphan"):
                more = {"parent_run_id": parent} if key == "k1" else {}
                group.start_soon(lambda key=key, more=more: _until_cut(process, key, more))
            await stuck.asked[0].wait()
            await stuck.asked[1].wait()
            process.parts.store.close()
            group.cancel_scope.cancel()
    world.advance(LEASE + 1)
    async with world.process(models=given(model)) as process:
        await process.sweep()
        world.advance(LEASE + 1)
        found = {each.capability: each for each in await process.sweep()}
        assert "inference.fake" in found
        answered = await ask(process, parent_run_id=parent)
        history = await process.il.runs.history(answered.run_id)
        assert [each.state.value for each in history.attempts] == ["lost", "completed"]
        with pytest.raises(runs.RunFailed) as over:
            await ask(process, key="orphan")
        assert over.value.recorded_code == "attempt_lost", "nobody is there who would ask again"


async def _until_cut(process: Process, key: str, more: dict[str, Any]) -> None:
    with suppress(Exception):  # its store is gone
        await ask(process, key=key, **more)


async def test_whoever_stops_waiting_leaves_a_cancelled_run(world: World):
    stuck = Stuck()
    async with world.process(models=given(stuck)) as process:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ask(process))
            await stuck.asked[0].wait()
            group.cancel_scope.cancel()
        assert await process.states() == ["cancelled"]
        with pytest.raises(runs.DeadlinePassed) as late:
            await ask(process, key="k2", timeout_s=0.01)
        assert await process.states() == ["cancelled", "failed"]
        events = await process.il.runs.events(late.value.run_id or "")
        assert [each.type for each in events].count("run.failed") == 1


async def test_two_who_ask_the_same_get_one_answer(world: World):
    slow = models.Scripted(["Once."], delay=0.02)
    answers: list[inference.Answered] = []

    async def one(process: Process) -> None:
        answers.append(await ask(process))

    async with world.process(models=given(slow)) as process, anyio.create_task_group() as group:
        group.start_soon(one, process)
        group.start_soon(one, process)
    assert answers[0] == answers[1]
    assert len(slow.requests) == 1


async def test_a_watcher_that_breaks_is_told_so_and_the_model_is_not_asked_again(world: World):
    model = models.Scripted(["It rains."])

    def told(delta: inference.Delta) -> None:
        raise ValueError(delta.text)

    async with world.process(models=given(model)) as process:
        with pytest.raises(RequestError, match="raised ValueError: It rains"):
            await ask(process, told=told)
    assert len(model.requests) == 1


async def test_nobody_knows_the_provider(world: World):
    async with world.process(models=given(models.Scripted([]))) as process:
        with pytest.raises(inference.UnknownModel, match="did you mean 'fake'"):
            await ask(process, asked(model="fak:test"))
        assert cast("list[Any]", await process.il.runs.list()) == []
