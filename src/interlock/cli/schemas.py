"""JSON Schemas in words, for people who fill them in."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

_MAX_DEPTH = 8


class Field(NamedTuple):
    """One field of an object: its kind in words, whether it must be there, and what it means."""

    name: str
    kind: str
    required: bool
    about: str


def list_fields(schema: Mapping[str, Any]) -> list[Field]:
    """The fields of an object's schema, required ones first."""
    required = schema.get("required", [])
    fields = [
        Field(name, words(part, schema), name in required, _about(_resolved(part, schema)))
        for name, part in cast("Mapping[str, Any]", schema.get("properties", {})).items()
    ]
    return sorted(fields, key=lambda field: not field.required)


def kinds(schema: Mapping[str, Any], root: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that a schema lets through, as far as it says; empty: any."""
    return frozenset(_kinds(schema, root, 0))


def words(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> str:
    """What a schema asks for, in a few words: `integer from 1`, `array of string`, `open | closed`."""
    part = _resolved(schema, root)
    if depth > _MAX_DEPTH:
        return "…"
    for union in ("anyOf", "oneOf"):
        if branches := part.get(union):
            return " or ".join(dict.fromkeys(words(branch, root, depth + 1) for branch in branches))
    if options := part.get("enum"):
        return " | ".join(str(option) for option in options)
    if "const" in part:
        return f"always {part['const']!r}"
    stated = part.get("type", "any value")
    kind = stated if isinstance(stated, str) else " or ".join(cast("list[str]", stated))
    if kind == "array" and isinstance(part.get("items"), dict):
        inner = words(part["items"], root, depth + 1)
        return f"array of {inner}"
    if kind == "object" and part.get("properties") and depth < 2:
        return f"object ({', '.join(part['properties'])})"
    return kind + _bounds(part)


def _bounds(part: Mapping[str, Any]) -> str:
    least, most = part.get("minimum"), part.get("maximum")
    if least is not None and most is not None:
        return f" {least} to {most}"
    if least is not None:
        return f" from {least}"
    return f" up to {most}" if most is not None else ""


def _about(part: Mapping[str, Any]) -> str:
    about = str(part.get("description", ""))
    default = part.get("default")
    return about if default is None else f"{about} Default: {default}.".strip()


def _kinds(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Iterator[str]:
    part = _resolved(schema, root)
    for union in ("anyOf", "oneOf", "allOf"):
        for branch in part.get(union, ()) if depth < _MAX_DEPTH else ():
            yield from _kinds(branch, root, depth + 1)
    stated = part.get("type", ())
    yield from [stated] if isinstance(stated, str) else stated
    if not stated:
        options = [*part.get("enum", ()), *([part["const"]] if "const" in part else ())]
        yield from ("string" for option in options if isinstance(option, str))


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a local reference leads to; manifests are checked to have no others."""
    for _ in range(_MAX_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: Any = root
        for step in reference[2:].split("/"):
            found = found.get(step, {})
        schema = {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
    return schema
