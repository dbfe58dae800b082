"""What asking models takes of budgets: every attempt, whoever wants it, and no more than was reserved."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, event

from fix_app import LEASE, Process, World
from interlock import Interlock, agents, budgets, inference, memory, runs
from interlock.agents import harness
from interlock.kernel import StoreError
from interlock.testing import models

pytestmark = pytest.mark.anyio

TOKENS = """
[[budgets]]
name = "models"
per = "tenant"
capability = "inference.*"
spend = { unit = "tokens", limit = 100_000, per_seconds = 86_400 }
"""


def given(**scripted: inference.Model) -> dict[str, Callable[[str], inference.Model]]:
    return {name: lambda _, model=model: model for name, model in scripted.items()}


def asked(model: str = "fake:x", **params: Any) -> inference.Request:
    return inference.Request(model=model, instructions="Help.", messages=(inference.said("Hm?"),), params=params)


async def ask(process: Process, request: inference.Request, key: str = "k1") -> inference.Answered:
    return await process.parts.inference.ask(process.il.caller, request, key=key)


async def used(process: Process, budget: str, subject: str, *, per_seconds: int = 86_400) -> int:
    """How much of a rule's spend is used or reserved."""
    now = process.parts.wiring.clock.now()
    since = budgets.Rate(limit=1, per_seconds=per_seconds).window(now)[0]
    key = budgets.Key(tenant_id=process.il.caller.tenant_id, budget=budget, subject=subject)
    cap = budgets.Cap(key=key, unit="spend", limit=1, since=since)
    return await process.parts.store.read(lambda tx: process.parts.wiring.budgets.used_in(tx, cap))


async def tokens(process: Process) -> int:
    return await used(process, "models", process.il.caller.tenant_id)


async def test_an_answer_that_is_counted_is_no_longer_than_was_reserved(file_world: World):
    model = models.Scripted(["Yes."] * 9)
    async with file_world.process(models=given(fake=model), rules=TOKENS) as process:
        await ask(process, asked())
        await ask(process, asked(max_tokens=7), "k2")
        for wrong in (0, -1, 1e9, "9", True):
            with pytest.raises(inference.ModelRefused, match="max_tokens"):
                await ask(process, asked(max_tokens=wrong), f"k{wrong}")
    async with file_world.process(models=given(fake=model)) as process:
        await ask(process, asked(), "k3")
    assert [each.params.get("max_tokens") for each in model.requests] == [4096, 7, None]


async def test_an_attempt_without_an_answer_may_have_cost_all_that_was_reserved(file_world: World):
    model = models.Scripted(["Yes."], once=[models.unavailable()])
    async with file_world.process(models=given(fake=model), rules=TOKENS) as process:
        usage, _ = process.parts.inference.most(asked(max_tokens=100))
        answered = await ask(process, asked(max_tokens=100))
        assert await tokens(process) == usage.tokens + answered.answer.usage.tokens
    room = f"limit = {usage.tokens + 10}"
    broken = models.Scripted(lambda _: models.unavailable())
    narrow = TOKENS.replace("limit = 100_000", room).replace("models", "narrow")
    async with file_world.process(models=given(fake=broken), rules=narrow) as process:
        with pytest.raises(runs.OverBudget, match=r"not asked once more.*narrow.*not to be had now") as over:
            await ask(process, asked(max_tokens=100), "k2")
        assert isinstance(over.value.__cause__, inference.ModelUnavailable)
        told = [each.type for each in await process.il.runs.events(str(over.value.run_id))]
        assert "inference.target_resolved" in told, "what was asked stays on record"
        assert len(broken.requests) == 1
        assert await used(process, "narrow", process.il.caller.tenant_id) == usage.tokens


@pytest.mark.parametrize(
    "said",
    [models.answer("Yes.", usage=inference.Usage()), models.answer("Ye", finish=inference.Finish.CUT)],
    ids=["uncounted", "cut"],
)
async def test_of_an_answer_that_nobody_has_counted_all_that_was_reserved_is_used(
    file_world: World, said: inference.Answer
):
    async with file_world.process(models=given(fake=models.Scripted([said])), rules=TOKENS) as process:
        usage, _ = process.parts.inference.most(asked(max_tokens=100))
        answered = await ask(process, asked(max_tokens=100))
        assert (await tokens(process), answered.cost) == (usage.tokens, None)


async def test_what_policy_does_not_let_be_asked_costs_nothing(file_world: World):
    rules = "[policy]\ndefault = 'allow'\n[[policy.rules]]\nid = 'no'\nthen = 'deny'\ncapability = 'inference.*'\n"
    async with file_world.process(models=given(fake=models.Scripted(["Yes."])), rules=rules + TOKENS) as process:
        with pytest.raises(runs.RefusedByPolicy):
            await ask(process, asked())
        assert await tokens(process) == 0


class Priced:
    """Models with prices, of which some stand in for others."""

    def __init__(self, prices: dict[str, Decimal | None], model: inference.Model, **fallbacks: Sequence[str]) -> None:
        self.prices = prices
        self.model = model
        self.stand_ins = fallbacks
        self.tries = 1

    @property
    def providers(self) -> Sequence[str]:
        return list(self.prices)

    def fallbacks(self, ref: str) -> Sequence[str]:
        return self.stand_ins.get(ref.partition(":")[0], ())

    def fetch(self, ref: str) -> inference.Endpoint:
        provider, _, name = ref.partition(":")
        price = self.prices[provider]
        return inference.Endpoint(
            provider=provider, name=name, model=self.model, price=lambda usage: price and price * usage.tokens
        )


DOLLARS = TOKENS.replace('"tokens"', '"usd_micros"')


async def test_a_dearer_stand_in_is_reserved_for_before_it_is_asked(file_world: World):
    model = models.Scripted(["Yes."], once=[models.unavailable()])
    micro = Decimal("0.000001")
    prices = {"cheap": micro, "unknown": None, "dear": micro * 10, "fair": micro * 2}
    async with file_world.process(models=given(), rules=DOLLARS) as process:
        process.parts.inference._models = Priced(prices, model, cheap=["unknown:x", "fair:x"])
        most = micros(process, "cheap:x")
        answered = await ask(process, asked("cheap:x", max_tokens=100))
        assert answered.cost == micro * 2 * answered.answer.usage.tokens
        assert await tokens(process) == most + 2 * answered.answer.usage.tokens
        refused = [each for each in await process.il.runs.events(answered.run_id) if "fallback_refused" in each.type]
        assert "nobody knows its price" in refused[0].body
    asks = len(model.requests)
    narrow = DOLLARS.replace("100_000", str(most * 9)).replace("models", "narrow")
    async with file_world.process(models=given(), rules=narrow) as process:
        failing = models.Scripted(lambda _: models.unavailable())
        process.parts.inference._models = Priced(prices, failing, cheap=["dear:x"])
        with pytest.raises(runs.OverBudget, match="narrow"):
            await ask(process, asked("cheap:x", max_tokens=100), "k2")
        assert len(failing.requests) == 1, "the stand-in was not asked"
    assert asks == 2


def micros(process: Process, model: str) -> int:
    dollars = process.parts.inference.most(asked(model, max_tokens=100))[1]
    assert dollars is not None
    return inference.micros(dollars)


async def test_dollars_want_a_price_of_agents_below_as_well(file_world: World):
    micro = Decimal("0.000001")
    model = models.Scripted(["Done."])
    async with file_world.process(models=given()) as process:
        process.parts.inference._models = Priced({"priced": micro, "unknown": None}, model)
        desk = agents.agent("desk", "Help.", model="priced:x", controls={"budgets": {"usd": 1}})
        turn = await process.il.agents.run(desk, "Hm?")
        below = harness.Asked(spec=agents.agent("below", "Help.", model="unknown:x"), text="Help.")
        options = harness.Options(parent_run_id=turn.run_id)
        told: list[harness.Happening] = []
        came = await process.il.agents._harness.run(process.il.caller, below, options, watch=told.append)
        assert came.failure is not None
        assert "nobody knows what unknown:x costs" in came.failure.message


AGENTS = """
[[budgets]]
name = "calls"
per = "agent"
spend = { unit = "model_calls", limit = 1000, per_seconds = 86_400 }

[[budgets]]
name = "words"
per = "agent"
spend = { unit = "tokens", limit = 100_000, per_seconds = 86_400 }
"""


async def test_a_turn_pays_for_every_attempt_at_its_questions(file_world: World):
    model = models.Scripted(["Yes."], once=[models.unavailable()])
    async with file_world.process(models=given(fake=model), rules=AGENTS) as process:
        spec = agents.agent("desk", "Help.", model="fake:x", generation={"params": {"max_tokens": 100}})
        turn = await process.il.agents.run(spec, "Hm?")
        usage, _ = process.parts.inference.most(model.requests[0])
        assert await used(process, "words", "desk") == usage.tokens + turn.usage.tokens
        assert await used(process, "calls", "desk") == 1
        limits = {"budgets": {"tokens": usage.tokens + 10}}
        broken = models.Scripted(lambda _: models.unavailable())
    async with file_world.process(models=given(fake=broken)) as process:
        spec = agents.agent("desk", "Help.", model="fake:x", generation=spec.generation, controls=limits)
        with pytest.raises(agents.TurnFailed, match="tokens") as failed:
            await process.il.agents.run(spec, "Hm?")
        assert failed.value.details["failure"] == "budget_exhausted"
        assert len(broken.requests) == 1


async def test_what_is_asked_beside_a_turn_is_counted_with_it(file_world: World):
    def says(request: inference.Request) -> str:
        if request.messages[0].text.startswith('{"conversation"'):
            return "doors"
        return '{"holds": true, "why": "it is"}' if "It is about a door." in request.messages[0].text else "A door."

    model = models.Scripted(says)
    async with file_world.process(models=given(fake=model), rules=AGENTS) as process:
        conversation = {"turns": 2, "compact": True}
        spec = agents.agent("desk", "Answer.", model="fake:x", runtime_defaults={"conversation": conversation})
        session_id = (await process.il.agent_sessions.create(spec)).session_id
        for number in range(4):
            await process.il.agents.run(spec, str(number), session=session_id)
        assert len(model.requests) > 4
        assert await used(process, "calls", "desk") == len(model.requests)
        words = await used(process, "words", "desk")
        suite = agents.evals.read_suite(
            "cases: [{name: a, input: b, script: [A door.], expect: [{graded: It is about a door.}]}]"
        )
        report = await process.il.agents.evaluate(spec, suite.model_copy(update={"grader": "fake:x"}))
        assert all(each.held for each in report.cases[0].findings), report.cases[0]
        assert await used(process, "calls", "desk") == len(model.requests)
        assert await used(process, "words", "desk") > words


# -- locks

MANY = """
[[budgets]]
name = "z-words"
per = "agent"
spend = { unit = "tokens", limit = 1_000_000, per_seconds = 86_400 }

[[budgets]]
name = "m-does"
per = "agent"
spend = { unit = "operation_calls", limit = 1_000, per_seconds = 86_400 }

[[budgets]]
name = "a-hours"
per = "session"
spend = { unit = "milliseconds", limit = 500_000_000, per_seconds = 86_400 }
"""


@contextmanager
def locks_taken(names: Sequence[str]) -> Generator[list[list[str]]]:
    """Of each transaction, which of these budgets it locks, one after the other."""
    found: list[list[str]] = []

    def begun(_connection: Any) -> None:
        found.append([])

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("INSERT INTO budget_windows"):
            told: Iterable[Any] = getattr(parameters, "values", parameters.__iter__)()
            found[-1].extend(each for each in told if each in names and each not in found[-1])

    event.listen(Engine, "begin", begun)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "begin", begun)


async def test_a_turn_takes_the_locks_of_its_budgets_in_one_order(file_world: World):
    CLOCKS[:] = [file_world.advance]
    model = models.Scripted([looks(1, 2), "Done."], once=[models.unavailable()])
    names = ("a-hours", "m-does", "z-words")
    async with file_world.process(models=given(fake=model), rules=MANY) as process:
        process.il.agents.offer(look)
        spec = agents.agent("desk", "Look.", model="fake:x", operations=[look])
        session = (await process.il.agent_sessions.create(spec)).session_id
        with locks_taken(names) as found:
            await process.il.agents.run(spec, "Look.", session=session)
    assert [each for each in found if len(each) > 1]
    assert [each for each in found if each != sorted(each)] == []


# -- time

TIME = """
[[budgets]]
name = "hours"
per = "session"
spend = { unit = "milliseconds", limit = 5_000, per_seconds = 86_400 }
"""


@agents.operation(idempotency="pure")
async def look(n: int) -> str:
    """Look."""
    CLOCKS[0](n)
    return f"saw {n}"


CLOCKS: list[Callable[[float], None]] = []


def looks(*seconds: int) -> inference.Answer:
    return models.answer(*(models.call("look", n=each, call_id=f"c{each}") for each in seconds))


async def told(process: Process, turn_id: str) -> list[str]:
    sheet = await process.il.agents.replay(turn_id)
    return [each.text for said in sheet.state.said for each in said.parts if isinstance(each, inference.Outcome)]


async def failed(process: Process, spec: agents.Spec, session: str | None = None) -> harness.Turn:
    with pytest.raises(agents.TurnFailed) as caught:
        await process.il.agents.run(spec, "Look.", session=session)
    return await process.il.agents.fetch(caught.value.run_id or "")


async def test_a_session_has_so_much_time_to_work(file_world: World):
    CLOCKS[:] = [file_world.advance]
    model = models.Scripted([looks(2), looks(4), looks(1), "Done."])
    async with file_world.process(models=given(fake=model), rules=TIME) as process:
        process.il.agents.offer(look)
        spec = agents.agent("desk", "Look.", model="fake:x", operations=[look])
        session = (await process.il.agent_sessions.create(spec)).session_id
        turn = await failed(process, spec, session)
        assert turn.failure is not None
        assert turn.failure.code == "budget_exhausted"
        assert "budget 'hours'" in turn.failure.message
        assert await told(process, turn.run_id) == ["saw 2", "saw 4"]
        assert await used(process, "hours", session) == 6000, "what it took, and not what was reserved"
        other = (await process.il.agent_sessions.create(spec)).session_id
        assert (await failed(process, spec, other)).failure is not None


@agents.control()
def slow(given: agents.ControlInput) -> agents.Ruling:
    """Takes its time."""
    CLOCKS[0](1)
    return agents.allow()


async def test_what_is_done_around_the_steps_of_a_turn_takes_time(file_world: World, monkeypatch: pytest.MonkeyPatch):
    """Controls at every boundary, what is recalled and kept, and a summary."""
    CLOCKS[:] = [file_world.advance]
    before, after = memory.Turns.before, memory.Turns.after

    async def recalls(turns: memory.Turns, text: str) -> memory.Recalled:
        file_world.advance(2)
        return await before(turns, text)

    async def learns(turns: memory.Turns, turn: memory.Turn) -> memory.Learned:
        file_world.advance(4)
        return await after(turns, turn)

    def says(request: inference.Request) -> inference.Answer | str:
        if request.messages[0].text.startswith('{"conversation"'):
            file_world.advance(50)
            return "doors"
        return "Done." if request.messages[-1].role is inference.Role.OPERATIONS else looks(0)

    monkeypatch.setattr(memory.Turns, "before", recalls)
    monkeypatch.setattr(memory.Turns, "after", learns)
    given_models = given(fake=models.Scripted(says))
    async with file_world.process(models=given_models, rules=TIME.replace("5_000", "500_000_000")) as process:
        process.il.agents.offer(look, controls=[slow])
        named = [{"control": "slow"}]
        spec = agents.agent(
            "desk",
            "Look.",
            model="fake:x",
            operations=[look],
            controls={"inputs": named, "operations": named, "outputs": named},
            memory={"capture": "conversation"},
            runtime_defaults={"conversation": {"turns": 1, "compact": True}},
            registry=process.il.agents.registry,
        )
        session = (await process.il.agent_sessions.create(spec)).session_id
        counted: list[int] = []
        for text in ("One.", "Two.", "Three."):
            await process.il.agents.run(spec, text, session=session)
            counted.append(await used(process, "hours", session))
        assert counted[0] == 9_000, "a control at each of three boundaries, recalled, learned"
        assert counted[-1] == 3 * 9_000 + 50_000, "and the summary"


async def test_waiting_for_a_person_takes_none_of_it(file_world: World):
    CLOCKS[:] = [file_world.advance]
    careful = agents.operation(idempotency="pure", approval={"reason": "careful"})(look_closer)
    model = models.Scripted([models.answer(models.call("look_closer", n=1)), "Done."])
    async with file_world.process(models=given(fake=model), rules=TIME) as process:
        process.il.agents.offer(careful)
        spec = agents.agent("desk", "Look.", model="fake:x", operations=[careful])
        session = (await process.il.agent_sessions.create(spec)).session_id
        turn = await process.il.agents.run(spec, "Look.", session=session)
        [waiting] = turn.waiting
        assert await used(process, "hours", session) == 0, "nothing stays reserved meanwhile"
        file_world.advance(3000)
        await process.reviewer.approvals.approve(waiting.approval_id or "")
        assert (await process.il.agents.resume(turn.run_id)).answer == "Done."
        assert await used(process, "hours", session) == 1000


async def look_closer(n: int) -> str:
    """Look closer."""
    CLOCKS[0](n)
    return f"saw {n}"


async def test_what_there_is_no_time_left_for_is_not_begun(file_world: World):
    CLOCKS[:] = [file_world.advance]
    defaults = {"parallel_operations": 1}
    model = models.Scripted([looks(6, 1), "Done."])
    async with file_world.process(models=given(fake=model)) as process:
        process.il.agents.offer(look)
        spec = agents.agent(
            "desk", "Look.", model="fake:x", operations=[look], controls={"timeout_s": 5}, runtime_defaults=defaults
        )
        turn = await failed(process, spec)
        assert turn.failure is not None
        assert (turn.failure.code, turn.failure.details["limit"]) == ("timeout", "controls.timeout_s")
        assert await told(process, turn.run_id) == ["saw 6", "It was not begun: no time is left of controls.timeout_s."]
    assert len(model.requests) == 1


class Stuck:
    """A model that never answers."""

    async def answer(
        self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
    ) -> inference.Answer:
        await anyio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize(
    ("limits", "code", "limit"),
    [
        ({"controls": {"timeout_s": 0.05}}, "timeout", "controls.timeout_s"),
        ({"runtime_defaults": {"model_timeout_s": 0.05}}, "model_failed", "runtime_defaults.model_timeout_s"),
    ],
)
async def test_a_turn_that_runs_out_of_time_says_which(limits: dict[str, Any], code: str, limit: str):
    async with Interlock.open(":memory:", models={"fake": lambda _: Stuck()}) as il:
        with pytest.raises(agents.TurnFailed) as caught:
            await il.agents.run(agents.agent("desk", "Help.", model="fake:x", **limits), "Hm?")
        turn = await il.agents.fetch(caught.value.run_id or "")
        assert turn.failure is not None
        assert (turn.failure.code, turn.failure.details["limit"]) == (code, limit)


async def test_a_budget_that_a_dead_process_used_up_hides_no_doubt(file_world: World):
    begun = anyio.Event()

    @agents.operation(idempotency="unsafe_once")
    async def pay() -> str:
        """Pay."""
        begun.set()
        await anyio.sleep_forever()
        return "paid"

    @agents.operation(idempotency="pure")
    async def see() -> str:
        """See."""
        await anyio.sleep_forever()
        return "seen"

    harmless = {"operations": [{"control": "max_length", "options": {"max": 99}}]}
    spec = agents.agent("desk", "Pay.", model="fake:x", operations=[pay, see], controls=harmless)
    model = models.Scripted([models.answer(models.call("pay"), models.call("see")), "Done."])
    async with file_world.doomed(models=given(fake=model), rules=TIME) as dead, anyio.create_task_group() as group:
        dead.il.agents.offer(pay, see)

        async def cut() -> None:
            with suppress(StoreError):
                await dead.il.agents.run(spec, "Pay.")

        group.start_soon(cut)
        await begun.wait()
        dead.parts.store.close()
        group.cancel_scope.cancel()
    file_world.advance(LEASE + 1)
    async with file_world.process(models=given(fake=model), rules=TIME) as process:
        process.il.agents.offer(pay, see)
        await process.sweep()
        file_world.advance(LEASE + 1)
        await process.sweep()
        [turn] = await process.il.agents.list()
        with pytest.raises(agents.OperationUnclear, match="pay"):
            await process.il.agents.resume(turn.run_id)
        [waiting] = (await process.il.agents.fetch(turn.run_id)).waiting
        await process.reviewer.agents.settle(turn.run_id, waiting.call_id or "", happened=True, text="paid")
        with pytest.raises(agents.TurnFailed, match="budget 'hours'"):
            await process.il.agents.resume(turn.run_id)
