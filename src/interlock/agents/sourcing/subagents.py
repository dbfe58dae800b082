"""Agents as operations of others: each call is a turn of its own below the asking one, in no session."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final

from pydantic import Field

from interlock import kernel, runs
from interlock.agents.errors import InvalidOptions, OperationFailed
from interlock.agents.harness import Asked, Harness, Options, Turn
from interlock.agents.operations import Idempotency, Source
from interlock.agents.sources import Described, Found, Held, Invocation, Unclear
from interlock.agents.sourcing.options import check_pinned, read_options
from interlock.agents.spec import Spec
from interlock.agents.terms import Part, thawed
from interlock.kernel import JSON, Caller, UnknownOutcome

SUBAGENT: Final = "subagent"
"""The kind of the operations that are turns of other agents; their reference is what the program calls the agent."""

MOST_LEVELS: Final = 5
"""How deep agents may ask agents."""

MAX_TASK: Final = 50_000

_INPUT: Final[dict[str, JSON]] = {
    "type": "object",
    "properties": {
        "task": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TASK,
            "description": "What it is to do, with all that it needs to know: it sees nothing of this conversation.",
        }
    },
    "required": ["task"],
    "additionalProperties": False,
}


class SubagentOptions(Part):
    """Which members of the asking turn's context the other agent is given, too. None unless they are named."""

    forward_context: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=100)] = ()


class Subagents:
    """The source of the program's other agents. `load` reads one by its name, and may come to ask for others here; without a
    harness they are only described. `within` tells what a source comes to ask for by itself, as a workflow does."""

    kind = SUBAGENT

    def __init__(
        self,
        names: Iterable[str],
        load: Callable[[str], Spec],
        harness: Callable[[], Harness] | None = None,
        within: Callable[[Source], Iterable[Source]] = lambda _: (),
    ) -> None:
        self._names = sorted(names)
        self._load = load
        self._harness = harness
        self._within = within
        self._known: dict[str, tuple[Spec, int]] = {}
        self._loading: list[str] = []

    def describe(self, source: Source) -> Described | None:
        """What its spec says. Raises InvalidOptions for agents that come to ask themselves, or ask too deep, and what reading
        the spec raises."""
        read_options(SubagentOptions, source)
        if source.ref not in self._names:
            return None
        spec, _ = self._find(source.ref)
        about = spec.metadata.get("description")
        return {
            "description": about if isinstance(about, str) and about else f"Have the agent {spec.id} do a task.",
            "input": _INPUT,
            **({} if spec.result is None else {"output": thawed(spec.result.json_schema)}),
            "idempotency": Idempotency.DEDUPE.value,
            "pinned": spec.fingerprint,
        }

    def names(self) -> Iterable[str]:
        """What the program calls its agents."""
        return self._names

    async def perform(self, invocation: Invocation) -> JSON | Held:
        """Take its turn, or go on with the one that was begun under the call's key: its result, or what it said. Raises
        OperationChanged, OperationFailed if the turn failed, UnknownOutcome if it waits for a person to say what became of
        something."""
        source, options = invocation.operation.source, read_options(SubagentOptions, invocation.operation.source)
        if self._harness is None:
            raise OperationFailed("agents are only described here; an open Interlock asks them")
        if source.ref not in self._names:
            raise OperationFailed(f"there is no agent {source.ref!r} in this program")
        spec, _ = self._find(source.ref)
        check_pinned(invocation.operation, spec.fingerprint)
        asked = Asked(
            spec=spec,
            text=str(invocation.arguments["task"]),
            context={name: invocation.context[name] for name in options.forward_context if name in invocation.context},
        )
        how = Options(
            environment=invocation.environment,
            idempotency_key=f"{invocation.turn_id}:{invocation.key}",
            trace_id=invocation.turn_id,
            parent_run_id=invocation.turn_id,
            origin=runs.Origin.AGENT,
        )
        harness = self._harness()
        turn = await harness.run(invocation.caller, asked, how)
        return _told(await _gone_on(harness, invocation.caller, turn))

    async def reconcile(self, invocation: Invocation) -> Found:
        """Nobody has to find out: asked again, the turn goes on."""
        return Unclear(reason=f"{invocation.operation.name} is asked again, and not about")

    def _find(self, name: str) -> tuple[Spec, int]:
        """The agent of that name, and how many levels of agents it has below it."""
        if name in self._known:
            return self._known[name]
        if name in self._loading:
            chain = " asks ".join([*self._loading[self._loading.index(name) :], name])
            raise InvalidOptions(f"no agent may come to ask itself: {chain}")
        self._loading.append(name)
        try:
            spec = self._load(name)
        finally:
            self._loading.pop()
        asked = [each.source for each in spec.operations]
        asked += [each for source in asked for each in self._within(source)]
        below = [self._find(each.ref)[1] for each in asked if self._is_ours(each)]
        levels = 1 + max(below, default=0)
        if levels > MOST_LEVELS:
            raise InvalidOptions(f"the agent {name} asks agents over more than {MOST_LEVELS} levels")
        self._known[name] = spec, levels
        return spec, levels

    def _is_ours(self, source: Source) -> bool:
        return source.kind == SUBAGENT and source.ref in self._names


async def _gone_on(harness: Harness, caller: Caller, turn: Turn) -> Turn:
    """A turn that was begun before, taken further: what was decided meanwhile counts, and so does what another process left."""
    reading = harness.means.reading
    run = await reading.settled(caller, await reading.fetch(caller, turn.run_id))
    if run.state in (runs.State.HELD, runs.State.QUEUED, runs.State.RETRY_SCHEDULED):
        return await harness.resume(caller, run.run_id)
    return await harness.fetch(caller, run.run_id)


def _told(turn: Turn) -> JSON | Held:
    match turn.state:
        case runs.State.COMPLETED:
            return turn.answer if turn.result_json is None else turn.result_json
        case runs.State.HELD:
            approval = next((each.approval_id for each in turn.waiting if each.approval_id is not None), None)
            if approval is not None:
                return Held(run_id=turn.run_id, approval_id=approval)
        case runs.State.DENIED | runs.State.SHED as state:
            raise OperationFailed(f"the agent {turn.agent_id} was {state}: no turn of it was taken", run_id=turn.run_id)
        case runs.State.FAILED | runs.State.DEAD | runs.State.CANCELLED as state:
            why = turn.failure.message if turn.failure is not None else _message(turn.error)
            raise OperationFailed(f"the agent {turn.agent_id} came to no end ({state}): {why}", run_id=turn.run_id)
        case _:
            pass
    raise UnknownOutcome(
        f"the turn {turn.run_id} of the agent {turn.agent_id} is {turn.state}",
        next_step=f"Look at it (`interlock agent inspect {turn.run_id}`), settle what it waits for, then go on with both.",
        run_id=turn.run_id,
    )


def _message(error: JSON) -> str:
    if not isinstance(error, Mapping):
        return "nothing was recorded of it"
    told = error.get("message")
    return told if isinstance(told, str) else kernel.canonical(error).decode()[:500]
