"""What a turn was like, for holding it against what is expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock import inference
from interlock.agents import turns
from interlock.agents.terms import thawed
from interlock.kernel import JSON, InvalidJson, parse_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A call that the model asked for. `arguments` is None for what was no JSON object; `outcome` for what has none."""

    operation: str
    arguments: Mapping[str, JSON] | None
    outcome: str | None
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A turn, as its journal tells it. `ended` is its run's state; `usd` None: nobody knows."""

    run_id: str
    ended: str
    answer: str | None
    result: JSON
    failure: str | None
    calls: tuple[Called, ...]
    rounds: int
    operations: int
    tokens: int
    seconds: float
    usd: float | None
    state: Mapping[str, JSON] = field(default_factory=dict[str, JSON])


def seen(state: turns.State, *, run_id: str, ended: str, usd: float | None) -> Seen:
    """A turn from its state."""
    return Seen(
        run_id=run_id,
        ended=ended,
        answer=state.answer,
        result=thawed(state.result),
        failure=None if state.failure is None else state.failure.code,
        calls=_calls(state),
        rounds=state.round,
        operations=state.operations_done,
        tokens=state.usage.tokens,
        seconds=state.worked_s,
        usd=usd,
        state=state.model_dump(mode="json"),
    )


def _calls(state: turns.State) -> tuple[Called, ...]:
    outcomes = {part.call_id: part for each in state.said for part in each.parts if isinstance(part, inference.Outcome)}
    return tuple(_called(call, outcomes.get(call.call_id)) for each in state.said for call in each.calls)


def _called(call: inference.Call, outcome: inference.Outcome | None) -> Called:
    try:
        arguments = parse_json(call.arguments or "{}", what="arguments")
    except InvalidJson:
        arguments = None
    return Called(
        operation=call.name,
        arguments=arguments if isinstance(arguments, dict) else None,
        outcome=None if outcome is None else outcome.text,
        failed=outcome is not None and outcome.failed,
    )
