"""The loop of an agent of Pydantic AI, run from its beginning, and past what people have decided on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from interlock import agents, inference
from interlock.bridges import durable_steps
from interlock.kernel import JSON, InterlockError, InvalidJson, canonical, check_json, digest

try:
    import pydantic_core
    from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
    from pydantic_ai import exceptions as foreign
    from pydantic_ai.durable_exec import replay_scope
    from pydantic_ai.messages import ModelMessage, ToolCallPart, UserContent
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'Pydantic AI needs a library: pip install "interlock[inference]"', name=missing.name
    ) from missing

_LATER: Final = (
    foreign.ModelRateLimitError,
    foreign.ModelUnavailableError,
    foreign.ModelServerError,
    foreign.ModelConnectionError,
)
"""What a model's provider says that may be otherwise soon."""

_MAX_SCHEMA: Final = 65_536
"""Bytes of the schema of a tool that go on record beside a question to a person."""


@dataclass
class Loop:
    """Runs the agent from its beginning, and past the calls that people have decided on."""

    agent: Agent[Any, Any]
    prompt: str | Sequence[UserContent]
    options: dict[str, Any]
    history: Sequence[ModelMessage] | None
    deferring: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.deferring = _deferring(self.agent)

    async def __call__(self, steps: agents.harness.Steps) -> agents.harness.Came:
        turn = durable_steps.Turn(steps)
        token = durable_steps.current.set(turn)
        try:
            with replay_scope():
                return await self._taken(turn)
        except InterlockError:
            raise
        except _LATER as error:
            raise inference.ModelUnavailable(f"the model has no answer now: {type(error).__name__}") from error
        except foreign.AgentRunError as error:
            raise agents.TurnFailed(f"the agent came to no end: {type(error).__name__}") from error
        finally:
            durable_steps.current.reset(token)

    async def _taken(self, turn: durable_steps.Turn) -> agents.harness.Came:
        more = {**self.options, **self.deferring}
        result = await self.agent.run(self.prompt, message_history=self.history, **more)
        while isinstance(output := result.output, DeferredToolRequests):
            if output.calls:
                names = ", ".join(each.tool_name for each in output.calls)
                raise agents.TurnFailed(f"what is done elsewhere cannot be waited for here: {names}")
            unfit = {each.tool_call_id: why for each in output.approvals if (why := _unfit(each, output.approvals))}
            wanted = [_consent(turn, each) for each in output.approvals if each.tool_call_id not in unfit]
            said = {each.call_id: turn.steps.said(each) for each in wanted}
            if missing := [each for each in wanted if said[each.call_id] is None]:
                return agents.harness.Came(consents=missing)
            approvals: dict[str, Any] = {call_id: ToolDenied(message=why) for call_id, why in unfit.items()}
            approvals |= {
                call_id: _yes(each) if each.approved else ToolDenied(message=_no(each.reason))
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


def _consent(turn: durable_steps.Turn, call: ToolCallPart) -> agents.harness.Consent:
    """Of this call alone: some models give the next one the same id, and the same arguments."""
    call_id, name, arguments = call.tool_call_id, call.tool_name, call.args_as_dict()
    key = turn.steps.numbered(f"consent:{call_id}:{digest([name, arguments])}")
    schema = turn.schemas.get(name)
    if len(canonical(schema)) > _MAX_SCHEMA:
        schema = None
    return agents.harness.Consent(key=key, call_id=call_id, name=name, arguments=arguments, schema=schema)


def _yes(said: agents.harness.Said) -> ToolApproved:
    """Pydantic AI holds what was edited against the tool, too: what does not pass there its model is told of."""
    return ToolApproved(override_args=None if said.arguments is None else dict(said.arguments))


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
