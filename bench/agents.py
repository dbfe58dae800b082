"""Suite `agents`: a turn of an agent with a model that costs nothing, one operation, and the journal on SQLite."""

import os
import time
from contextlib import AsyncExitStack
from functools import partial

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from bench.place import Place
from bench.report import Row, compare
from bench.timing import Contestant, race
from interlock import agents
from interlock.app import Interlock
from interlock.app.settings import Settings
from interlock.testing import models

CALLERS = 64
QUESTION, ANSWER = "What is 6 times 7?", "It is 42."


@agents.operation(idempotency="pure")
def multiply(a: int, b: int) -> int:
    """Multiply."""
    return a * b


def _theirs() -> Agent[None, str]:
    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse(parts=[ToolCallPart("multiply", {"a": 6, "b": 7}, tool_call_id="c1")])
        return ModelResponse(parts=[TextPart(ANSWER)])

    return Agent(FunctionModel(answer), instructions="Calculate.", tools=[multiply])


async def run(place: Place) -> list[Row]:
    """One caller and many, against pydantic-ai's own Agent on the same script, which keeps nothing."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(place.store("sqlite"))
        script = models.Scripted([models.call("multiply", call_id="c1", a=6, b=7), ANSWER])
        os.environ["INTERLOCK_KEY"] = os.urandom(32).hex()
        il = await stack.enter_async_context(
            Interlock.open(settings=Settings(store=url, folder=place.new()), models={"fake": lambda _: script})
        )
        il.agents.offer(multiply)
        spec = agents.agent("clerk", "Calculate.", model="fake:x", operations=[multiply])
        theirs = _theirs()

        async def take() -> None:
            turn = await il.agents.run(spec, QUESTION)
            assert turn.answer == ANSWER
            script.requests.clear()

        async def run_theirs() -> None:
            assert (await theirs.run(QUESTION)).output == ANSWER

        busy = partial(Contestant, clock=time.process_time)
        bare, ours, many, bare_busy, ours_busy = await race(
            [
                Contestant(run_theirs),
                Contestant(take),
                Contestant(take, callers=CALLERS),
                busy(run_theirs),
                busy(take),
            ],
            place.pace,
        )
    memory = "pydantic-ai's Agent, in memory"
    return [
        compare("an agent's turn, one operation, journal on SQLite (time)", ours, memory, bare, key="agent-turn"),
        compare("the same, the processor's time", ours_busy, memory, bare_busy, key="agent-turn-busy"),
        compare(f"the same, {CALLERS} callers at once (turns a second)", many, memory, bare),
    ]
