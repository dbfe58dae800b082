"""Where a turn stands: all of it, as data. Whoever has it and the spec can go on."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from interlock import inference
from interlock.agents.terms import Object, Part


class Phase(StrEnum):
    """What a turn waits for."""

    NEW = "new"
    INPUT = "input"
    """For the controls of what goes in."""
    MODEL = "model"
    GUARD = "guard"
    """For the controls of what is to be done."""
    PERSON = "person"
    ACTION = "action"
    OUTPUT = "output"
    """For the controls of what comes out."""
    FINISHED = "finished"
    FAILED = "failed"


class Standing(StrEnum):
    """Where one call of the model stands."""

    ASKED = "asked"
    """The controls have not judged it."""
    HELD = "held"
    """A person has to say yes."""
    CLEARED = "cleared"
    """It may be done."""
    DONE = "done"
    """It has an outcome: it was done, or will not be."""


class Step(Part):
    """One call of the model. `key` is the same whenever the same call of the same turn is looked at, and of no other one."""

    call_id: str
    operation: str
    arguments: Object
    key: str
    standing: Standing = Standing.ASKED
    consented_roles: tuple[str | None, ...] = ()
    """Whose yes there is to exactly these arguments; None: that of the policy's reviewer."""
    reason: str | None = None
    """Why a person is asked."""
    control: str | None = None
    """Which control wants that; None: the operation's own approval."""
    role: str | None = None
    """Whose yes it takes; None: the policy's."""
    edited: bool = False
    """Whether a person put these arguments in the place of those that the model said."""
    outcome: str | None = None
    failed: bool = False


class Failure(Part):
    """Why a turn failed. What it had done until then stays in its state."""

    code: Literal[
        "input_blocked", "output_blocked", "control_failed", "max_turns", "timeout", "invalid_result", "refused", "no_answer",
        "model_failed", "memory_failed", "budget_exhausted", "cancelled", "outcome_unknown",
    ]  # fmt: skip
    message: str
    details: Object = Field(default={}, validate_default=True)


class Conclusion(Part):
    """What the agent is about to answer."""

    message: inference.Message
    result: Any = None


class State(Part):
    """A turn. `conversation` is what was said before it, `said` what was said in it. `worked_s` counts seconds of work; waiting
    for a person is none."""

    contract: Literal["interlock.turn/v1"] = "interlock.turn/v1"
    turn_id: str
    fingerprint: str
    phase: Phase = Phase.NEW
    round: Annotated[int, Field(ge=0)] = 0
    """How often the model was asked."""
    repairs: Annotated[int, Field(ge=0)] = 0
    """How often it was asked to put its answer right."""
    input: str = ""
    recalled: str | None = None
    absent: Object = Field(default={}, validate_default=True)
    """Operations that this turn goes without, by name, each with the reason: no model is shown them."""
    conversation: tuple[inference.Message, ...] = ()
    said: tuple[inference.Message, ...] = ()
    steps: tuple[Step, ...] = ()
    """The calls of the model's last answer, in its order."""
    asked_role: str | None = None
    """Whose yes the input or the output waits for; None: the policy's."""
    consented_roles: tuple[str | None, ...] = ()
    """Whose yes there is to the input or the output that is being judged."""
    denied: tuple[str, ...] = ()
    """What a person has said no to in this turn: nobody is asked for it again."""
    usage: inference.Usage = inference.Usage()
    operations_done: Annotated[int, Field(ge=0)] = 0
    worked_s: Annotated[float, Field(ge=0)] = 0.0
    concluded: Conclusion | None = None
    """What waits for the controls of what comes out. Once they let it pass it is the answer; else nobody is told it."""
    answer: str | None = None
    result: Any = None
    failure: Failure | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens in it."""
        return self.phase in (Phase.FINISHED, Phase.FAILED)
