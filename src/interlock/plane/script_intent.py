"""Scripts: a small program that may compute, and ask for the actions that its intent declares. Nothing else."""

import builtins
import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from interlock.kernel import JSON, InvalidJson, canonical, check_json, digest, digest_bytes, read_json
from interlock.plane.contract import Contract, Digest, Moment, Name
from interlock.plane.intent import Intent, Milliseconds

MAX_SOURCE_BYTES: Final = 262_144
"""The longest program, in bytes of UTF-8."""

_TAKEN: Final = frozenset({*dir(builtins), *keyword.kwlist, *keyword.softkwlist})


class ScriptAction(Contract):
    """Something that a script may ask for, by calling a function of that name with named arguments. Whether it is done is
    decided anew at each call. `arguments` and `answer` are JSON Schemas (2020-12); None takes anything."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    arguments: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    max_calls: Annotated[int, Field(ge=1, le=1000)] = 1000

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name in _TAKEN:
            raise ValueError(f"{name!r} is a word of the language")
        return name

    @field_validator("arguments", "answer")
    @classmethod
    def _check_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        _as_json(schema, "schema")
        return schema


class ScriptLimits(Contract):
    """`run_ms` bounds the program's own work, `wall_ms` everything, waiting for its actions included. `memory_bytes` bounds
    what its values take, `output_bytes` what it prints, and apart from that its result; `max_actions` counts all that it
    asks for, refused or not; `recursion` counts calls within calls."""

    wall_ms: Milliseconds = 60_000
    run_ms: Milliseconds = 5_000
    memory_bytes: Annotated[int, Field(ge=1_048_576, le=2**30)] = 33_554_432
    output_bytes: Annotated[int, Field(ge=0, le=2**26)] = 65_536
    max_actions: Annotated[int, Field(ge=0, le=1000)] = 100
    recursion: Annotated[int, Field(ge=1, le=1000)] = 200


def _digest_of_source(fields: dict[str, Any]) -> str:
    return digest_bytes(fields["source"].encode())


def _size_of_source(fields: dict[str, Any]) -> int:
    return len(fields["source"].encode())


def _digest_of_input(fields: dict[str, Any]) -> str:
    return digest(fields["input"])


def _size_of_input(fields: dict[str, Any]) -> int:
    return len(canonical(fields["input"]))


class ScriptIntent(Intent):
    """One run of a program in a subset of Python. It sees `input`, and the value of its last expression is the result,
    the receipt's body in canonical JSON. `source` and `input` travel beside the record, which holds their digests and
    sizes. `moment` is the time that it sees and `seed` what its chance is drawn from (left out: when it begins, and the
    intent's digest): a script that is run again under the same of both does the same again."""

    contract: Literal["interlock.script-intent/v1"] = "interlock.script-intent/v1"
    source: SkipJsonSchema[str] = Field(default="", exclude=True, repr=False)
    source_digest: Digest = Field(default_factory=_digest_of_source)
    source_size: Annotated[int, Field(ge=0, le=MAX_SOURCE_BYTES)] = Field(default_factory=_size_of_source)
    input: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    input_digest: Digest = Field(default_factory=_digest_of_input)
    input_size: Annotated[int, Field(ge=0)] = Field(default_factory=_size_of_input)
    actions: tuple[ScriptAction, ...] = Field(default=(), max_length=100)
    limits: ScriptLimits = ScriptLimits()
    moment: Moment | None = None
    seed: Name | None = None

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        try:
            size = len(source.encode())
        except UnicodeEncodeError:
            raise ValueError("the source is not text") from None
        if size > MAX_SOURCE_BYTES:
            raise ValueError(f"the source has {size} bytes; the limit is {MAX_SOURCE_BYTES}")
        return source

    @field_validator("input")
    @classmethod
    def _check_input(cls, value: Any) -> Any:
        _as_json(value, "input")
        return value

    @model_validator(mode="after")
    def _check_actions(self) -> Self:
        names = [action.name for action in self.actions]
        if len(names) != len(set(names)):
            raise ValueError("two actions have one name")
        return self

    @property
    def total_ms(self) -> int:
        return self.limits.wall_ms

    @property
    def beside(self) -> bytes:
        return canonical({"source": self.source, "input": self.input})

    def _with(self, beside: bytes) -> Self:
        match read_json(beside):
            case {"source": source, "input": given, **rest} if not rest:
                return self.model_copy(update={"source": source, "input": given})
            case _:
                raise ValueError("a source and an input travel beside a script's record, and nothing else")

    @property
    def has_body(self) -> bool:
        """Whether the source and the input at hand are those that the record speaks of."""
        return digest_bytes(self.source.encode()) == self.source_digest and digest(self.input) == self.input_digest


def _as_json(value: object, what: str) -> None:
    try:
        check_json(value, what=what)
    except InvalidJson as error:
        raise ValueError(error.message) from error


@dataclass(frozen=True, slots=True)
class Denied:
    """The answer to an action that must not be. The script is told the reason, and may go on."""

    reason: str
    code: Name = "action_denied"


@dataclass(frozen=True, slots=True)
class Held:
    """The answer to an action that waits for a person. It ends the script: nobody knows how long that takes.
    `nothing_done` is the host's word that the action did nothing so far."""

    reason: str
    nothing_done: bool = False


@dataclass(frozen=True, slots=True)
class ScriptExecution:
    """Which script asks, and for the how-many-th time (from 1): together they name one action for good."""

    intent: ScriptIntent
    seq: int


class ActionHost(Protocol):
    """Who carries out what scripts ask for, each action admitted like any other effect."""

    async def perform(
        self, action: str, arguments: Mapping[str, JSON], execution: ScriptExecution
    ) -> JSON | Denied | Held:
        """Carry out a declared action whose arguments fit their schema, and return its answer. An InterlockError is
        told to the script, which may go on. May be cancelled."""
        ...
