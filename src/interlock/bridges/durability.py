"""An agent of Pydantic AI whose runs survive: each question to its model and each call of a tool is written down in a run of
ours before it is done and after, and calls that take a person's yes are held. Needs the extra `inference`."""

import json
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from interlock import agents, inference
from interlock.bridges import outcomes
from interlock.bridges.pydantic_ai import InterlockToolset
from interlock.kernel import (
    JSON,
    InterlockError,
    InvalidJson,
    RequestError,
    UnknownOutcome,
    canonical,
    check_json,
    digest,
)

try:
    import pydantic_core
    from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved, ToolDenied
    from pydantic_ai import exceptions as foreign
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.durable_exec import (
        JSON_CODEC,
        BaseDurabilityCapability,
        DurabilityEngineSpec,
        DurableOperationId,
        JournalCallableOperationBackend,
        ModelRequestId,
        RoleBasedOperationConfig,
        ToolsetCallToolId,
        record_durable_unit,
        replay_scope,
    )
    from pydantic_ai.messages import (
        ModelMessage,
        ModelMessagesTypeAdapter,
        ModelRequest,
        ModelResponse,
        ToolCallPart,
        UserContent,
    )
    from pydantic_ai.models import Model
    from pydantic_ai.toolsets import AbstractToolset, ExternalToolset, FunctionToolset
    from pydantic_ai.usage import UsageLimits
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'Pydantic AI needs a library: pip install "interlock[inference]"', name=missing.name
    ) from missing

if TYPE_CHECKING:  # it loads all that there is
    from interlock import app

FRAMEWORK: Final = "pydantic-ai"

_LATER: Final = (
    foreign.ModelRateLimitError,
    foreign.ModelUnavailableError,
    foreign.ModelServerError,
    foreign.ModelConnectionError,
)
"""What a model's provider says that may be otherwise soon."""

_AGAIN: Final = frozenset({agents.Idempotency.PURE, agents.Idempotency.IDEMPOTENT})

_MADE_ANEW: Final = ("timestamp", "run_id", "conversation_id")


@dataclass(slots=True)
class _Turn:
    """The turn that the code around is in."""

    steps: agents.harness.Steps
    begun: int = 0


_turn: ContextVar[_Turn | None] = ContextVar("interlock.bridges.durability.turn", default=None)
_call: ContextVar[tuple[str, bool] | None] = ContextVar("interlock.bridges.durability.call", default=None)


def call_key() -> str:
    """In a tool: the key of this call, the same whenever it is done again, and no other call's. For what takes a key, so that
    it does a thing once. Raises LookupError outside of a turn."""
    if (found := _call.get()) is None:
        raise LookupError("no tool of an agent's turn is at work here")
    return found[0]


def is_again() -> bool:
    """In a tool: whether this call may have been done before, by a process that went away. Raises LookupError outside of a
    turn."""
    if (found := _call.get()) is None:
        raise LookupError("no tool of an agent's turn is at work here")
    return found[1]


class InterlockDurability(BaseDurabilityCapability[Any]):
    """Goes to an agent as one of its `capabilities`; `run` then takes its turns. Outside of `run` it changes nothing."""

    engine_spec = DurabilityEngineSpec(
        engine_name="Interlock",
        durable_unit_noun="step",
        durable_container_noun="turn",
        codec=JSON_CODEC,
        toolset_lifecycles={"function": "enter-always", "mcp": "enter-in-durable-unit", "dynamic": "enter-never"},
    )

    def __init__(
        self,
        *,
        idempotency: Mapping[str, str] | None = None,
        reconcile: Mapping[str, Callable[..., Any]] | None = None,
        models: Mapping[str, Model] | None = None,
        name: str | None = None,
    ) -> None:
        """`idempotency` says of tools, by name, what may be done with a call that a process was at when it went away: `pure`,
        `idempotent`, `dedupe`, `reconcile` or `unsafe_once`; of one that is not named nobody may do it again. `reconcile`: the
        functions that find out, called with the tool's arguments: they return what came of the call, `agents.NotHappened()` or
        `agents.Unclear(reason=…)`. `models` and `name` are as in Pydantic AI's own. Raises RequestError."""
        super().__init__(models=models, name=name)
        self._classes = {tool: _class(tool, word) for tool, word in (idempotency or {}).items()}
        self._reconcile = dict(reconcile or {})
        wanted = {tool for tool, each in self._classes.items() if each is agents.Idempotency.RECONCILE}
        if wanted != self._reconcile.keys():
            odd = ", ".join(sorted(wanted ^ self._reconcile.keys()))
            raise RequestError(f"a tool that is `reconcile` has a function that finds out, and no other has: {odd}")

    @property
    def in_durable_context(self) -> bool:
        """As Pydantic AI has it."""
        return _turn.get() is not None

    def get_default_run_id(self) -> str | None:
        """As Pydantic AI has it: the same in every attempt."""
        if (turn := _turn.get()) is None:
            return None
        turn.begun += 1
        return f"{turn.steps.run.run_id}:{turn.begun}"

    def get_durable_operation_backend(self) -> "_Backend":
        """As Pydantic AI has it."""
        return _Backend(self.name, self._classes, self._reconcile)

    def _bind_to_agent(self, agent: Any) -> None:
        self._register_toolsets(agent)

    def check(self, agent: Agent[Any, Any]) -> None:
        """Raises RequestError for tools whose calls could not be written down, and for classes of tools that there are not."""
        names: set[str] = set()
        unknown = False

        def look(leaf: AbstractToolset[Any]) -> None:
            nonlocal unknown
            if isinstance(leaf, FunctionToolset):
                names.update(leaf.tools)
            elif not isinstance(leaf, InterlockToolset | ExternalToolset):
                unknown = True
                if self._wrap_leaf_toolset(leaf) is None:
                    raise RequestError(
                        f"the calls of {type(leaf).__name__} cannot be written down",
                        next_step="Put its tools into a FunctionToolset, or offer them by MCP.",
                    )

        for toolset in agent.toolsets:
            toolset.apply(look)
        if not unknown and (strays := self._classes.keys() - names):
            known = ", ".join(sorted(names)) or "none"
            raise RequestError(f"the agent has no tool {', '.join(sorted(strays))}; there are: {known}")


class _Backend(JournalCallableOperationBackend[Any]):
    def __init__(
        self, name: str, classes: Mapping[str, agents.Idempotency], reconcile: Mapping[str, Callable[..., Any]]
    ) -> None:
        config = RoleBasedOperationConfig[Any](model=None, event=None, capability=None, tool=None)
        super().__init__(agent_name=name, config=config)
        self._classes = classes
        self._reconcile = reconcile

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: Any,
    ) -> object:
        """One step: told again, or done."""
        turn = _turn.get()
        assert turn is not None
        step, done = self._step(turn.steps, operation_id, name, cache_key), False

        async def do(*, again: bool) -> str:
            nonlocal done
            done = True
            with _doing(f"{turn.steps.run.run_id}:{step.key}", again=again):
                came = await body()
            if step.kind == "tool" and step.idempotency not in _AGAIN and outcomes.was_cut_off(came):
                raise UnknownOutcome(f"{step.name} was stopped in the middle of it: its time was over")
            return json.dumps(came)

        text = await turn.steps.take(step, do, self._asking(step, cache_key))
        record_durable_unit(executed=done)
        return json.loads(text)

    def _step(
        self, steps: agents.harness.Steps, operation_id: DurableOperationId, name: str, cache_key: tuple[object, ...]
    ) -> agents.harness.Step:
        if isinstance(operation_id, ToolsetCallToolId):
            tool, arguments, ctx = cast("tuple[str, Mapping[str, Any], RunContext[Any]]", cache_key[:3])
            given = cast("dict[str, JSON]", pydantic_core.to_jsonable_python(dict(arguments), fallback=str))
            call_id = ctx.tool_call_id or ""
            return agents.harness.Step(
                key=steps.numbered(f"tool:{call_id}:{digest([tool, given])}"),
                kind="tool",
                name=tool,
                idempotency=self._classes.get(tool, agents.Idempotency.UNSAFE_ONCE),
                call_id=call_id,
                arguments=given,
            )
        is_model = isinstance(operation_id, ModelRequestId)
        return agents.harness.Step(
            key=steps.numbered(f"step:{name}"),
            kind="model" if is_model else "other",
            name=name,
            idempotency=agents.Idempotency.IDEMPOTENT,
        )

    def _asking(self, step: agents.harness.Step, cache_key: tuple[object, ...]) -> agents.harness.Asking:
        failed = partial(outcomes.failed, step)
        find = self._reconcile.get(step.name) if step.kind == "tool" else None
        if find is None:
            return agents.harness.Asking(told=outcomes.told, failed=failed)
        arguments = cast("Mapping[str, Any]", cache_key[1])
        return agents.harness.Asking(
            told=outcomes.told, failed=failed, reconcile=partial(outcomes.found, find, arguments)
        )


@contextmanager
def _doing(key: str, *, again: bool) -> Generator[None]:
    """What a step does is no step of its own."""
    outer, call = _turn.set(None), _call.set((key, again))
    try:
        yield
    finally:
        _call.reset(call)
        _turn.reset(outer)


def _class(tool: str, word: str) -> agents.Idempotency:
    try:
        return agents.Idempotency(word)
    except ValueError:
        known = ", ".join(each.value for each in agents.Idempotency)
        raise RequestError(f"{tool} is {word!r}, which is no class of operations; there are: {known}") from None


# -- turns


async def run(
    il: "app.Interlock",
    agent: Agent[Any, Any],
    prompt: str | Sequence[UserContent],
    *,
    key: str,
    deps: Any = None,
    message_history: Sequence[ModelMessage] | None = None,
    usage_limits: UsageLimits | None = None,
    environment: str | None = None,
) -> agents.harness.Taken:
    """Take the agent's turn of that key as far as it goes; called again with the same, it goes on where it was. `turn` of what
    comes back says how it stands, and `value` is Pydantic AI's own result once it has ended. The program is to be the same each
    time: what it did is told to it again.

    Raises RequestError for an agent without InterlockDurability, and for what is given of another kind; IdempotencyConflict for
    another prompt under a key that is taken; OperationUnclear where a person has to look; ModelUnavailable, TurnFailed,
    TurnNotResumable.
    """
    _check_given(il, agent, prompt, message_history, usage_limits)
    durability = InterlockDurability.from_agent(agent)
    if durability is None:
        raise RequestError("the agent has no InterlockDurability among its capabilities")
    durability.check(agent)
    guest = agents.harness.Guest(
        name=durability.name,
        framework=FRAMEWORK,
        input={
            "prompt": _said(prompt),
            "history": _said_before(message_history) if message_history else None,
        },
        key=key,
        environment=environment or il.settings.environment,
    )
    loop = _Loop(agent, prompt, {"deps": deps, "usage_limits": usage_limits}, message_history)
    return await il.agents.take_guest(guest, loop)


def _check_given(il: object, agent: object, prompt: object, history: object, limits: object) -> None:
    """Raises RequestError for what is of another kind, before anything is on record."""
    from interlock import app

    for name, given, fits, words in (
        ("il", il, isinstance(il, app.Interlock), "an open Interlock"),
        ("agent", agent, isinstance(agent, AbstractAgent), "an agent of Pydantic AI"),
        ("prompt", prompt, isinstance(prompt, str | Sequence), "a text or a list of contents"),
        ("message_history", history, history is None or _are_messages(history), "a list of messages of Pydantic AI"),
        ("usage_limits", limits, limits is None or isinstance(limits, UsageLimits), "UsageLimits"),
    ):
        if not fits:
            raise RequestError(f"{name} must be {words}, not {type(given).__name__}")


def _are_messages(given: object) -> bool:
    listed = isinstance(given, Sequence)
    return listed and all(isinstance(each, ModelRequest | ModelResponse) for each in cast("Sequence[object]", given))


def _said(prompt: str | Sequence[UserContent]) -> JSON:
    try:
        return cast("JSON", pydantic_core.to_jsonable_python(prompt))
    except pydantic_core.PydanticSerializationError as error:
        raise RequestError(f"prompt must be a text or a list of contents: {error}") from error


def _said_before(messages: Sequence[ModelMessage]) -> str:
    """A digest of what was said, without what Pydantic AI makes anew each time that a message is made."""
    told = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    for message in told:
        for each in (message, *message["parts"]):
            for name in _MADE_ANEW:
                each.pop(name, None)
    return digest(json.dumps(told, sort_keys=True))


@dataclass
class _Loop:
    """Runs the agent from its beginning, and past the calls that people have decided on."""

    agent: Agent[Any, Any]
    prompt: str | Sequence[UserContent]
    options: dict[str, Any]
    history: Sequence[ModelMessage] | None
    deferring: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.deferring = _deferring(self.agent)

    async def __call__(self, steps: agents.harness.Steps) -> agents.harness.Came:
        token = _turn.set(_Turn(steps))
        try:
            with replay_scope():
                return await self._taken(steps)
        except InterlockError:
            raise
        except _LATER as error:
            raise inference.ModelUnavailable(f"the model has no answer now: {type(error).__name__}") from error
        except foreign.AgentRunError as error:
            raise agents.TurnFailed(f"the agent came to no end: {type(error).__name__}") from error
        finally:
            _turn.reset(token)

    async def _taken(self, steps: agents.harness.Steps) -> agents.harness.Came:
        more = {**self.options, **self.deferring}
        result = await self.agent.run(self.prompt, message_history=self.history, **more)
        while isinstance(output := result.output, DeferredToolRequests):
            if output.calls:
                names = ", ".join(each.tool_name for each in output.calls)
                raise agents.TurnFailed(f"what is done elsewhere cannot be waited for here: {names}")
            unfit = {each.tool_call_id: why for each in output.approvals if (why := _unfit(each, output.approvals))}
            wanted = [_consent(steps, each) for each in output.approvals if each.tool_call_id not in unfit]
            said = {each.call_id: steps.said(each) for each in wanted}
            if missing := [each for each in wanted if said[each.call_id] is None]:
                return agents.harness.Came(consents=missing)
            approvals: dict[str, Any] = {call_id: ToolDenied(message=why) for call_id, why in unfit.items()}
            approvals |= {
                call_id: ToolApproved() if each.approved else ToolDenied(message=_no(each.reason))
                for call_id, each in said.items()
                if each is not None
            }
            result = await self.agent.run(
                message_history=result.all_messages(),
                deferred_tool_results=DeferredToolResults(approvals=approvals),
                usage=result.usage,
                **more,
            )
        return agents.harness.Came(value=result, answer=_answer(result.output))


def _unfit(call: ToolCallPart, calls: Sequence[ToolCallPart]) -> str | None:
    """Why nobody is asked about a call: it is more than a person is shown, or one of more than they are asked at once."""
    if len(calls) > agents.turns.MAX_CALLS:
        return (
            f"You asked for {len(calls)} calls at once that take a yes; at most {agents.turns.MAX_CALLS} are asked for."
        )
    try:
        check_json(call.args_as_dict(), limits=agents.turns.ARGUMENTS, what="arguments")
    except InvalidJson as error:
        return f"Nobody was asked for their yes: {error.message}"
    return None


def _consent(steps: agents.harness.Steps, call: ToolCallPart) -> agents.harness.Consent:
    """Of this call alone: some models give the next one the same id, and the same arguments."""
    call_id, name, arguments = call.tool_call_id, call.tool_name, call.args_as_dict()
    key = steps.numbered(f"consent:{call_id}:{digest([name, arguments])}")
    return agents.harness.Consent(key=key, call_id=call_id, name=name, arguments=arguments)


def _no(reason: str | None) -> str:
    return f"A person said no: {reason or 'they gave no reason'}. Do not ask for it again."


def _answer(output: object) -> str:
    if isinstance(output, str):
        return output
    return canonical(cast("JSON", pydantic_core.to_jsonable_python(output, fallback=str))).decode()


def _deferring(agent: Agent[Any, Any]) -> dict[str, Any]:
    """What has the agent come back with calls that take a yes, if it does not yet. One with validators of its output must say so
    itself: Pydantic AI takes no other output for those."""
    given: Any = agent.output_type
    listed: list[Any] = list(cast("Sequence[Any]", given)) if isinstance(given, list | tuple) else [given]
    if DeferredToolRequests in listed or getattr(agent, "_output_validators", None):
        return {}
    return {"output_type": [*listed, DeferredToolRequests]}
