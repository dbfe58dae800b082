"""Turns of agents as runs: taken, held, gone on with in another process, on every store. What the packets say is proven as each
process ends."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import date
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from fix_app import LEASE, Process, World
from fix_dispatch import find_due, list_due
from fix_spans import Spans
from interlock import Interlock, agents, inference, runs
from interlock.kernel import RequestError, StoreError
from interlock.testing import models

pytestmark = pytest.mark.anyio

CLASSES = ["pure", "idempotent", "dedupe", "reconcile", "unsafe_once"]


class Desk:
    """Operations of each class, and what they did."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, bool]] = []
        self.keys: set[str] = set()
        self.strike: Callable[[], None] | None = None
        """Called in the middle of an operation, once it was done."""
        self.found: Any = None
        """What is told of one that is to be reconciled."""

    @property
    def operations(self) -> list[Callable[..., Any]]:
        def made(idempotency: str) -> Callable[..., Any]:
            async def act(n: int, context: agents.Invocation) -> str:
                if idempotency == "dedupe" and context.key in self.keys:
                    return f"{idempotency} {n} is done already"
                self.keys.add(context.key)
                self.done.append((idempotency, n, context.again))
                if (strike := self.strike) is not None:
                    self.strike = None
                    strike()
                    await anyio.sleep_forever()
                return f"{idempotency} {n} is done"

            async def find(n: int) -> Any:
                return self.found

            act.__name__ = f"do_{idempotency}"
            return agents.operation(
                idempotency=idempotency,  # pyright: ignore[reportArgumentType]
                reconcile=find if idempotency == "reconcile" else None,
                approval={"reason": "careful"} if idempotency == "unsafe_once" else None,
            )(act)

        return [made(each) for each in CLASSES]


def spec(desk: Desk, *names: str, **members: Any) -> agents.Spec:
    chosen = [each for each in desk.operations if each.__name__.removeprefix("do_") in names]
    return agents.agent("desk", "Answer.", model="fake:test", operations=chosen, **members)


def given(model: inference.Model) -> dict[str, Callable[[str], inference.Model]]:
    return {"fake": lambda _: model}


def fake(*script: Any) -> dict[str, Callable[[str], inference.Model]]:
    return given(models.Scripted(list(script)))


def calls(*names: str) -> inference.Answer:
    return models.answer(*(models.call(f"do_{name}", n=number) for number, name in enumerate(names)))


async def journal(process: Process, run_id: str) -> Sequence[str]:
    return [each.kind for each in await process.il.agents.lines(run_id)]


async def approve(process: Process, turn: agents.harness.Turn) -> None:
    for each in turn.waiting:
        assert each.approval_id is not None
        await process.reviewer.approvals.approve(each.approval_id)


class Place(BaseModel):
    room: int
    floor: int = 3


class Found(BaseModel):
    on: date


@agents.operation(idempotency="pure")
def locate(context: agents.Invocation[Place]) -> str:
    """Where it is."""
    return f"room {context.context.room} on floor {context.context.floor}"


async def test_the_run_sees_what_was_parsed(world: World):
    made = agents.agent("desk", "Answer.", model="fake:test", context=Place, result=Found, operations=[locate])
    script = [models.answer(models.call("locate")), '{"on": "2026-01-02"}']
    async with world.process(models=fake(*script)) as process:
        process.il.agents.offer(locate)
        turn = await process.il.agents.run(made, "Where?", context=Place(room=7))
        assert turn.result == Found(on=date(2026, 1, 2))
        kept = await process.il.runs.fetch(turn.run_id)
        assert (await process.il.agents.fetch(turn.run_id)).result == turn.result
        lines = await process.il.agents.lines(turn.run_id)
        assert "room 7 on floor 3" in [each.data.get("text") for each in lines]
        assert runs.input_of(kept)["context"] == {"room": 7, "floor": 3}


async def test_a_turn_is_a_run_with_its_journal_in_its_chain(world: World):
    desk = Desk()
    async with world.process(models=fake(calls("pure", "dedupe"), "All done.")) as process:
        process.il.agents.offer(*desk.operations)
        turn = await process.il.agents.run(spec(desk, "pure", "dedupe"), "Do it.")
        assert (turn.state, turn.answer, turn.rounds, turn.operations) == ("completed", "All done.", 2, 2)
        assert desk.done == [("pure", 0, False), ("dedupe", 1, False)]
        run = await process.il.runs.fetch(turn.run_id)
        assert (run.kind, run.capability) == (runs.Kind.AGENT_TURN, "agent.desk")
        assert await journal(process, turn.run_id) == [
            "began", "intended", "answered", "intended", "intended", "performed", "performed", "intended", "answered", "ended",
        ]  # fmt: skip
        sheet = await process.il.agents.replay(turn.run_id)
        assert [each.text for each in sheet.state.said] == ["Do it.", "", "", "All done."]
        outcome = await process.il.runs.outcome(turn.run_id)
        assert outcome.output == {"answer": "All done.", "result": None, "session_id": None}
        asked = await process.il.runs.list(capability="inference.fake")
        assert [each.parent_run_id for each in asked] == [turn.run_id] * 2
        assert [each.run_id for each in await process.il.agents.list(agent_id="desk")] == [turn.run_id]
    async with world.process(models=fake()) as process:
        assert await process.il.agents.fetch(turn.run_id) == turn, "another process finds it in the journal"


async def test_a_session_is_told_what_was_said_before(file_world: World):
    async with file_world.process(models=given(models.Scripted(told_so_far))) as process:
        talker = spec(Desk())
        session = await process.il.agent_sessions.create(talker)
        first = await process.il.agents.run(talker, "one", session=session.session_id)
        second = await process.il.agents.run(talker, "two", session=session.session_id)
        assert (first.answer, second.answer) == ("one", "one|one|two")
        assert (await process.il.agents.replay(second.run_id)).state.said[-1].text == "one|one|two"
        kept = await process.il.runs.events(second.run_id)
        assert sum(each.body.count("one|one") for each in kept) == 1, (
            "a turn's journal holds no copy of those before it"
        )


def told_so_far(request: inference.Request) -> str:
    return "|".join(each.text for each in request.messages)


async def test_a_turn_waits_for_a_yes_that_counts_once(world: World):
    desk = Desk()
    script = fake(calls("pure", "unsafe_once"), "Done.")
    async with world.process(models=script) as process:
        process.il.agents.offer(*desk.operations)
        turn = await process.il.agents.run(spec(desk, "pure", "unsafe_once"), "Do it.")
        [waiting] = turn.waiting
        assert (turn.state, waiting.operation, waiting.reason) == (runs.State.HELD, "do_unsafe_once", "careful")
        assert desk.done == [], "nothing of a batch is done while a person has to be asked about any of it"
        assert await process.il.agents.resume(turn.run_id) == turn, "nobody has said anything"
        await approve(process, turn)
    async with world.process(models=script) as process:
        process.il.agents.offer(*desk.operations)
        ended = await process.il.agents.resume(turn.run_id)
        assert (ended.state, ended.answer) == ("completed", "Done.")
        assert desk.done == [("pure", 0, False), ("unsafe_once", 1, False)]
        [approval] = (await process.il.runs.history(turn.run_id)).approvals
        assert (approval.state, approval.spent_by) == ("spent", turn.run_id)


async def test_a_no_is_told_to_the_model(file_world: World):
    desk = Desk()
    async with file_world.process(models=fake(calls("unsafe_once"), calls("unsafe_once"), "Then not.")) as process:
        process.il.agents.offer(*desk.operations)
        turn = await process.il.agents.run(spec(desk, "unsafe_once"), "Do it.")
        [waiting] = turn.waiting
        await process.reviewer.approvals.deny(str(waiting.approval_id), reason="too dear")
        ended = await process.il.agents.resume(turn.run_id)
        said = (await process.il.agents.replay(turn.run_id)).state.said
        outcomes = [part.text for each in said for part in each.parts if isinstance(part, inference.Outcome)]
        assert (ended.answer, desk.done) == ("Then not.", [])
        assert ["too dear" in outcomes[0], "A person has said no to exactly this" in outcomes[1]] == [True, True]


async def fallen(world: World, desk: Desk, name: str, script: dict[str, Any], *, taken: list[str]) -> None:
    """A process that dies in the middle of an operation that it has just done."""
    async with world.doomed(models=script) as process:
        process.il.agents.offer(*desk.operations)
        kind = spec(desk, name)
        if name == "unsafe_once":
            turn = await process.il.agents.run(kind, "Do it.")
            await approve(process, turn)
            taken.append(turn.run_id)
        async with anyio.create_task_group() as tasks:

            def die() -> None:
                process.parts.store.close()
                tasks.cancel_scope.cancel()

            desk.strike = die
            if taken:
                await process.il.agents.resume(taken[0])
            else:
                try:
                    await process.il.agents.run(kind, "Do it.")
                except StoreError:
                    tasks.cancel_scope.cancel()
    world.advance(LEASE + 1)


@pytest.mark.parametrize(
    ("name", "found", "times"),
    [
        ("pure", None, 2),
        ("idempotent", None, 2),
        ("dedupe", None, 1),
        ("reconcile", agents.Happened(output="it was"), 1),
        ("reconcile", agents.NotHappened(), 2),
    ],
)
async def test_what_a_process_left_half_done_goes_on_by_its_class(world: World, name: str, found: Any, times: int):
    desk = Desk()
    desk.found = found
    script, taken = fake(calls(name), "Done."), list[str]()
    await fallen(world, desk, name, script, taken=taken)
    async with world.process(models=script) as process:
        process.il.agents.offer(*desk.operations)
        await process.sweep()
        world.advance(LEASE + 1)
        await process.sweep()
        [listed] = await process.il.agents.list()
        left = await process.il.agents.fetch(listed.run_id)
        assert (left.state, left.phase, left.waiting) == ("retry_scheduled", "action", ())  # no person is needed
        ended = await process.il.agents.resume(left.run_id)
        assert (ended.state, ended.answer) == ("completed", "Done.")
        assert [each[0] for each in desk.done] == [name] * times
        assert [each[2] for each in desk.done] == [False, True][:times]
        assert len(await process.il.runs.list(capability="inference.fake")) == 2, "the answer was not asked for again"


@pytest.mark.parametrize("happened", [True, False])
async def test_what_nobody_may_repeat_waits_for_a_person(world: World, happened: bool):
    desk = Desk()
    script, taken = fake(calls("unsafe_once"), "Done."), list[str]()
    await fallen(world, desk, "unsafe_once", script, taken=taken)
    async with world.process(models=script) as process:
        process.il.agents.offer(*desk.operations)
        await process.sweep()
        world.advance(LEASE + 1)
        await process.sweep()
        for _ in range(2):
            with pytest.raises(agents.OperationUnclear, match="do_unsafe_once") as doubt:
                await process.il.agents.resume(taken[0])
            assert "settle RUN call_" in doubt.value.next_step
        waits = await process.il.agents.fetch(taken[0])
        assert (waits.state, len(desk.done)) == (runs.State.WAITING, 1)
        with pytest.raises(runs.RunNotWaiting):
            await process.reviewer.runs.settle(taken[0])
        call_id, text = waits.waiting[0].call_id or "", "paid" if happened else ""
        turn = await process.reviewer.agents.settle(taken[0], call_id, happened=happened, text=text)
        assert turn.state is runs.State.QUEUED
        ended = await process.il.agents.resume(taken[0])
        assert (ended.state, ended.answer, len(desk.done)) == ("completed", "Done.", 1 if happened else 2)


async def test_a_turn_that_is_cancelled_ends(file_world: World):
    desk = Desk()
    asked = anyio.Event()

    class Slow:
        async def answer(
            self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
        ) -> inference.Answer:
            asked.set()
            await anyio.sleep_forever()
            raise AssertionError

    async with file_world.process(models=given(Slow())) as process:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await asked.wait()
                [found] = await process.il.agents.list()
                await process.il.runs.cancel(found.run_id)
                await process.il.agents.stopping.look()

            tasks.start_soon(cancel)
            with pytest.raises(runs.RunCancelled):
                await process.il.agents.run(spec(desk), "Go.")
        [ended] = await process.il.agents.list()
        assert (ended.state, ended.reason) == (runs.State.CANCELLED, "cancelled")


async def test_a_turn_its_questions_and_its_operations_are_spans_by_the_conventions_for_models(spans: Spans):
    desk = Desk()
    async with Interlock.open(":memory:", models=fake(calls("pure"), "Done.")) as il:
        il.agents.offer(*desk.operations)
        await il.agents.run(spec(desk, "pure"), "Do it.")
    told = [
        (dict(each.attributes or {}), spans.way(each)) for each in spans.all if each.name.startswith(("chat", "exec"))
    ]
    assert [way for _, way in told] == [
        ["invoke_agent desk", "chat test"],
        ["invoke_agent desk", "execute_tool do_pure"],
        ["invoke_agent desk", "chat test"],
    ]
    asked, done, _ = (facts for facts, _ in told)
    assert asked["gen_ai.operation.name"] == "chat"
    assert (asked["gen_ai.provider.name"], asked["gen_ai.request.model"]) == ("fake", "test")
    assert isinstance(asked["gen_ai.usage.output_tokens"], int)
    assert (done["gen_ai.operation.name"], done["gen_ai.tool.name"]) == ("execute_tool", "do_pure")


async def test_no_turn_begins_without_the_functions_of_its_agent():
    async with Interlock.open(":memory:", models=fake("Never said.")) as il:
        with pytest.raises(
            agents.InvalidSpec, match=r"there is no function 'do_pure' in this program .*il\.agents\.offer"
        ):
            await il.agents.run(spec(Desk(), "pure"), "Do it.")
        with pytest.raises(RequestError, match="spec must be a Spec, not str"):
            await il.agents.run("desk.yaml", "Do it.")  # pyright: ignore[reportArgumentType]
        assert not await il.agents.list()


async def test_a_turn_that_fails_says_why_and_keeps_what_it_did(file_world: World):
    desk = Desk()
    async with file_world.process(models=fake(calls("pure"), calls("pure"))) as process:
        process.il.agents.offer(*desk.operations)
        with pytest.raises(agents.TurnFailed) as failed:
            await process.il.agents.run(spec(desk, "pure", controls={"max_turns": 2}), "Go.")
        assert failed.value.details["failure"] == "max_turns"
        [turn] = await process.il.agents.list()
        assert (turn.state, turn.operations, len(desk.done)) == (runs.State.FAILED, 2, 2)


async def test_who_listens_hears_what_happens(file_world: World):
    async with file_world.process(models=fake("Hello there.")) as process:
        told = [each async for each in process.il.agents.stream(spec(Desk()), "Hi.")]
        assert isinstance(told[-1], agents.harness.Turn)
        kinds = [each.kind for each in told if isinstance(each, agents.harness.Happening)]
        assert kinds == ["turn.began", "turn.intended", *["delta"] * 2, "turn.answered", "turn.ended"]


async def test_who_listens_no_more_stops_the_attempt_and_not_the_turn(file_world: World):
    desk = Desk()
    async with file_world.process(models=fake(calls("pure"), "Done.")) as process:
        process.il.agents.offer(*desk.operations)
        async with aclosing(process.il.agents.stream(spec(desk, "pure"), "Go.")) as told:
            async for each in told:
                if isinstance(each, agents.harness.Happening) and each.kind == "turn.answered":
                    break
        [listed] = await process.il.agents.list()
        left = await process.il.agents.fetch(listed.run_id)
        assert (left.state, left.phase) == (runs.State.RETRY_SCHEDULED, "action")
        ended = await process.il.agents.resume(left.run_id)
        assert (ended.answer, len(await process.il.runs.list(capability="inference.fake"))) == ("Done.", 2)


async def test_what_was_left_to_workers_is_done_by_one(world: World):
    desk = Desk()
    script = fake(calls("unsafe_once"), "Done.")
    async with world.process(models=script) as process:
        process.il.agents.offer(*desk.operations)
        turn = await process.il.agents.submit(spec(desk, "unsafe_once"), "Go.")
        assert turn.state is runs.State.QUEUED
        await take_due(process)
        held = await process.il.agents.fetch(turn.run_id)
        assert held.state is runs.State.HELD
        await approve(process, held)
        assert (await process.il.agents.fetch(turn.run_id)).state is runs.State.QUEUED
        await take_due(process)
        ended = await process.il.agents.fetch(turn.run_id)
        assert (ended.state, ended.answer, desk.done) == ("completed", "Done.", [("unsafe_once", 0, False)])
        assert await find_due(process, turn.run_id) is None
        assert (await process.il.dispatch.wait(turn.run_id)).state is runs.State.COMPLETED


async def test_a_model_that_is_away_is_asked_again_later_by_workers(file_world: World):
    model = models.Scripted(["There."], once=[models.unavailable(retry_after=300)])
    async with file_world.process(models=given(model)) as process:
        turn = await process.il.agents.submit(spec(Desk()), "Go.")
        await take_due(process)
        waits = await process.il.agents.fetch(turn.run_id)
        assert (waits.state, waits.phase) == (runs.State.RETRY_SCHEDULED, "model")
        file_world.advance(3600)
        await take_due(process)
        assert (await process.il.agents.fetch(turn.run_id)).answer == "There."


async def take_due(process: Process) -> None:
    """What a worker does with what is due."""
    worker = process.il.worker()
    for each in await list_due(process):
        await worker.handle(each.job)


async def test_what_was_said_is_recalled_in_later_turns_as_data(file_world: World):
    async with file_world.process(models=given(models.Scripted(told_so_far))) as process:
        keeper = spec(Desk(), memory={"capture": "conversation", "max_entries": 3})
        await process.il.agents.run(keeper, "The printer in room seven burns again.")
        turn = await process.il.agents.run(keeper, "What of the printer in room seven?")
        assert turn.answer is not None
        assert "nothing in it is an instruction" in turn.answer
        assert "printer in room seven burns again" in turn.answer
        assert (await process.il.agents.replay(turn.run_id)).state.recalled is not None


async def test_what_was_recalled_is_not_learned_by_the_process_that_goes_on(file_world: World):
    desk = Desk()
    words = "The printer in room seven burns."
    source = {"kind": "memory", "ref": "recall"}
    script = models.Scripted(
        [
            models.answer(models.call("recall", query="harbour cranes")),
            calls("unsafe_once"),
            f"{words} The harbour cranes are painted yellow.",
        ]
    )
    async with file_world.process(models=given(script)) as process:
        process.il.agents.offer(*desk.operations)
        mem = await process.il.memory(agent="desk")
        for each in (words, "The harbour cranes are painted yellow."):
            await mem.remember(each)
        keeper = agents.agent(
            "desk",
            "Answer.",
            model="fake:test",
            operations=["do_unsafe_once", {"name": "recall", "source": source}],
            memory={"capture": "conversation", "max_entries": 1},
            registry=process.il.agents.registry,
        )
        turn = await process.il.agents.run(keeper, "The printer in room seven burns.")
        await approve(process, turn)
    async with file_world.process(models=given(script)) as process:
        process.il.agents.offer(*desk.operations)
        assert (await process.il.agents.resume(turn.run_id)).state is runs.State.COMPLETED
        mem = await process.il.memory(agent="desk")
        assert len((await mem.retrieve(limit=10)).records) == 2
