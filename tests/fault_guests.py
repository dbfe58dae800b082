"""An agent of Pydantic AI with a tool of each class, whose effects a real HTTP server counts, and the flow of its turn.

Imported by the tests and by the processes that they kill; so without pytest, and by name.
"""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from fault_agents import AGENT, REVIEWER
from interlock import agents
from interlock.app import Interlock
from interlock.bridges import durability
from interlock.kernel import JSON

QUESTION = "Go."
ANSWER = "All is done."


@dataclass(frozen=True)
class Where:
    """The server, and whose count it is."""

    url: str
    case: str

    def ask(self, method: str, name: str, key: str) -> dict[str, int]:
        query = urllib.parse.urlencode({"case": self.case, "name": name, "key": key})
        request = urllib.request.Request(f"{self.url}/?{query}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def look(ctx: RunContext[Where]) -> dict[str, int]:
    """It changes nothing."""
    return ctx.deps.ask("GET", "pure", durability.call_key())


def put(ctx: RunContext[Where]) -> dict[str, int]:
    """Twice is as good as once."""
    return ctx.deps.ask("PUT", "idempotent", durability.call_key())


def send(ctx: RunContext[Where]) -> dict[str, int]:
    """The server knows a call again by its key."""
    return ctx.deps.ask("PUT", "dedupe", durability.call_key())


def file(ctx: RunContext[Where]) -> dict[str, int]:
    """One can find out whether it was done."""
    return ctx.deps.ask("POST", "reconcile", durability.call_key())


def pay(ctx: RunContext[Where]) -> dict[str, int]:
    """Nobody can tell."""
    return ctx.deps.ask("POST", "unsafe_once", durability.call_key())


SAID: Sequence[Sequence[str]] = (("look", "put", "send"), ("file",), ("pay",))


class Asked:
    """A model that says the same to the same conversation, and counts how often this process has asked it."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        self.times += 1
        spoken = sum(isinstance(each, ModelResponse) for each in messages)
        if spoken == len(SAID):
            return ModelResponse(parts=[TextPart(ANSWER)])
        return ModelResponse(parts=[ToolCallPart(name, {}, tool_call_id=f"call_{name}") for name in SAID[spoken]])


def agent(where: Where, asked: Asked) -> Agent[Where, str]:
    """The clerk, who survives."""

    def was_filed() -> Any:
        found = where.ask("GET", "reconcile", "none")
        return found if found == {"done": 1} else agents.NotHappened()

    kept = durability.InterlockDurability(
        idempotency={"look": "pure", "put": "idempotent", "send": "dedupe", "file": "reconcile"},
        reconcile={"file": was_filed},
    )
    clerk = Agent(
        FunctionModel(asked), name="clerk", deps_type=Where, tools=[look, put, send, file], capabilities=[kept]
    )
    clerk.tool(requires_approval=True)(pay)
    return clerk


async def take_turn(il: Interlock, order: Any) -> JSON:
    """A turn over all classes, gone on with until it has ended: people say yes, and what they saw."""
    taken = await go_on(il, Where(order.server_url, order.repo), Asked())
    return taken.turn.to_json()


async def go_on(il: Interlock, where: Where, asked: Asked) -> agents.harness.Taken:
    """Run it, and approve what it waits for, until it has ended or somebody has to look."""
    clerk = agent(where, asked)
    while True:
        taken = await durability.run(il.as_caller(AGENT), clerk, QUESTION, key="one", deps=where)
        if not (ids := list(_asked(taken.turn))):
            return taken
        for each in ids:
            found = await il.as_caller(REVIEWER).approvals.fetch(each)
            if found.state.value == "pending":
                await il.as_caller(REVIEWER).approvals.approve(each)


def _asked(turn: agents.harness.Turn) -> Iterator[str]:
    return (each.approval_id for each in turn.waiting if each.approval_id is not None)
