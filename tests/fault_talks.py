"""Conversations with agents that are killed at work: with agents and workflows below them, over several turns, under policy.

Each is a flow that any process can take again: turns have keys, so that what stands already is gone on with. Imported by the
tests and by the processes that they kill; so without pytest, and by name.
"""

import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio.to_thread

from fault_agents import AGENT, OPERATIONS, SCRIPT, SPEC, ask, go_on, pay, put, send
from interlock import agents, approvals, inference, runs
from interlock.app import Interlock
from interlock.app.settings import AppSettings
from interlock.kernel import JSON, Caller, ProviderError
from interlock.testing import models

FOLDER = Path(__file__).parent / "faults" / "talks"
APP = AppSettings(agents={"helper": str(FOLDER / "helper.yaml")}, workflows={"chores": str(FOLDER / "chores.yaml")})


@agents.operation(idempotency="dedupe")
def stamp(number: int, context: agents.Invocation) -> JSON:
    """Stamp it. The second one has to be asked for twice."""
    said = ask(context, "PUT", f"dedupe {number}")
    if "busy" in said:
        raise ProviderError("come again")
    return said


def offer(il: Interlock) -> None:
    """What the agents can do."""
    il.agents.offer(*OPERATIONS, stamp)


def _context(order: Any) -> dict[str, JSON]:
    return {"url": order.server_url, "case": order.repo}


async def _listened(stream: AsyncGenerator[Any]) -> agents.harness.Turn:
    """The turn that is told last."""
    async with aclosing(stream) as told:
        return [each async for each in told][-1].check()


# -- an agent that asks another one, beside a workflow, and is listened to

LEAD = [
    models.answer("Both.", models.call("chores", numbers=[1, 2, 3]), models.call("ask_helper", task="Help.")),
    "All is done.",
]
HELPER = [models.answer(models.call("send")), models.answer(models.call("pay")), "It is paid."]


async def delegate(il: Interlock, order: Any) -> JSON:
    """A turn within budgets, that has a workflow and another agent, side by side, do it all."""
    offer(il)
    forward = {"kind": "subagent", "ref": "helper", "options": {"forward_context": ["case", "url"]}}
    spec = agents.agent(
        "lead",
        "Lead.",
        model="fake:lead",
        operations=[
            {"name": "chores", "source": {"kind": "workflow", "ref": "chores"}},
            {"name": "ask_helper", "source": forward},
        ],
        controls={"budgets": {"operation_calls": 10, "model_calls": 10, "tokens": 100_000}},
        registry=il.agents.registry,
    )
    mine = il.as_caller(AGENT)
    turn = await _listened(mine.agents.stream(spec, "Go.", context=_context(order), idempotency_key="one"))
    return (await go_on(il, turn)).to_json()


# -- several turns, of which the older are summed up, and all are remembered

TURNS = ("I like tea.", "Pay the bill.", "Put it down, and send it.", "What do I like?")


def keeper(request: inference.Request) -> models.Step:
    """What the agent says that remembers."""
    last = request.messages[-1]
    if request.messages[0].text.startswith('{"conversation"'):
        return "It was about tea."
    if last.role is inference.Role.OPERATIONS:
        return "Done."
    asked: Mapping[str, models.Step] = {
        "Pay the bill.": models.answer(models.call("pay")),
        "Put it down, and send it.": models.answer(models.call("put"), models.call("send")),
    }
    is_known = any("I like tea." in each.text for each in request.messages[:-1])
    return asked.get(last.text, "You like tea." if is_known else "Noted.")


KEEPER = agents.agent(
    "keeper",
    "Keep it.",
    model="fake:keeper",
    operations=[put, send, pay],
    memory={"capture": "conversation"},
    controls={"budgets": {"operation_calls": 5, "tokens": 100_000}},
    runtime_defaults={"conversation": {"turns": 2, "compact": True}},
)


async def talk(il: Interlock, order: Any) -> JSON:
    """A session, turn after turn."""
    offer(il)
    mine = il.as_caller(AGENT)
    found = await mine.agent_sessions.list()
    session = found[0] if found else await mine.agent_sessions.create(KEEPER)
    turn: Any = None
    for text in TURNS:
        asked: dict[str, Any] = {"session": session.session_id, "context": _context(order), "idempotency_key": text}
        turn = await go_on(il, await mine.agents.run(KEEPER, text, **asked))
    return turn.to_json()


# -- what policy has a person asked about


async def under_policy(il: Interlock, order: Any) -> JSON:
    """A turn that has a connector open an issue, which policy has somebody asked about."""
    source = {"kind": "capability", "ref": "acme.issue.create"}
    spec = agents.agent(
        "filer",
        "File it.",
        model=f"fake:filer/{order.repo}",
        operations=[{"name": "create_issue", "source": source}],
        controls={"budgets": {"operation_calls": 2}},
        registry=il.agents.registry,
    )
    turn = await il.as_caller(AGENT).agents.run(spec, "Go.", idempotency_key="one")
    return (await go_on(il, turn)).to_json()


def _filer(repo: str) -> inference.Model:
    return models.Scripted([models.answer(models.call("create_issue", title="one", repo=repo)), "It is filed."])


# -- a turn that waits, on which several reviewers decide in several processes


async def until_held(il: Interlock, order: Any) -> JSON:
    """The turn over all classes, until it waits for a yes, whose id this returns."""
    offer(il)
    turn = await il.as_caller(AGENT).agents.run(SPEC, "Go.", context=_context(order), idempotency_key="one")
    return turn.waiting[0].approval_id


async def decide(il: Interlock, order: Any) -> JSON:
    """Say yes as the reviewer who is the order's key, and go on with the turn: what came in between."""
    offer(il)
    met: list[JSON] = []
    reviewer = il.as_caller(Caller(tenant_id="default", actor=order.key, roles=frozenset({"approver"})))
    approval = await reviewer.approvals.fetch(order.approval_id)
    try:
        await reviewer.approvals.approve(order.approval_id)
    except approvals.AlreadyDecided as error:
        met.append(error.code)
    try:
        await il.as_caller(AGENT).agents.resume(approval.run_id or "")
    except (runs.StaleRun, agents.TurnNotResumable) as error:
        met.append(error.code)
    return met


# -- a model that is killed while it speaks


class Slow:
    """A model that asks the server, whose port and case are its name, in the middle of what it says."""

    def __init__(self, name: str) -> None:
        self._port, _, self._case = name.partition("/")
        self._said = models.Scripted([models.answer("I send it.", models.call("send")), "It is sent."])

    async def answer(
        self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
    ) -> inference.Answer:
        answer = await self._said.answer(request, wire=wire, told=told)
        query = urllib.parse.urlencode({"case": self._case, "name": "model", "key": "any"})
        call = urllib.request.Request(f"http://127.0.0.1:{self._port}/?{query}", method="POST")
        (await anyio.to_thread.run_sync(urllib.request.urlopen, call)).close()
        return answer


async def listen(il: Interlock, order: Any) -> JSON:
    """A turn of it, that is listened to."""
    offer(il)
    port = urllib.parse.urlsplit(str(order.server_url)).port
    spec = agents.agent("speaker", "Speak.", model=f"fake:slow/{port}/{order.repo}", operations=[send])
    stream = il.as_caller(AGENT).agents.stream(spec, "Go.", context=_context(order), idempotency_key="one")
    return (await go_on(il, await _listened(stream))).to_json()


MODELS: Mapping[str, Callable[[str], inference.Model]] = {
    "clerk": lambda _: models.Scripted(SCRIPT),
    "lead": lambda _: models.Scripted(LEAD),
    "helper": lambda _: models.Scripted(HELPER),
    "keeper": lambda _: models.Scripted(keeper),
    "filer": _filer,
    "slow": Slow,
}


def model(name: str) -> inference.Model:
    """It says the same to the same conversation, in whichever process."""
    who, _, what = name.partition("/")
    return MODELS[who](what)
