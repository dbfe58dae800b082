"""A workflow as data: steps, one after the other, each an operation or a gate, and what goes from one to the next."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field, model_validator

from interlock import sdk
from interlock.agents.checking import schema_problems
from interlock.agents.errors import OperationFailed
from interlock.agents.operations import NO_INPUT, Source
from interlock.agents.terms import Called, Name, Object, Part, Schema, frozen, thawed
from interlock.kernel import JSON

MOST_STEPS: Final = 50
MOST_ITEMS: Final = 200

_Path = Annotated[str, Field(pattern=r"^[A-Za-z_][\w-]*(\.[\w-]+)*$", max_length=300)]


class From(Part):
    """Where a value is: `input.repo`, a step's output (`find.items.0`), or `item` within a step that maps."""

    path: _Path = Field(alias="from")


class Gate(From):
    """The workflow goes on only if the value is there and true or, where one is given, `equals` that or `contains` it."""

    equals: Any = None
    contains: Any = None


class Retry(Part):
    """How often a step that failed, and may be tried later, is tried, in which pauses: `pause_s`, and then twice as long each."""

    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    pause_s: Annotated[float, Field(ge=0, le=60)] = 1.0


class Step(Part):
    """An operation (`source`) with these arguments, for each item of a list where it has a `map`; or a `gate`."""

    name: Called
    source: Source | None = None
    arguments: Object = Field(default={}, validate_default=True, alias="with")
    map: From | None = None
    gate: Gate | None = None
    retry: Retry = Retry(max_attempts=1)

    @model_validator(mode="after")
    def _check(self) -> "Step":
        if (self.source is None) is (self.gate is None):
            raise ValueError("a step has a `source` or a `gate`, one of both")
        if self.gate is not None and (self.map is not None or self.arguments):
            raise ValueError("a gate has no `map` and no `with`")
        return self


class Workflow(Part):
    """Its `output` is made as arguments are; without one it is what the last step returned."""

    contract: Literal["interlock.workflow/v1"]
    id: Name
    description: Annotated[str, Field(max_length=8000)] = ""
    input: Schema = Field(default=NO_INPUT, validate_default=True)
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)]
    output: Object | None = None

    def problems(self) -> Iterator[sdk.Problem]:
        """What contradicts itself: names that stand twice, and values that are from nowhere."""
        yield from schema_problems("input", self.input)
        known = {"input"}
        for index, each in enumerate(self.steps):
            where = f"steps[{index}]"
            if each.name in {*known, "item"}:
                yield sdk.Problem(path=f"{where}.name", problem=f"{each.name!r} stands for something else already")
            sources = [] if each.map is None else [each.map.path]
            sources += [] if each.gate is None else [each.gate.path]
            within = {*known, "item"} if each.map is not None else known
            yield from _astray(where, sources, known)
            yield from _astray(f"{where}.with", paths_in(each.arguments), within)
            known.add(each.name)
        if self.output is not None:
            yield from _astray("output", paths_in(self.output), known)


def _astray(where: str, paths: Sequence[str], known: set[str]) -> Iterator[sdk.Problem]:
    for path in paths:
        if path.partition(".")[0] not in known:
            yield sdk.Problem(path=where, problem=f"{path!r} is from nowhere; there are {', '.join(sorted(known))}")


def paths_in(value: object) -> list[str]:
    """Where the values of a template are."""
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        if (path := _path(members)) is not None:
            return [path]
        return [path for each in members.values() for path in paths_in(each)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [path for each in cast("Sequence[object]", value) for path in paths_in(each)]
    return []


def filled(template: object, values: Mapping[str, JSON]) -> JSON:
    """A template with its values. Raises OperationFailed for one that is not there."""
    if isinstance(template, Mapping):
        members = cast("Mapping[str, object]", template)
        if (path := _path(members)) is not None:
            return found(path, values)
        return {name: filled(each, values) for name, each in members.items()}
    if isinstance(template, Sequence) and not isinstance(template, str):
        return [filled(each, values) for each in cast("Sequence[object]", template)]
    return cast("JSON", template)


def found(path: str, values: Mapping[str, JSON]) -> JSON:
    """The value there. Raises OperationFailed if there is none."""
    place: JSON = dict(values)
    for step in path.split("."):
        if isinstance(place, Mapping) and step in place:
            place = cast("Mapping[str, JSON]", place)[step]
        elif isinstance(place, list | tuple) and step.isdecimal() and int(step) < len(place):
            place = cast("Sequence[JSON]", place)[int(step)]
        else:
            raise OperationFailed(f"there is no value {path}")
    return place


def holds(gate: Gate, values: Mapping[str, JSON]) -> bool:
    """Whether the workflow goes on."""
    try:
        value = found(gate.path, values)
    except OperationFailed:
        return False
    if gate.equals is not None:
        return bool(frozen(value) == frozen(gate.equals))
    if gate.contains is not None:
        wanted = frozen(gate.contains)
        return isinstance(value, Sequence) and wanted in (value if isinstance(value, str) else frozen(value))
    return bool(value)


def _path(members: Mapping[str, object]) -> str | None:
    path = members.get("from")
    return path if len(members) == 1 and isinstance(path, str) else None


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as a template."""
    return cast("dict[str, Any]", thawed(value))
