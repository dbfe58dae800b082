"""What must hold for the schemas of a manifest, and for the pointers and headers that stand beside them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from interlock.sdk import pointer
from interlock.sdk.errors import Problem
from interlock.sdk.manifest import SchemaMode
from interlock.sdk.projection import SOURCES
from interlock.sdk.terms import Schema
from interlock.sdk.wire import check_header

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_POINTERS: Final = ("x-from", "x-from-input")


def schema_problems(path: str, schema: Schema, mode: SchemaMode, *, closed: bool) -> Iterator[Problem]:
    """Whether it is a schema of an object that needs nothing from elsewhere, as firm as its mode says. A closed one
    refuses what it does not name."""
    import jsonschema_rs  # here, so that importing the SDK stays quick

    try:
        jsonschema_rs.meta.validate({**schema, "$schema": _DIALECT})
        # Compiling finds what the meta-schema cannot: patterns and references.
        jsonschema_rs.Draft202012Validator({**schema, "$schema": _DIALECT}, offline=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        yield Problem(path=path, problem=f"this is no JSON Schema (2020-12): {str(error).partition(chr(10))[0]}")
        return
    if schema.get("type") != "object":
        yield Problem(path=f"{path}.type", problem="inputs, outputs and signals are objects")
    elif mode == "defined" and "properties" not in schema and schema.get("additionalProperties") is not False:
        yield Problem(path=path, problem="a defined schema names its fields", suggestion="or say schemas: dynamic")
    elif mode == "defined" and closed and schema.get("additionalProperties") is not False:
        yield Problem(path=path, problem="unknown fields must be refused", suggestion="additionalProperties: false")
    for place, node in _nodes(schema, path):
        yield from _annotation_problems(place, node)


def pointer_problems(path: str, text: str) -> Iterator[Problem]:
    """Whether the text is a JSON pointer."""
    try:
        pointer.parts(text)
    except ValueError as error:
        yield Problem(path=path, problem=str(error))


def header_problems(path: str, headers: Mapping[str, str]) -> Iterator[Problem]:
    """Whether a connector may set these headers."""
    for name, value in headers.items():
        try:
            check_header(name, value)
        except ValueError as error:
            yield Problem(path=f"{path}.{name}", problem=str(error))


def _annotation_problems(path: str, node: Schema) -> Iterator[Problem]:
    reference = node.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        yield Problem(path=f"{path}.$ref", problem=f"{reference[:100]!r} is not within this schema")
    given = [name for name in SOURCES if name in node]
    if len(given) > 1:
        yield Problem(path=path, problem=f"a property comes from one place, not from {' and '.join(given)}")
    for name in ("x-from", "x-from-header", "x-from-next", "x-from-input", "x-path"):
        value = node.get(name, "")
        if not isinstance(value, str):
            yield Problem(path=f"{path}.{name}", problem="a text is expected")
        elif name in _POINTERS:
            yield from pointer_problems(f"{path}.{name}", value)
        elif name == "x-path" and value not in ("", "slashes"):
            yield Problem(path=f"{path}.{name}", problem=f"{value!r} is not known", suggestion="x-path: slashes")


def _nodes(schema: Schema, path: str) -> Iterable[tuple[str, Schema]]:
    """The schema and all schemas in it, with their places."""
    stack: list[tuple[str, Any]] = [(path, schema)]
    while stack:
        place, node = stack.pop()
        if not isinstance(node, dict):
            continue
        found = cast("Schema", node)
        yield place, found
        for key in ("properties", "$defs"):
            stack.extend((f"{place}.{key}.{name}", part) for name, part in found.get(key, {}).items())
        for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            stack.extend((f"{place}.{key}[{index}]", part) for index, part in enumerate(found.get(key, [])))
        stack.extend((f"{place}.{key}", found[key]) for key in ("items", "additionalProperties") if key in found)
