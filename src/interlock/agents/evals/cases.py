"""Cases and what is expected of them, as a document says them."""

import re
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, Field, model_validator

from interlock import sdk
from interlock.agents.errors import InvalidSpec
from interlock.agents.terms import Called, Object, Part
from interlock.kernel import JsonLimits, read_written

CONTRACT: Final = "interlock.agent-evals/v1"
LIMITS: Final = JsonLimits(max_bytes=4_000_000, max_depth=64, max_nodes=100_000)
MAX_CASES: Final = 1000


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("must be a JSON pointer, such as /label or /items/0")
    return text


_Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_pattern)]
_Pointer = Annotated[str, Field(max_length=500), AfterValidator(_pointer)]
_Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class Words(Part):
    """What a text has to be like; all that is given has to hold. Cases of letters count."""

    contains: _Text | None = None
    lacks: _Text | None = None
    equals: Annotated[str, Field(max_length=20_000)] | None = None
    matches: _Pattern | None = None
    """A regular expression that is found in it."""


class Value(Part):
    """What a value has to be, at a JSON pointer (empty: all of it). Without `equals`, it has to be there."""

    at: _Pointer = ""
    equals: Any = None
    there: bool = True


class Call(Part):
    """A call that the model has to have asked for. `arguments` are those that it has to have among others; `times` is how often
    (None: at least once); `failed` whether it may have failed (None: it does not matter)."""

    operation: Called
    arguments: Object = Field(default={}, validate_default=True)
    times: Annotated[int, Field(ge=0, le=1000)] | None = None
    failed: bool | None = None


class Most(Part):
    """What the turn may take at most. What nobody knows (dollars of a model without a price) has not held."""

    usd: Annotated[float, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    rounds: Annotated[int, Field(ge=0)] | None = None
    operations: Annotated[int, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None


class Expectation(Part):
    """What has to hold; all of its members have to. `graded` is a question that a model answers about what came of it."""

    answer: Words | None = None
    result: Value | None = None
    state: Value | None = None
    """Of the turn's state, as `interlock agent inspect --json` shows it."""
    called: Call | None = None
    not_called: Called | None = None
    ended: Literal["completed", "held", "waiting", "failed", "cancelled", "denied", "shed"] | None = None
    failure: Annotated[str, Field(max_length=100)] | None = None
    most: Most | None = None
    graded: _Text | None = None

    @model_validator(mode="after")
    def _something(self) -> "Expectation":
        if not self.model_fields_set:
            raise ValueError("expects nothing")
        return self


class Case(Part):
    """One question to the agent. With a `script` a model says that, in order: texts, and lists of texts and calls; without, the
    suite's model is asked."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    input: _Text
    context: Object = Field(default={}, validate_default=True)
    script: Annotated[tuple[Any, ...], Field(max_length=1000)] | None = None
    expect: Annotated[tuple[Expectation, ...], Field(max_length=100)]


class Suite(Part):
    """The cases of one agent. `agent` is the file of its spec; `model` is asked in place of the spec's; `grader` is the model
    that answers what is `graded`, None: the one that was asked."""

    contract: Literal["interlock.agent-evals/v1"] = "interlock.agent-evals/v1"
    agent: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    grader: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    cases: Annotated[tuple[Case, ...], Field(max_length=MAX_CASES)]


def read_suite(text: str | bytes, *, source: str = "the cases") -> Suite:
    """The suite that a text tells, YAML or JSON. Raises InvalidSpec with all problems and their lines."""
    try:
        written = read_written(text, limits=LIMITS, what="cases")
    except ValueError as error:
        raise InvalidSpec(source, [sdk.Problem(path="$", problem=str(error))]) from error
    problems: list[sdk.Problem] = []
    found = sdk.read_part(Suite, cast("Any", written.value), "", problems)
    if found is not None and not problems:
        problems += _doubtful(found)
    if found is None or problems:
        placed = [
            replace(each, path=each.path.lstrip("."), line=written.line(each.path.lstrip("."))) for each in problems
        ]
        raise InvalidSpec(source, sorted(placed, key=lambda each: each.line or 0))
    return found


def _doubtful(suite: Suite) -> list[sdk.Problem]:
    """What is there, and means nothing."""
    names = [each.name for each in suite.cases]
    twice = [index for index, name in enumerate(names) if name in names[:index]]
    empty = [index for index, each in enumerate(suite.cases) if not each.expect]
    return [
        *([] if names else [sdk.Problem(path="cases", problem="there are none")]),
        *(sdk.Problem(path=f"cases[{at}].name", problem=f"{names[at]!r} is another case's name, too") for at in twice),
        *(sdk.Problem(path=f"cases[{at}].expect", problem="nothing is expected") for at in empty),
    ]
