"""What a turn wants done: written down before it is done, by whoever runs the turn."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from interlock.agents.operations import Idempotency
from interlock.agents.terms import Object, Part

Boundary: TypeAlias = Literal["input", "operations", "output"]


class Intent(Part):
    """Something to be done. The same intent of the same turn has the same key, and no other has."""

    key: str


class Judge(Intent):
    """Let the controls of a boundary look at this: at each call apart, or at the words."""

    kind: Literal["judge"] = "judge"
    boundary: Boundary
    call_ids: tuple[str, ...] = ()


class Ask(Intent):
    """Ask the model, what `Plan.request` makes of the state: it would be all that was said so far, over and over."""

    kind: Literal["ask"] = "ask"


class Consent(Intent):
    """Ask a person, about a call or (None) about the input or the output. `role` is whose yes it takes, None: the policy's."""

    kind: Literal["consent"] = "consent"
    boundary: Boundary
    call_id: str | None
    operation: str | None = None
    arguments: Object = Field(default={}, validate_default=True)
    reason: str
    control: str | None = None
    role: str | None = None


class Perform(Intent):
    """Do an operation. `idempotency` says what is to be thought of it after a crash."""

    kind: Literal["perform"] = "perform"
    call_id: str
    operation: str
    arguments: Object
    idempotency: Idempotency


class End(Intent):
    """The turn is over; its state says how."""

    kind: Literal["end"] = "end"


AnyIntent: TypeAlias = Annotated[Judge | Ask | Consent | Perform | End, Field(discriminator="kind")]
