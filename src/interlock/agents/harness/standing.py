"""How a turn stands, for whoever asked for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from interlock import inference, kernel, runs
from interlock.agents import turns
from interlock.agents.errors import OperationUnclear, TurnFailed
from interlock.agents.harness.asking import Asked, plan_of
from interlock.agents.harness.sheets import Sheet
from interlock.agents.operations import Idempotency
from interlock.agents.terms import thawed
from interlock.kernel import JSON

M = TypeVar("M", bound=BaseModel)

_AGAIN: Final = (Idempotency.PURE, Idempotency.IDEMPOTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A call that a person has to say something of: a yes (`approval_id`), or what became of it (`unclear`). `call_id` None: the
    input or the output."""

    call_id: str | None
    operation: str | None
    arguments: Mapping[str, JSON]
    reason: str
    approval_id: str | None = None
    unclear: bool = False

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "call_id": self.call_id,
            "operation": self.operation,
            "arguments": dict(self.arguments),
            "reason": self.reason,
            "approval_id": self.approval_id,
            "unclear": self.unclear,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn. `answer` is what the agent said; `result` what it is by the spec's schema: as the schema's pydantic model, if this
    program has it and it takes the answer, else as JSON, which `result_json` is; `failure` says why it came to no end; `waiting`
    what a person is asked. `state` is that of its run."""

    run_id: str
    agent_id: str
    session_id: str | None
    state: runs.State
    phase: turns.Phase
    answer: str | None = None
    result: Any = None
    result_json: JSON = None
    failure: turns.Failure | None = None
    waiting: tuple[Waiting, ...] = ()
    rounds: int = 0
    operations: int = 0
    usage: inference.Usage = field(default=inference.Usage())
    worked_s: float = 0.0
    error: JSON = None
    refused: str | None = None
    """Why the pydantic model of the result's schema does not take what the schema let pass."""
    is_guest: bool = False
    """Whether its loop is another framework's: its own program goes on with it."""

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "run_id": self.run_id,
            "agent_id": self.agent_id,
            "session_id": self.session_id,
            "state": self.state.value,
            "phase": self.phase.value,
            "answer": self.answer,
            "result": self.result_json,
            "failure": None if self.failure is None else self.failure.model_dump(mode="json"),
            "waiting": [each.to_json() for each in self.waiting],
            "rounds": self.rounds,
            "operations": self.operations,
            "usage": self.usage.model_dump(mode="json"),
            "worked_s": self.worked_s,
            "error": self.error,
        }

    def result_as(self, model: type[M]) -> M:
        """The result as that model. Raises TurnFailed for one that it refuses, or that is not there."""
        if isinstance(self.result, model):
            return self.result
        try:
            return model.model_validate_json(kernel.canonical(self.result_json))
        except ValidationError as error:
            message = f"the result of {self.run_id} is no {model.__name__}: {error}"[:2000]
            raise TurnFailed(message, details={"failure": "invalid_result"}, run_id=self.run_id) from error

    def check(self) -> "Turn":
        """The turn, unless it failed. Raises TurnFailed, also for a result that its pydantic model refuses, OperationUnclear,
        RunCancelled."""
        if self.state is runs.State.CANCELLED:
            raise runs.RunCancelled(f"{self.run_id} was cancelled", run_id=self.run_id)
        if self.failure is not None:
            raise failed(self.failure, self.run_id)
        if self.state in (runs.State.FAILED, runs.State.DEAD) and isinstance(self.error, Mapping):
            raise runs.RunFailed(self.error, run_id=self.run_id)
        if self.state is runs.State.WAITING:
            raise unclear(self.run_id, self.waiting)
        if self.refused is not None:
            details: dict[str, JSON] = {"failure": "invalid_result"}
            raise TurnFailed(f"{self.run_id} has a result, and {self.refused}", details=details, run_id=self.run_id)
        return self


def failed(failure: turns.Failure, run_id: str) -> TurnFailed:
    """A failed turn as an error."""
    details = {**thawed(failure.details), "failure": failure.code}
    first = details.get("next_step")  # what mends the cause
    next_step = f"{first} {TurnFailed.next_step}" if isinstance(first, str) else None
    return TurnFailed(failure.message, details=details, next_step=next_step, run_id=run_id)


def unclear(run_id: str, waiting: tuple[Waiting, ...]) -> OperationUnclear:
    """A turn that waits for a person to say what became of something, as an error."""
    calls = [each for each in waiting if each.unclear]
    names = ", ".join(f"{each.operation} ({each.call_id})" for each in calls)
    details: dict[str, JSON] = {"operations": [each.to_json() for each in calls], "effect": "unknown"}
    next_step = OperationUnclear.next_step.replace("CALL", str(calls[0].call_id)) if len(calls) == 1 else None
    message = f"nobody can tell whether it was done: {names}"
    return OperationUnclear(message, details=details, next_step=next_step, run_id=run_id)


def turn_of(run: runs.Run, asked: Asked, sheet: Sheet | None) -> Turn:
    """The turn of a run, with where it stands (None: it was never begun)."""
    turn = Turn(
        run_id=run.run_id,
        agent_id=asked.spec.id,
        session_id=asked.session_id,
        error=run.error,
        state=run.state,
        phase=turns.Phase.NEW,
    )
    if sheet is None:
        return turn
    state, refused = sheet.state, None
    result = plain = thawed(state.result)
    try:
        result = plan_of(asked.spec).read_result(plain)
    except ValueError as error:
        refused = str(error)
    return replace(
        turn,
        phase=state.phase,
        answer=state.answer,
        result=result,
        result_json=plain,
        refused=refused,
        failure=state.failure,
        waiting=waits(run, waiting_of(sheet)),
        rounds=state.round,
        operations=state.operations_done,
        usage=state.usage,
        worked_s=round(state.worked_s, 6),
    )


def waits(run: runs.Run, found: Iterable[Waiting]) -> tuple[Waiting, ...]:
    """What of it a person can say something of now. What is begun and has no outcome is in doubt once the run waits for that;
    until then it is being done, or the next attempt deals with it."""
    if run.state in runs.FINAL:
        return ()
    return tuple(each for each in found if not each.unclear or run.state is runs.State.WAITING)


def waiting_of(sheet: Sheet) -> tuple[Waiting, ...]:
    """What a person has to say something of."""
    found: list[Waiting] = []
    for each in sheet.wanted:
        if isinstance(each, turns.Consent):
            found.append(_waiting(each, each.reason, sheet.asked.get(each.key)))
        elif isinstance(each, turns.Perform) and (off := sheet.put_off.get(each.key)) is not None:
            found.append(_waiting(each, f"policy holds {off['run_id']}", str(off["approval_id"])))
        elif isinstance(each, turns.Perform) and each.key in sheet.intended and each.idempotency not in _AGAIN:
            found.append(_waiting(each, "nobody can tell whether it was done", None, unclear=True))
    return tuple(found)


def _waiting(
    intent: turns.Consent | turns.Perform, reason: str, approval_id: str | None, *, unclear: bool = False
) -> Waiting:
    return Waiting(
        call_id=intent.call_id,
        operation=intent.operation,
        arguments=thawed(intent.arguments),
        reason=reason,
        approval_id=approval_id,
        unclear=unclear,
    )
