"""What an agent can do, as data: what the model is shown, whose work it is, and what a second time would mean."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from interlock.agents.terms import Called, Name, Object, Part, Reference, Schema, may_lack

NO_INPUT: Final[dict[str, object]] = {"type": "object", "properties": {}, "additionalProperties": False}
"""The schema of an operation that takes nothing."""


MEMORY: Final = "memory"
"""The kind of the operations on the agent's own memory: `remember`, `recall` and `forget`."""


class Idempotency(StrEnum):
    """What it would mean to do it again, and so what happens after a crash between its start and its end."""

    PURE = "pure"
    """It changes nothing and says the same again: it is done again."""

    IDEMPOTENT = "idempotent"
    """Done twice is as good as done once: it is done again."""

    DEDUPE = "dedupe"
    """Whoever does it knows it again by its key: it is asked again with the same key."""

    RECONCILE = "reconcile"
    """Whether it was done can be found out: that is asked, and only what was not done is done."""

    UNSAFE_ONCE = "unsafe_once"
    """Nobody can tell: it is never done again by itself, and a person decides."""


class Source(Part):
    """Whose work an operation is: `kind` says who resolves `ref`. A `function` is one of a registry; third parties have kinds
    of their own. `options` are the kind's, such as the `connection` of a capability."""

    kind: Name
    ref: Reference
    options: Object = Field(default={}, validate_default=True)


class Consent(Part):
    """That a person has to say yes before it is done. `when` names a control of a registry that says whether it must be asked
    in this case; None: always. `role` is whose yes it takes, None: the policy's; it waits for `expires_after_s` seconds,
    None: as the policy says."""

    reason: Annotated[str, Field(min_length=1, max_length=200)] = "approval_required"
    message: Annotated[str, Field(max_length=2000)] | None = None
    when: Name | None = None
    role: Name | None = None
    expires_after_s: Annotated[int, Field(ge=1, le=90 * 86_400)] | None = None


class Operation(Part):
    """One thing that the agent can do. `input` and `output` are JSON Schemas, and are enforced. What a document leaves out is
    taken from the source, which is the function of that name if nothing else is said. `pinned` is what the source was when the
    spec was made, as a digest: one that has become another is not asked. None: the source has no such thing."""

    model_config = ConfigDict(json_schema_extra=may_lack("idempotency", "source"))

    name: Called
    description: Annotated[str, Field(max_length=8000)] = ""
    input: Schema = Field(default=NO_INPUT, validate_default=True)
    output: Schema | None = None
    idempotency: Idempotency
    approval: Consent | None = None
    source: Source
    pinned: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    metadata: Object = Field(default={}, validate_default=True)

    @property
    def kind(self) -> str:
        """Whose work it is, in a word: that of its source."""
        return self.source.kind
