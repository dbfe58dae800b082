"""Values against JSON Schemas: every mismatch, with the place, what is expected, what is there, and the nearest name."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from interlock import sdk
from interlock.catalog.errors import Mismatch
from interlock.kernel import JSON

if TYPE_CHECKING:
    import jsonschema_rs

_MOST: Final = 50

Validate = Callable[[JSON], list[Mismatch]]


def compiled(schema: sdk.Schema) -> Validate:
    """A function that lists what is wrong with a value (at most 50 places)."""
    import jsonschema_rs  # here, so that listing capabilities stays quick

    # The mask keeps values out of messages: an input may hold what should not be repeated in logs.
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True, mask="the value", offline=True)

    def validate(value: JSON) -> list[Mismatch]:
        if validator.is_valid(value):
            return []
        found: list[Mismatch] = []
        for error in validator.iter_errors(value):
            found.extend(_mismatches(error, schema))
            if len(found) >= _MOST:
                break
        return found[:_MOST]

    return validate


def _mismatches(error: "jsonschema_rs.ValidationError", schema: sdk.Schema) -> Iterable[Mismatch]:
    kind = cast("Any", error.kind)
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
    if kind.name == "required":
        yield Mismatch(path=f"{path}.{kind.property}", expected="a required field", got="nothing")
    elif kind.name == "additionalProperties":
        known = list(cast("Mapping[str, JSON]", _at(schema, error.schema_path[:-1]).get("properties", {})))
        for name in cast("list[str]", kind.unexpected)[:_MOST]:
            near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known)[:30])}"
            yield Mismatch(path=f"{path}.{name[:100]}", expected="no such field", got="a value", suggestion=hint)
    else:
        yield Mismatch(path=path, expected=_expectation(kind), got=_type_name(cast("JSON", error.instance)))


def _expectation(kind: Any) -> str:
    """What a schema keyword asks for, in words as short as the keyword."""
    if kind.name == "type":
        return " or ".join(cast("list[str]", kind.types))
    if kind.name == "enum":
        return f"one of {', '.join(str(each) for each in cast('list[JSON]', kind.options)[:30])}"
    if kind.name in ("anyOf", "oneOfNotValid"):
        branches = cast("list[list[jsonschema_rs.ValidationError]]", kind.context)
        return " or ".join(dict.fromkeys(_expectation(each.kind) for branch in branches for each in branch[:1]))
    values = [str(value)[:200] for value in cast("dict[str, object]", kind.as_dict()).values()]
    return " ".join([kind.name, *values])


def _at(schema: sdk.Schema, way: Iterable[str | int]) -> Any:
    """The part of the schema at a validator's path; references are already followed in it."""
    node: Any = schema
    for part in way:
        node = node[part]
    return node


def _type_name(value: JSON) -> str:
    if value is None:
        return "null"
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (Mapping, "object")):
        if isinstance(value, kind):
            return name
    return "array"
