"""An agent of Pydantic AI whose runs survive: each question to its model and each call of a tool is written down in a run of
ours before it is done and after, and calls that take a person's yes are held. Needs the extra `inference`."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from interlock import agents
from interlock.bridges import durable_loop, durable_steps
from interlock.bridges.durable_steps import call_key, is_again
from interlock.bridges.pydantic_ai import InterlockToolset
from interlock.kernel import JSON, RequestError, digest

try:
    import pydantic_core
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.durable_exec import JSON_CODEC, BaseDurabilityCapability, DurabilityEngineSpec
    from pydantic_ai.messages import (
        ModelMessage,
        ModelMessagesTypeAdapter,
        ModelRequest,
        ModelResponse,
        UserContent,
    )
    from pydantic_ai.models import Model
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset, ExternalToolset, FunctionToolset
    from pydantic_ai.usage import UsageLimits
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'Pydantic AI needs a library: pip install "interlock[inference]"', name=missing.name
    ) from missing

if TYPE_CHECKING:  # it loads all that there is
    from interlock import app

__all__ = ["FRAMEWORK", "InterlockDurability", "call_key", "is_again", "run"]

FRAMEWORK: Final = "pydantic-ai"

_MADE_ANEW: Final = ("timestamp", "run_id", "conversation_id")


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
        return durable_steps.current.get() is not None

    def get_default_run_id(self) -> str | None:
        """As Pydantic AI has it: the same in every attempt."""
        if (turn := durable_steps.current.get()) is None:
            return None
        turn.begun += 1
        return f"{turn.steps.run.run_id}:{turn.begun}"

    async def prepare_tools(self, ctx: RunContext[Any], tool_defs: list[ToolDefinition]) -> list[ToolDefinition]:
        """As Pydantic AI has it: what a person may edit of a call is what its tool takes."""
        if (turn := durable_steps.current.get()) is not None:
            turn.schemas = {each.name: cast("JSON", each.parameters_json_schema) for each in tool_defs}
        return tool_defs

    def get_durable_operation_backend(self) -> durable_steps.Backend:
        """As Pydantic AI has it."""
        return durable_steps.Backend(self.name, self._classes, self._reconcile)

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
    loop = durable_loop.Loop(agent, prompt, {"deps": deps, "usage_limits": usage_limits}, message_history)
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
