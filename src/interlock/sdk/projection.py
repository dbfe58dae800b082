"""From a service's answer to an operation's output, as the output schema's annotations say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from interlock.kernel import JSON, InvalidJson, JsonLimits, check_json
from interlock.sdk import pointer
from interlock.sdk.errors import EffectState, UnexpectedAnswer
from interlock.sdk.pointer import MISSING, Missing
from interlock.sdk.terms import Schema

SOURCES: Final = ("x-from", "x-from-header", "x-from-next", "x-from-input", "x-from-subject", "x-const")
"""The annotations that say where a property comes from; at most one stands on a property."""

_LIMITS: Final = JsonLimits(max_bytes=64 * 1_048_576, max_depth=64, max_nodes=2_000_000)
_CONTROL: Final = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All that an output can be made of."""

    body: JSON
    headers: tuple[tuple[str, str], ...] = ()
    next_page: Mapping[str, str] = field(default_factory=dict[str, str])
    input: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    subject: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    """Pointers into the body that replace those of the schema's own properties (by name)."""


def project(schema: Schema, source: Source, *, effect: EffectState) -> JSON:
    """The output. What the answer lacks is left out, so that validation can name it; null is left out where the schema
    does not allow it; control characters in texts become U+FFFD.

    Raises UnexpectedAnswer, with that effect, for values that cannot be kept: too deep, integers beyond ±(2⁵³-1).
    """
    try:
        value = _printable(_object(schema, source.body, source, schema, top=True), 1)
        check_json(value, limits=_LIMITS, what="answer")
    except (InvalidJson, RecursionError) as error:
        raise UnexpectedAnswer(f"the answer cannot be kept: {error}", effect=effect) from error
    return value


def project_body(schema: Schema, body: JSON, *, headers: tuple[tuple[str, str], ...]) -> JSON:
    """The data of a signal: as an output, of a request that came. Raises UnexpectedAnswer."""
    return project(schema, Source(body=body, headers=headers), effect="none")


def ordered(schema: Schema, value: JSON, *, root: Schema | None = None) -> JSON:
    """The same output, its fields in the order in which the schema declares them, and then what it does not declare, by name:
    for the canonical JSON in which an output is kept says nothing of order."""
    root = schema if root is None else root
    schema = _resolved(schema, root) if isinstance(cast("object", schema), dict) else {}  # a schema may also be `true`
    if isinstance(value, Mapping):
        fields, parts = cast("Mapping[str, JSON]", value), cast("Mapping[str, Schema]", schema.get("properties", {}))
        names = [*(name for name in parts if name in fields), *sorted(fields.keys() - parts.keys())]
        return {name: ordered(parts.get(name, {}), fields[name], root=root) for name in names}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [ordered(schema.get("items", {}), each, root=root) for each in cast("Sequence[JSON]", value)]
    return value


def _project(schema: Schema, node: JSON, source: Source, root: Schema) -> JSON:
    schema = _resolved(schema, root)
    if "properties" in schema and isinstance(node, Mapping):
        return _object(schema, cast("Mapping[str, JSON]", node), source, root)
    items = schema.get("items")
    if isinstance(items, dict) and isinstance(node, Sequence) and not isinstance(node, str):
        return [_project(cast("Schema", items), item, source, root) for item in cast("Sequence[JSON]", node)]
    return node


def _object(schema: Schema, node: JSON, source: Source, root: Schema, *, top: bool = False) -> JSON:
    if "properties" not in schema:
        return node
    output: dict[str, JSON] = {}
    for name, part in cast("Mapping[str, Schema]", schema["properties"]).items():
        override = source.overrides.get(name) if top else None
        value = pointer.get(node, override) if override is not None else _find(name, part, node, source)
        nullable = _allows_null(part, root)
        if isinstance(value, Missing):
            if not nullable or name not in schema.get("required", ()):
                continue
            value = None
        if value is None and not nullable:
            continue
        output[name] = _project(part, value, source, root)
    return output


def _find(name: str, part: Schema, node: JSON, source: Source) -> JSON | Missing:
    if "x-const" in part:
        return cast("JSON", part["x-const"])
    if "x-from-input" in part:
        return pointer.get(source.input, part["x-from-input"])
    if "x-from-subject" in part:
        return MISSING if source.subject is None else source.subject
    if "x-from-header" in part:
        found = next((value for key, value in source.headers if key == part["x-from-header"]), None)
        return MISSING if found is None else _typed(part, found)
    if "x-from-next" in part:
        text = source.next_page.get(part["x-from-next"])
        return MISSING if text is None else _typed(part, text)
    return pointer.get(node, part.get("x-from", "/" + name.replace("~", "~0").replace("/", "~1")))


def _typed(part: Schema, text: str) -> JSON:
    """Headers and link parameters are text; an integer is made of them where the schema asks for one."""
    types = {part.get("type"), *(branch.get("type") for branch in part.get("anyOf", ()))}
    is_number = "integer" in types and text.isascii() and text.isdecimal() and len(text) < 16
    return int(text) if is_number else text


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema behind a local reference, or the branch of an alternative that is not null."""
    for _ in range(16):
        if "$ref" in schema:
            target = pointer.get(root, str(schema["$ref"]).removeprefix("#"))
            schema = cast("Schema", target) if isinstance(target, dict) else {}
        elif "anyOf" in schema and "properties" not in schema:
            branches = [branch for branch in cast("list[Schema]", schema["anyOf"]) if branch.get("type") != "null"]
            if len(branches) != 1:
                return schema
            schema = branches[0]
        else:
            break
    return schema


def _allows_null(schema: Schema, root: Schema) -> bool:
    branches = cast("list[Schema]", schema.get("anyOf", [schema]))
    for branch in branches:
        kind = (_resolved(branch, root) if "$ref" in branch else branch).get("type", "any")
        if kind in ("null", "any") or (isinstance(kind, list) and "null" in kind):
            return True
    return False


def _printable(value: JSON, depth: int) -> JSON:
    if depth > _LIMITS.max_depth:
        raise InvalidJson(f"the answer is nested deeper than {_LIMITS.max_depth} levels")
    if isinstance(value, str):
        return value if value.isprintable() else value.translate(_CONTROL)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {
            name if name.isprintable() else name.translate(_CONTROL): _printable(item, depth + 1)
            for name, item in cast("Mapping[str, JSON]", value).items()
        }
    return [_printable(item, depth + 1) for item in value]
