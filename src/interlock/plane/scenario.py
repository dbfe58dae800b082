"""Scenarios: what answers instead of the world, written down. Rules are tried in order, the first that fits answers."""

import base64
import binascii
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from interlock.kernel import ConfigurationError, InvalidJson, JsonLimits, canonical, check_json, parse_json, parse_yaml
from interlock.plane.contract import Contract, Name
from interlock.plane.failures import FailureClass
from interlock.plane.intent import Intent
from interlock.plane.receipt import Delivery, Fact

LIMITS: Final = JsonLimits(max_bytes=4_194_304)
"""How large a scenario may be."""

Delay = Annotated[int, Field(ge=0, le=3_600_000)]


class InvalidScenario(ConfigurationError):
    """A scenario cannot be used. All problems are in `problems` and in `details`."""

    code = "invalid_scenario"
    next_step = "Correct every place that the message names; they are all listed."

    def __init__(self, source: str, problems: Collection[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems[:50])
        super().__init__(
            f"the scenario from {source} has {len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}:\n{lines}",
            details={"source": source, "problems": list(self.problems)},
        )


class ScenarioMatcher(Contract):
    """Which intents are meant: those of a kind (`http`, `process` …), whose recorded fields fit, and whose body is JSON with
    fitting values at these JSON pointers. A `fields` name may lead inside (`transport.argv`). In a text `*` stands for
    anything; a list fits item by item, and `**` as its last item stands for the rest; an object fits if each of its
    members does; other values are equal."""

    kind: Name
    fields: dict[str, Any] = Field(default_factory=dict)
    body: dict[Annotated[str, Field(pattern=r"^(/.*)?$")], Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = kinds()
        if self.kind not in known:
            raise ValueError(f"there is no kind {self.kind!r} of intent; there are {', '.join(sorted(known))}")
        fields = known[self.kind].model_fields
        unknown = [
            name for name in self.fields if (field := fields.get(name.partition(".")[0])) is None or field.exclude
        ]
        if unknown:
            raise ValueError(f"an intent of kind {self.kind!r} records no {', '.join(map(repr, unknown))}")
        return self


class ScenarioContent(Contract):
    """Bytes, written as a text, as JSON, or in base64."""

    text: str | None = None
    json_value: Any = Field(default=None, alias="json")
    base64: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({"text", "json_value", "base64"} & self.model_fields_set) > 1:
            raise ValueError("it is written as one of `text`, `json` and `base64`")
        try:
            assert self.data is not None
        except binascii.Error:
            raise ValueError("`base64` is not base64") from None
        return self

    @property
    def data(self) -> bytes:
        """The bytes; none if nothing is written."""
        if self.text is not None:
            return self.text.encode()
        if self.base64 is not None:
            return base64.b64decode(self.base64, validate=True)
        return canonical(self.json_value) if "json_value" in self.model_fields_set else b""


class ScenarioOutput(ScenarioContent):
    """One thing that is said on a stream, after a delay, or after the next piece of input has come."""

    stream: Name
    facts: dict[str, Fact] = Field(default_factory=dict)
    delay_ms: Delay = 0
    after_input: bool = False


class ScenarioFailure(Contract):
    """How it fails. `delivery` is what is known then; otherwise it follows from the class: nothing was sent if that is what
    the class says, and the rest is unknown unless there is an answer."""

    failure_class: FailureClass = Field(alias="class")
    code: Name | None = None
    message: str = "simulated"
    delivery: Delivery | None = None


class ScenarioAnswer(ScenarioContent):
    """What comes back. The body is the content; where an intent's lane streams, that is said on its main stream, after
    `output`. `facts` are those of the lane (`exit_code`, `close_code` …)."""

    status: Annotated[int, Field(ge=100, le=999)] | None = None
    headers: dict[Name, str] = Field(default_factory=dict)
    output: tuple[ScenarioOutput, ...] = ()
    facts: dict[str, Fact] = Field(default_factory=dict)
    failure: ScenarioFailure | None = None


class ScenarioRule(Contract):
    """Who is answered, how often at most, after how long, and with what."""

    when: ScenarioMatcher
    times: Annotated[int, Field(ge=1)] | None = None
    delay_ms: Delay = 0
    answer: ScenarioAnswer


class Scenario(Contract):
    """A world that is made up. An intent that no rule answers fails, since it was not thought of."""

    contract: Literal["interlock.scenario/v1"] = "interlock.scenario/v1"
    name: Name
    rules: tuple[ScenarioRule, ...] = Field(max_length=10_000)

    def record(self) -> dict[str, Any]:
        """As it is written in a file."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def kinds() -> dict[str, type[Intent]]:
    """The kinds of intents that there are, by the words that contracts use for them."""
    return {name.removeprefix("interlock.").partition("-intent/")[0]: kind for name, kind in Intent.kinds().items()}


def parse_scenario(text: str | bytes, *, source: str = "a text") -> Scenario:
    """The scenario in a text: JSON if it starts with `{`, otherwise YAML without anchors, aliases, tags and repeated keys.
    Raises InvalidScenario with all problems; `source` names the origin in messages."""
    try:
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(raw) > LIMITS.max_bytes:
            raise InvalidScenario(source, [f"$: it is larger than {LIMITS.max_bytes} bytes"])
        plain = raw.decode("utf-8-sig")
        if plain.lstrip().startswith("{"):
            value: object = parse_json(plain, limits=LIMITS, what="scenario", unique=True)
        else:
            value = parse_yaml(plain, limits=LIMITS, what="scenario")
            check_json(value, limits=LIMITS, what="scenario")
        return Scenario.model_validate_json(canonical(value))
    except ValidationError as error:
        raise InvalidScenario(source, [_problem(each) for each in error.errors(include_url=False)]) from error
    except InvalidJson as error:
        raise InvalidScenario(source, [f"$: {error.message}"]) from error
    except ValueError as error:
        raise InvalidScenario(source, [f"$: {error}"]) from error


def _problem(error: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return f"${path}: {str(error['msg']).removeprefix('Value error, ')}"
