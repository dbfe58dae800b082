"""An agent as data: all that a run of it depends on, and nothing that lives."""

import operator
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import AfterValidator, ConfigDict, Field

from interlock import kernel
from interlock.agents.controls import Controls
from interlock.agents.operations import Operation
from interlock.agents.terms import Name, Object, Part, Schema, Words, may_lack
from interlock.kernel import JSON

CONTRACT: Final = "interlock.agent/v1"
MAX_OPERATIONS: Final = 200


_MODEL: Final = r"[a-z][a-z0-9_-]*:[^\s\x00-\x1f\x7f]+"


def _model(text: str) -> str:
    if not re.fullmatch(_MODEL, text):
        raise ValueError("must be provider:name, such as openai:gpt-4o-mini")
    return text


class Params(Part):
    """How a model is asked, in the words that models have in common. None leaves it to the provider."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1, le=100_000)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    stop: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=16)] = ()
    tool_choice: Literal["auto", "required", "none"] | None = None
    parallel_operations: bool | None = None
    """Whether the model may ask for several operations at once."""


class Generation(Part):
    """How the model is asked. `provider_options` go to the provider as they are; `extra` goes nowhere, and is for readers."""

    params: Params = Params()
    provider_options: Object = Field(default={}, validate_default=True)
    extra: Object = Field(default={}, validate_default=True)


class Result(Part):
    """What the answer must be. An answer that is not is sent back to the model with what is wrong, `max_repairs` times."""

    json_schema: Schema = Field(alias="schema")
    max_repairs: Annotated[int, Field(ge=0, le=20)] = 1
    metadata: Object = Field(default={}, validate_default=True)


class Scope(StrEnum):
    """Whose memory it is: the agent's, across its sessions, or the session's alone."""

    AGENT = "agent"
    SESSION = "session"


class Capture(StrEnum):
    """What is learned from a turn: what operations and code remember, also what was said, or nothing."""

    MANUAL = "manual"
    CONVERSATION = "conversation"
    OFF = "off"


class Inject(StrEnum):
    """Where recalled memory is shown to the model; in both places it is data, and no instruction."""

    INSTRUCTIONS = "instructions"
    CONTEXT = "context"


class Memory(Part):
    """What the agent remembers. `namespace` keeps apart what agents of one tenant would else share. If recalling fails a turn
    goes on without, unless its memory is `required`: then it fails."""

    scope: Scope = Scope.AGENT
    namespace: Annotated[str, Field(min_length=1, max_length=130, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    capture: Capture = Capture.MANUAL
    inject: Inject = Inject.INSTRUCTIONS
    max_entries: Annotated[int, Field(ge=1, le=1000)] = 5
    required: Annotated[bool, Field(exclude_if=operator.not_)] = False
    metadata: Object = Field(default={}, validate_default=True)


class Conversation(Part):
    """What of its session's earlier turns a turn is told: the last `turns` of them, as far as they take about so many `tokens`.
    With `compact`, the agent's model sums up the older ones, instead of their being left out."""

    turns: Annotated[int, Field(ge=1, le=1000)] = 50
    tokens: Annotated[int, Field(ge=100, le=10_000_000)] = 32_000
    compact: bool = False


class Runtime(Part):
    """What a run takes unless it is told otherwise. Seconds count for one call each."""

    parallel_operations: Annotated[int, Field(ge=1, le=100)] = 8
    model_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    operation_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    conversation: Conversation = Conversation()


class Spec(Part):
    """An agent. Two specs with the same fingerprint are the same agent, however they were written."""

    model_config = ConfigDict(json_schema_extra=may_lack("contract", "model", "generation"))

    contract: Literal["interlock.agent/v1"]
    id: Name
    instructions: Words
    model: Annotated[str, Field(max_length=200, json_schema_extra={"pattern": f"^{_MODEL}$"}), AfterValidator(_model)]
    """`provider:name`."""
    generation: Generation
    context_schema: Schema | None = None
    result: Result | None = None
    memory: Memory | None = None
    operations: Annotated[tuple[Operation, ...], Field(max_length=MAX_OPERATIONS)] = ()
    controls: Controls = Controls()
    runtime_defaults: Runtime = Runtime()
    metadata: Object = Field(default={}, validate_default=True)

    def to_json(self) -> dict[str, JSON]:
        """The spec as a document, from which the same one is read. What is empty is left out, defaults are not."""
        told = _full(self.model_dump(mode="json", by_alias=True))
        told.setdefault("generation", {})  # one that says nothing is not one that was left out
        return told

    @cached_property
    def fingerprint(self) -> str:
        """`sha256:<hex>` over the whole spec."""
        return kernel.digest(self.to_json())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, whose fingerprint is its own."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("fingerprint", None)
        return copied

    def find_operation(self, name: str) -> Operation | None:
        """The operation of that name."""
        return next((each for each in self.operations if each.name == name), None)

    def __hash__(self) -> int:
        return hash(self.fingerprint)


_AS_GIVEN: Final = frozenset(
    {"schema", "input", "output", "context_schema", "options", "provider_options", "extra", "metadata"}
)
"""Members that hold whatever their author wrote: nothing is left out within them."""


def _full(told: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value if name in _AS_GIVEN else _part(value) for name, value in told.items()}
    return {name: value for name, value in known.items() if value is not None and value not in ({}, [])}


def _part(value: object) -> object:
    if isinstance(value, Mapping):
        return _full(cast("Mapping[str, Any]", value))
    if isinstance(value, list):
        return [_part(each) for each in cast("list[object]", value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # as canonical JSON writes it
    return value
