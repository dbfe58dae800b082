"""What watches over a turn, as data: at what goes in, at what is done, at what comes out, and how much it may take."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias, cast

from pydantic import BeforeValidator, Field

from interlock.agents.operations import Idempotency, Operation
from interlock.agents.terms import Name, Object, Part

MAX_TURNS: Final = 8
TIMEOUT_S: Final = 300.0


def _several(given: object) -> object:
    """One text stands for a list of it."""
    if isinstance(given, str):
        return (given,)
    return tuple(cast("list[object]", given)) if isinstance(given, list) else given


_Pattern: TypeAlias = Annotated[str, Field(min_length=1, max_length=300)]
_Patterns: TypeAlias = Annotated[
    tuple[_Pattern, ...],
    BeforeValidator(_several, json_schema_input_type=_Pattern | Annotated[list[_Pattern], Field(max_length=200)]),
    Field(max_length=200),
]
_Classes: TypeAlias = Annotated[
    tuple[Annotated[Idempotency, Field(strict=False)], ...],
    BeforeValidator(_several, json_schema_input_type=Idempotency | list[Idempotency]),
]


class Control(Part):
    """The use of a control, which a registry knows by its name. `options` are the control's own."""

    control: Name
    options: Object = Field(default={}, validate_default=True)
    metadata: Object = Field(default={}, validate_default=True)


class Match(Part):
    """Which operations: of each member that is given, one value must fit, and of `metadata` every pair; empty: all."""

    kind: _Patterns = ()
    name: _Patterns = ()
    source: _Patterns = ()
    """By the source's reference."""
    idempotency: _Classes = ()
    metadata: Object = Field(default={}, validate_default=True)

    def fits(self, operation: Operation) -> bool:
        """Whether it is about this operation."""
        pairs = (
            (self.kind, operation.kind),
            (self.name, operation.name),
            (self.source, operation.source.ref),
            (self.idempotency, operation.idempotency),
        )
        return all(not wanted or value in wanted for wanted, value in pairs) and all(
            name in operation.metadata and operation.metadata[name] == value for name, value in self.metadata.items()
        )


class OperationControl(Control):
    """The use of a control before operations that match."""

    match: Match = Match()


class Limits(Part):
    """What one run may take. Amounts are reserved before each call and settled after it. None: no limit of its own."""

    usd: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    model_calls: Annotated[int, Field(ge=1, le=100_000)] | None = None
    operation_calls: Annotated[int, Field(ge=1, le=100_000)] | None = None


class Controls(Part):
    """What watches over a turn. `timeout_s` counts seconds of work: waiting for a person costs none."""

    inputs: tuple[Control, ...] = Field(default=(), max_length=100)
    operations: tuple[OperationControl, ...] = Field(default=(), max_length=100)
    outputs: tuple[Control, ...] = Field(default=(), max_length=100)
    max_turns: Annotated[int, Field(ge=1, le=1000)] = MAX_TURNS
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = TIMEOUT_S
    budgets: Limits = Limits()
    metadata: Object = Field(default={}, validate_default=True)


def use(control: Control) -> tuple[str, Mapping[str, Any]]:
    """What makes one use of a control the same as another."""
    told = control.model_dump(mode="json")
    return control.control, {name: told[name] for name in told if name not in ("control", "metadata")}
