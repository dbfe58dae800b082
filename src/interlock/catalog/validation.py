"""Values against JSON Schemas: every mismatch, with the place, what is expected, what is there, and the nearest name."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from interlock import sdk
from interlock.catalog import words
from interlock.catalog.errors import Mismatch
from interlock.kernel import JSON

if TYPE_CHECKING:
    import jsonschema_rs

_MOST: Final = 50
_TELLS_APART: Final = frozenset({"type", "const", "enum"})
"""Keywords by which an alternative shows at once that it was not the one that was meant."""

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


def _mismatches(error: "jsonschema_rs.ValidationError", schema: sdk.Schema) -> Iterator[Mismatch]:
    kind, instance = cast("Any", error.kind), cast("Any", error.instance)
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
    if kind.name == "required":
        yield Mismatch(path=f"{path}.{kind.property}", expected="a required field", got="nothing")
    elif kind.name in ("additionalProperties", "unevaluatedProperties"):
        known = list(cast("Mapping[str, JSON]", _at(schema, error.schema_path[:-1]).get("properties", {})))
        for name in cast("list[str]", kind.unexpected)[:_MOST]:
            near = _nearest(name, known)
            hint = near or (f"there are {', '.join(sorted(known)[:30])}" if known else None)
            yield Mismatch(path=f"{path}.{name[:100]}", expected="no such field", got=None, suggestion=hint)
    elif (meant := _meant(error)) is not None:
        for each in meant:
            yield from _mismatches(each, schema)
    else:
        options = [each for each in kind.options if isinstance(each, str)] if kind.name == "enum" else []
        hint = _nearest(instance, options) if isinstance(instance, str) else None
        if kind.name == "pattern":  # its author's words say more than the pattern does
            about = _at(schema, error.schema_path[:-1]).get("description")
            hint = about.partition("\n")[0][:100] if isinstance(about, str) else None
        yield Mismatch(path=path, expected=words.expectation(kind), got=words.given(instance), suggestion=hint)


def _meant(error: "jsonschema_rs.ValidationError") -> "list[jsonschema_rs.ValidationError] | None":
    """Of alternatives that all fail, what is wrong with the only one that the value can have been meant for."""
    kind = cast("Any", error.kind)
    if kind.name not in ("anyOf", "oneOf"):
        return None
    branches = cast("list[list[jsonschema_rs.ValidationError]]", kind.context)
    meant = [
        branch
        for branch in branches
        if branch
        and not any(each.kind.name in _TELLS_APART and each.instance_path == error.instance_path for each in branch)
    ]
    return meant[0] if len(meant) == 1 else None


def _nearest(name: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else None


def _at(schema: sdk.Schema, way: Iterable[str | int]) -> Any:
    """The part of the schema at a validator's path; references are already followed in it."""
    node: Any = schema
    for part in way:
        node = node[part]
    return node
