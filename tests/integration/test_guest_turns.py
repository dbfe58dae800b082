"""An agent of Pydantic AI whose turns are runs of ours: what it did is told to it again, and what takes a yes is held."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, Tool
from pydantic_ai import exceptions as foreign
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import AbstractToolset

from fix_app import LEASE, Process, World
from interlock import agents, approvals, bridges, inference, runs
from interlock.bridges import durability, durable_loop
from interlock.bridges.durability import InterlockDurability
from interlock.bridges.pydantic_ai import InterlockToolset
from interlock.kernel import Caller, RequestError, StoreError

pytestmark = pytest.mark.anyio

Entries = Sequence[runs.Entry] | Callable[[], Sequence[runs.Entry]]
Step = Sequence[tuple[str, dict[str, Any]]] | str | Exception


class Script:
    """A model that says the n-th to a conversation in which it has spoken n times."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.times = 0
        self.told: list[str] = []

    def __call__(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        self.times += 1
        last = messages[-1]
        assert isinstance(last, ModelRequest)
        self.told += [str(each.content) for each in last.parts if isinstance(each, ToolReturnPart)]
        spoken = sum(isinstance(each, ModelResponse) for each in messages)
        step = self.steps[spoken]
        if isinstance(step, Exception):
            self.steps[spoken] = "It is there again."
            raise step
        if isinstance(step, str):
            return ModelResponse(parts=[TextPart(step)])
        calls = [ToolCallPart(name, given, tool_call_id=f"c{spoken}_{at}") for at, (name, given) in enumerate(step)]
        return ModelResponse(parts=list(calls))


class Till:
    """Tools, and what they did."""

    def __init__(self) -> None:
        self.done: list[tuple[str, bool]] = []
        self.strike: Callable[[], None] | None = None
        self.found: Any = None

    def agent(self, script: Any, kind: str | None = None, **more: Any) -> Agent[None, Any]:
        async def add(n: int) -> str:
            self.done.append((f"add {n}", durability.is_again()))
            if (strike := self.strike) is not None:
                self.strike = None
                strike()
                await anyio.sleep_forever()
            return f"added {n}"

        async def pay(n: int, why: str = "") -> str:
            self.done.append((f"pay {n}", durability.is_again()))
            return f"paid {n}"

        def find(n: int) -> Any:
            del n
            return self.found

        kept = InterlockDurability(
            idempotency={} if kind is None else {"add": kind},
            reconcile={"add": find} if kind == "reconcile" else None,
        )
        model = FunctionModel(script) if isinstance(script, Script) else script
        made = Agent(model, name="till", tools=[add], capabilities=[kept], **more)
        made.tool_plain(requires_approval=True)(pay)
        return made


async def take(process: Process, agent: Agent[None, Any], question: str = "Go.") -> agents.harness.Taken:
    return await durability.run(process.il, agent, question, key="k")


async def test_what_was_done_is_told_again(world: World):
    till, script = Till(), Script([("add", {"n": 1}), ("add", {"n": 2})], "Done.")
    agent = till.agent(script)
    async with world.process() as process:
        taken = await take(process, agent)
        assert (taken.turn.state, taken.turn.answer, taken.value.output) == ("completed", "Done.", "Done.")
        assert (taken.turn.rounds, taken.turn.operations, sorted(till.done)) == (
            2,
            2,
            [("add 1", False), ("add 2", False)],
        )
        run = await process.il.runs.fetch(taken.turn.run_id)
        assert (run.kind, run.capability) == (runs.Kind.AGENT_TURN, "agent.till")
        assert (await process.il.runs.outcome(run.run_id)).output == {"answer": "Done."}
        kinds = [each.kind for each in await process.il.agents.lines(run.run_id)]
        assert kinds == ["step.intended", "step.done", *["step.intended"] * 2, *["step.done"] * 2,
                         "step.intended", "step.done", "guest.ended"]  # fmt: skip
        assert [each.run_id for each in await process.il.agents.list()] == [run.run_id]
    async with world.process() as process:
        again = await take(process, agent)
        assert (script.times, len(till.done)) == (2, 2), "nobody is asked, and nothing is done"
        assert again.turn == taken.turn
        assert [type(each) for each in again.value.all_messages()] == [
            type(each) for each in taken.value.all_messages()
        ]


async def test_a_test_model_calls_every_tool(file_world: World):
    till = Till()
    async with file_world.process() as process:
        taken = await take(process, till.agent(TestModel(call_tools=["add"])))
        assert (taken.turn.state, till.done) == ("completed", [("add 0", False)])
        [glance] = await process.il.agents.list(agent_id="till")
        assert (glance.rounds, glance.operations, glance.usage) == (2, 1, None)
        assert (glance.rounds, glance.operations) == (taken.turn.rounds, taken.turn.operations)


async def test_what_takes_a_yes_is_held_and_goes_on_after_it(world: World):
    till, script = Till(), Script([("add", {"n": 1}), ("pay", {"n": 5})], "Paid.")
    agent = till.agent(script)
    async with world.process() as process:
        held = (await take(process, agent)).turn
        [waiting] = held.waiting
        assert (held.state, waiting.operation, waiting.arguments) == (runs.State.HELD, "pay", {"n": 5})
        assert (await take(process, agent)).turn == held, "nobody has said anything"
        with pytest.raises(agents.TurnNotResumable, match="another framework"):
            await process.il.agents.resume(held.run_id)
        await process.reviewer.approvals.approve(str(waiting.approval_id))
    async with world.process() as process:
        taken = await take(process, agent)
        assert (taken.turn.state, taken.value.output, script.times) == ("completed", "Paid.", 2)
        assert till.done == [("add 1", False), ("pay 5", False)]
        [approval] = (await process.il.runs.history(held.run_id)).approvals
        assert (approval.state, approval.spent_by) == ("spent", held.run_id)


async def test_what_a_person_edited_is_what_the_tool_is_called_with(file_world: World):
    till, script = Till(), Script([("pay", {"n": 5000})], "Paid.", "Paid.")
    agent = till.agent(script)
    async with file_world.process() as process:
        [waiting] = (await take(process, agent)).turn.waiting
        approve = process.reviewer.approvals.approve
        for unfit, told in (
            ({"n": "many"}, "a whole number"),
            ({"m": 5}, "n"),
            ({"n": 5, "why": "a" * 300_000}, "262144"),
        ):
            with pytest.raises(approvals.InvalidEdit, match=f"the edited input of pay does not fit.*{told}"):
                await approve(str(waiting.approval_id), edited_input=unfit)
        edited = {"n": 5, "why": "5000 is too much"}
        await approve(str(waiting.approval_id), edited_input=edited)
    for _ in range(2):
        async with file_world.process() as process:
            taken = await take(process, agent)
            assert (taken.turn.state, taken.value.output, till.done) == ("completed", "Paid.", [("pay 5", False)])
            assert (script.times, script.told) == (2, ["paid 5"])
            [decided] = [each for each in await process.il.agents.lines(taken.turn.run_id) if "decided" in each.kind]
            assert decided.data["arguments"] == edited


async def test_what_is_too_much_to_keep_beside_a_question_cannot_be_edited(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(durable_loop, "_MAX_SCHEMA", 10)
    async with file_world.process() as process:
        [waiting] = (await take(process, Till().agent(Script([("pay", {"n": 5})], "Paid.")))).turn.waiting
        with pytest.raises(approvals.InvalidEdit, match="cannot be edited: what the tool takes is not on record"):
            await process.reviewer.approvals.approve(str(waiting.approval_id), edited_input={"n": 6})


async def test_a_no_is_told_to_the_model_and_sticks(file_world: World):
    till, script = Till(), Script([("pay", {"n": 5})], [("pay", {"n": 5})], [("pay", {"n": 6})], "Then not.")
    agent = till.agent(script)
    async with file_world.process() as process:
        for reason in ("too dear", "still too dear"):
            [waiting] = (await take(process, agent)).turn.waiting
            await process.reviewer.approvals.deny(str(waiting.approval_id), reason=reason)
        taken = await take(process, agent)
        assert (taken.turn.answer, till.done) == ("Then not.", [])
        assert "too dear" in script.told[0]
        assert "denied before" in script.told[1]
        assert "still too dear" in script.told[2]


class Careless(Script):
    """A model that gives all calls the same id, as some servers do."""

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        said = super().__call__(messages, info)
        calls = [replace(each, tool_call_id="call_0") for each in said.parts if isinstance(each, ToolCallPart)]
        return ModelResponse(parts=list(calls)) if calls else said


async def test_a_yes_is_to_one_call_though_the_next_one_has_its_id(file_world: World):
    till, script = Till(), Careless([("pay", {"n": 5})], [("pay", {"n": 5})], "Paid.")
    agent = till.agent(script)
    async with file_world.process() as process:
        for paid in (0, 1):
            turn = (await take(process, agent)).turn
            assert (turn.state, len(till.done)) == (runs.State.HELD, paid), "each is asked for"
            await process.reviewer.approvals.approve(str(turn.waiting[0].approval_id))
        taken = await take(process, agent)
        assert (taken.turn.answer, len(till.done)) == ("Paid.", 2)
        assert (await take(process, agent)).turn == taken.turn


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([("pay", {"n": 5, "why": "x" * 300_000})], "larger than 262144 bytes"),
        ([("pay", {"n": n}) for n in range(65)], "at most 64"),
    ],
)
async def test_what_is_too_much_to_ask_a_person_is_not_asked(file_world: World, calls: list[Any], why: str):
    till, script = Till(), Script(calls, "Then not.")
    async with file_world.process() as process:
        for _ in range(2):
            taken = await take(process, till.agent(script))
            assert (taken.turn.answer, till.done) == ("Then not.", [])
        assert len(script.told) == len(calls)
        assert all(why in each for each in script.told)


async def fallen(world: World, till: Till, agent: Agent[None, Any]) -> None:
    """A process that dies in the middle of a tool that it has just done."""
    async with world.doomed() as process, anyio.create_task_group() as tasks:

        def die() -> None:
            process.parts.store.close()
            tasks.cancel_scope.cancel()

        till.strike = die
        try:
            await take(process, agent)
        except StoreError:
            tasks.cancel_scope.cancel()
    world.advance(LEASE + 1)


async def swept(world: World, process: Process) -> None:
    await process.sweep()
    world.advance(LEASE + 1)
    await process.sweep()


@pytest.mark.parametrize(
    ("kind", "found", "times"),
    [
        ("pure", None, 2),
        ("dedupe", None, 2),
        ("reconcile", agents.Happened(output="it was"), 1),
        ("reconcile", agents.NotHappened(), 2),
    ],
)
async def test_what_a_process_left_half_done_goes_on_by_its_class(file_world: World, kind: str, found: Any, times: int):
    till, script = Till(), Script([("add", {"n": 1})], "Done.")
    till.found = found
    agent = till.agent(script, kind)
    await fallen(file_world, till, agent)
    async with file_world.process() as process:
        with pytest.raises(agents.TurnNotResumable, match="is running"):
            await take(process, agent)
        await swept(file_world, process)
        taken = await take(process, agent)
        assert (taken.turn.answer, script.times) == ("Done.", 2), "the answer was not asked for again"
        assert till.done == [("add 1", False), ("add 1", True)][:times]
        assert script.told == ["it was" if times == 1 else "added 1"]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is committed of turns from now on, by the types of its entries."""
    commits: list[list[str]] = []
    note = runs.Tasks.note

    async def noting(tasks: runs.Tasks, working: runs.Working, told: Entries, **more: Any) -> None:
        commits.append([kind for kind, _ in (told() if callable(told) else told)])
        await note(tasks, working, told, **more)

    monkeypatch.setattr(runs.Tasks, "note", noting)
    return commits


@pytest.mark.parametrize("happened", [True, False])
async def test_what_nobody_may_repeat_waits_for_a_person(
    file_world: World, monkeypatch: pytest.MonkeyPatch, happened: bool
):
    till, script = Till(), Script([("add", {"n": 1})], "Done.")
    agent = till.agent(script)
    await fallen(file_world, till, agent)
    async with file_world.process() as process:
        await swept(file_world, process)
        await take(process, agent)
        waits = (await take(process, agent)).turn
        assert (waits.state, [each.unclear for each in waits.waiting]) == (runs.State.WAITING, [True])
        with pytest.raises(agents.OperationUnclear):
            waits.check()
        with pytest.raises(RequestError, match="c0_0"):
            await process.reviewer.agents.settle(waits.run_id, "c9", happened=True)
        with pytest.raises(approvals.RoleMissing):
            await process.il.as_caller(Caller(actor="agent")).agents.settle(waits.run_id, "c0_0", happened=True)
        much = "x" * (agents.turns.MAX_OUTCOME + 1)
        with pytest.raises(RequestError, match="a model is shown"):
            await process.reviewer.agents.settle(waits.run_id, "c0_0", happened=True, text=much)
        turn = await process.reviewer.agents.settle(waits.run_id, "c0_0", happened=happened, text="seen")
        assert turn.state is runs.State.QUEUED
        commits = noted(monkeypatch)
        taken = await take(process, agent)
        together = ["step.intended", "step.done"]
        assert (together in commits) is happened, "a process that falls in between would have them asked again"
        assert (taken.turn.answer, len(till.done)) == ("Done.", 1 if happened else 2)
        assert script.told == ["seen" if happened else "added 1"]


async def test_one_that_cannot_be_found_out_waits_for_a_person(file_world: World):
    till, script = Till(), Script([("add", {"n": 1})], "Done.")
    till.found = agents.Unclear(reason="the books are closed")
    agent = till.agent(script, "reconcile")
    await fallen(file_world, till, agent)
    async with file_world.process() as process:
        await swept(file_world, process)
        with pytest.raises(agents.OperationUnclear, match="books are closed"):
            await take(process, agent)
        waits = (await take(process, agent)).turn
        await process.reviewer.agents.settle(
            waits.run_id, str(waits.waiting[0].call_id), happened=True, text="in there"
        )
        assert (await take(process, agent)).turn.answer == "Done."
        assert script.told == ["in there"]


async def test_what_was_said_before_is_the_same_however_often_a_program_makes_it(file_world: World):
    def before(text: str) -> list[ModelMessage]:
        return [ModelRequest(parts=[UserPromptPart(text)]), ModelResponse(parts=[TextPart("Hello.")])]

    agent = Till().agent(Script("", "Yes."))
    async with file_world.process() as process:
        for _ in range(2):
            taken = await durability.run(process.il, agent, "Go.", key="k", message_history=before("hi"))
            assert taken.value.output == "Yes."
        with pytest.raises(runs.IdempotencyConflict):
            await durability.run(process.il, agent, "Go.", key="k", message_history=before("good day"))


async def test_who_may_not_ask_for_an_agent_has_no_turn_of_it(file_world: World):
    async with file_world.process() as process:
        limited = process.il.as_caller(Caller(actor="clerk", capabilities=frozenset({"acme.*", "agent.desk"})))
        with pytest.raises(RequestError, match=r"clerk may not ask for agent\.till"):
            await durability.run(limited, Till().agent(Script("Yes.")), "Go.", key="k")


async def test_what_a_program_hands_over_of_another_kind_is_refused_and_nothing_is_on_record(file_world: World):
    agent: Any = Till().agent(Script("Yes."))
    wrong: list[dict[str, Any]] = [
        {"key": 7},
        {"key": None},
        {"environment": 5},
        {"agent": 5},
        {"prompt": 5},
        {"prompt": [object()]},
        {"message_history": ["before"]},
        {"usage_limits": 5},
        {"il": 5},
    ]
    async with file_world.process() as process:
        for each in wrong:
            given: dict[str, Any] = {"il": process.il, "agent": agent, "prompt": "Go.", "key": "k", **each}
            with pytest.raises(RequestError, match=f"{next(iter(each))} must be"):
                await durability.run(given.pop("il"), given.pop("agent"), given.pop("prompt"), **given)
        with pytest.raises(RequestError, match="guest must be"):
            await process.il.agents.take_guest(5, None)  # pyright: ignore[reportArgumentType]
        assert await process.il.agents.list() == []


async def test_a_key_is_of_one_question_and_one_program(file_world: World):
    till = Till()
    agent = till.agent(Script("Yes.", "No."))
    async with file_world.process() as process:
        await take(process, agent)
        with pytest.raises(runs.IdempotencyConflict):
            await take(process, agent, "Stop.")
        other = till.agent(Script([("add", {"n": 1})], "Done."))
        assert (await take(process, other)).value.output == "Yes.", "the other program is told what this one did"
        with pytest.raises(agents.UnreadableJournal, match="another by now"):
            await _changed(process, till)


async def _changed(process: Process, till: Till) -> Any:
    """The program asks for more than is on the record of a turn that has ended."""

    def more(output: str) -> str:
        if len(retried) == 0:
            retried.append(1)
            raise ModelRetry("say more")
        return output

    retried: list[int] = []
    agent = till.agent(Script("Yes.", "Yes, yes."))
    agent.output_validator(more)
    return await take(process, agent)


class Sum(BaseModel):
    total: int


async def test_what_comes_of_it_is_of_the_agents_own_type(file_world: World):
    agent = Agent(
        FunctionModel(Script([("final_result", {"total": "many"})], [("final_result", {"total": 7})])),
        name="adder",
        output_type=Sum,
        capabilities=[InterlockDurability()],
    )
    async with file_world.process() as process:
        for _ in range(2):
            taken = await durability.run(process.il, agent, "Add.", key="k")
            assert (taken.value.output, taken.turn.answer) == (Sum(total=7), '{"total":7}')


async def test_a_model_that_has_no_answer_now_is_asked_again(file_world: World):
    script = Script([("add", {"n": 1})], foreign.ModelRateLimitError("m", "too much"))
    till = Till()
    agent = till.agent(script)
    async with file_world.process() as process:
        with pytest.raises(inference.ModelUnavailable):
            await take(process, agent)
        assert [each.state for each in await process.il.agents.list()] == ["retry_scheduled"]
        taken = await take(process, agent)
        assert (taken.value.output, till.done) == ("It is there again.", [("add 1", False)])


@pytest.mark.parametrize("kind", ["unsafe_once", "pure"])
async def test_what_is_cut_off_in_the_middle_may_have_been_done(file_world: World, kind: str):
    done: list[int] = []

    async def add(n: int) -> str:
        done.append(n)
        if len(done) == 1:
            await anyio.sleep_forever()
        return "added"

    script = Script([("add", {"n": 1})], [("add", {"n": 1})], "Done.")
    agent = Agent(
        FunctionModel(script),
        name="till",
        tools=[Tool(add, timeout=0.01)],
        capabilities=[InterlockDurability(idempotency={"add": kind})],
    )
    async with file_world.process() as process:
        if kind == "pure":
            assert (await take(process, agent)).turn.answer == "Done.", "the model asks for it again"
            return
        with pytest.raises(agents.OperationUnclear, match="was stopped in the middle of it"):
            await take(process, agent)
        assert ((await take(process, agent)).turn.state, done, script.times) == (runs.State.WAITING, [1], 1)


async def test_a_tool_that_raises_ends_the_turn(file_world: World):
    async def add(n: int) -> str:
        raise ZeroDivisionError("a secret")

    script = Script([("add", {"n": 1})], "Done.")
    agent = Agent(FunctionModel(script), name="till", tools=[add], capabilities=[InterlockDurability()])
    async with file_world.process() as process:
        with pytest.raises(agents.TurnFailed, match="raised ZeroDivisionError") as caught:
            await take(process, agent)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        failed = (await take(process, agent)).turn
        assert (failed.state, script.times) == ("failed", 1)
        told = b"".join(each.body.encode() for each in await process.il.runs.events(failed.run_id))
        assert b"a secret" not in told


class GettingOver(AbstractCapability[Any]):
    """Makes something of what a tool raised, and of the first thing that the model did."""

    async def on_tool_execute_error(self, ctx: Any, *, error: Exception, **_: Any) -> Any:
        return "it may have failed"

    async def on_model_request_error(self, ctx: Any, *, request_context: Any, error: Exception) -> ModelResponse:
        if len(request_context.messages) > 1:
            raise error
        return ModelResponse(parts=[ToolCallPart("pay", {"n": 1}, tool_call_id="of the stand-in")])


async def test_what_failed_and_was_got_over_fails_again_and_is_not_done_again(file_world: World):
    paid, asked = list[int](), list[int]()

    async def pay(n: int) -> str:
        paid.append(n)
        raise TimeoutError

    def says(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        spoken = sum(isinstance(each, ModelResponse) for each in messages)
        asked.append(spoken)
        if asked.count(spoken) == 1:
            raise foreign.ModelRateLimitError("m", "too much")
        return ModelResponse(parts=[TextPart("Done.") if spoken else ToolCallPart("pay", {"n": 1}, tool_call_id="c")])

    agent = Agent(FunctionModel(says), name="till", tools=[pay], capabilities=[InterlockDurability(), GettingOver()])
    async with file_world.process() as process:
        with pytest.raises(inference.ModelUnavailable):
            await take(process, agent)
        assert (asked, paid) == ([0, 1], [1])
        for _ in range(2):
            taken = await take(process, agent)
            assert (taken.value.output, asked, paid) == ("Done.", [0, 1, 1], [1])


async def test_a_tool_may_ask_its_model_to_try_again_and_say_much(file_world: World):
    tried: list[int] = []

    async def add(n: int) -> str:
        tried.append(n)
        if n == 1:
            raise ModelRetry("a greater one")
        return "x" * 50_000

    agent = Agent(
        FunctionModel(Script([("add", {"n": 1})], [("add", {"n": 2})], "Done.")),
        name="till",
        tools=[add],
        capabilities=[InterlockDurability()],
    )
    async with file_world.process() as process:
        await take(process, agent)
        taken = await take(process, agent)
        assert (taken.value.output, tried) == ("Done.", [1, 2])
        assert len((await process.il.runs.history(taken.turn.run_id)).artifacts) == 2


async def test_a_turn_that_is_cancelled_ends(file_world: World):
    till, script = Till(), Script([("add", {"n": 1})], "Done.")
    begun = anyio.Event()
    till.strike = begun.set
    async with file_world.process() as process:
        turns: list[agents.harness.Turn] = []
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await begun.wait()
                [found] = await process.il.agents.list()
                await process.il.runs.cancel(found.run_id)
                await process.il.agents.stopping.look()

            tasks.start_soon(cancel)
            turns.append((await take(process, till.agent(script))).turn)
        [turn] = turns
        assert (turn.state, turn.waiting) == (runs.State.CANCELLED, ())


async def test_what_cannot_be_written_down_is_refused(file_world: World):
    class Odd(AbstractToolset[Any]):
        @property
        def id(self) -> str:
            return "odd"

        async def get_tools(self, ctx: Any) -> Any:
            return {}

        async def call_tool(self, name: str, tool_args: Any, ctx: Any, tool: Any) -> Any: ...

    till = Till()
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        with pytest.raises(RequestError, match="no InterlockDurability"):
            await durability.run(process.il, Agent(TestModel(), name="till"), "Go.", key="k")
        odd = Agent(TestModel(), name="till", toolsets=[Odd()], capabilities=[InterlockDurability()])
        with pytest.raises(RequestError, match="Odd cannot be written down"):
            await durability.run(process.il, odd, "Go.", key="k")
        wrong = Agent(TestModel(), name="till", capabilities=[InterlockDurability(idempotency={"ad": "pure"})])
        with pytest.raises(RequestError, match="no tool ad"):
            await durability.run(process.il, wrong, "Go.", key="k")
        with pytest.raises(RequestError, match="once_or_so"):
            till.agent(TestModel(), "once_or_so")
        with pytest.raises(RequestError, match="finds out"):
            InterlockDurability(idempotency={"add": "reconcile"})
        with pytest.raises(LookupError):
            durability.call_key()
        tools = InterlockToolset(await bridges.CapabilityTools.of(process.il, ["acme.issue.create"]))
        ours = Agent(
            FunctionModel(Script([("acme_issue_create", {"repo": "acme/rocket", "title": "Door"})], "Opened.")),
            name="till",
            toolsets=[tools],
            capabilities=[InterlockDurability()],
        )
        for _ in range(2):
            assert (await durability.run(process.il, ours, "Go.", key="ours")).turn.answer == "Opened."
        assert len(await process.il.runs.list(capability="acme.issue.create")) == 1, "it has a key and a run of its own"
