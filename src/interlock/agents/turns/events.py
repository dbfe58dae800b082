"""What happens to a turn: the only things that change its state. Each says how many seconds of work it took."""

from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from interlock import inference
from interlock.agents.terms import Object, Part


class Event(Part):
    """Something that happened. `took_s` is work; waiting for a person is none."""

    took_s: Annotated[float, Field(ge=0)] = 0.0


class Began(Event):
    """Somebody said something. `recalled` is what memory has to say about it: data, whoever wrote it once; `absent` are
    operations that cannot be asked for now, by name, each with the reason."""

    kind: Literal["began"] = "began"
    input: str
    conversation: tuple[inference.Message, ...] = ()
    recalled: str | None = None
    absent: Object = Field(default={}, validate_default=True)


class Verdict(StrEnum):
    """What a control says."""

    ALLOW = "allow"
    BLOCK = "block"
    INTERRUPT = "interrupt"
    """A person has to say yes first."""
    ERROR = "error"
    """It could not judge."""


class Judgement(Part):
    """What the controls say of one thing: `call_id` is None for an input or an output. The strictest counts: a person is asked
    only for what none of them refuses."""

    call_id: str | None = None
    verdict: Verdict
    control: str | None = None
    reason: str | None = None
    role: str | None = None
    """Whose yes it takes, where a person has to say it; None: the policy's."""


class Judged(Event):
    """The controls have looked at all that they were shown."""

    kind: Literal["judged"] = "judged"
    judgements: tuple[Judgement, ...]


class Answered(Event):
    """The model has answered."""

    kind: Literal["answered"] = "answered"
    answer: inference.Answer


class Decided(Event):
    """A person has decided on a call (None: on the input or the output). `arguments` are those that they put in its place."""

    kind: Literal["decided"] = "decided"
    call_id: str | None = None
    approved: bool
    reason: str | None = None
    arguments: Object | None = None


class Performed(Event):
    """An operation has an outcome: what it returned or said, as text that the model can read."""

    kind: Literal["performed"] = "performed"
    call_id: str
    text: str
    failed: bool = False


class Stopped(Event):
    """The turn cannot go on, and why."""

    kind: Literal["stopped"] = "stopped"
    code: Literal["model_failed", "memory_failed", "budget_exhausted", "cancelled", "timeout", "outcome_unknown"]
    message: str
    details: Object = Field(default={}, validate_default=True)


AnyEvent: TypeAlias = Annotated[Began | Judged | Answered | Decided | Performed | Stopped, Field(discriminator="kind")]
