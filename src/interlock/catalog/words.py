"""What a schema expects and what was given, in words. Of a text no more is said than its length: it may be a secret."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from interlock.kernel import JSON

if TYPE_CHECKING:
    import jsonschema_rs

_MOST_OPTIONS: Final = 20
_MOST_CHARACTERS: Final = 40

_TYPES: Final = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FORMATS: Final = {
    "date-time": "a moment such as 2026-01-31T12:00:00Z",
    "date": "a date such as 2026-01-31",
    "email": "an e-mail address",
    "uri": "an address such as https://example.com/page",
    "uuid": "a UUID",
}


def expectation(kind: Any) -> str:
    """What the keyword of a validator's error asks for; a keyword without words of its own stands for itself."""
    say = _KEYWORDS.get(kind.name)
    return str(kind.name) if say is None else say(kind)


def given(value: JSON) -> str:
    """A number as it is; of anything else what it is and how large."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)[:_MOST_CHARACTERS]
    if isinstance(value, str):
        return f"a text of {_count(len(value), 'character')}" if value else "an empty text"
    if isinstance(value, Mapping):
        return f"an object of {_count(len(value), 'field')}" if value else "an empty object"
    return f"a list of {_count(len(value), 'item')}" if value else "an empty list"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _shown(option: JSON) -> str:
    text = option if isinstance(option, str) else json.dumps(option, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _type(kind: Any) -> str:
    kinds = [words for name, words in _TYPES.items() if name in kind.types]
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]] if kinds[1:] else kinds)


def _enum(kind: Any) -> str:
    options = [_shown(option) for option in cast("list[JSON]", kind.options)[:_MOST_OPTIONS]]
    return f"one of {', '.join([*options, *(['…'] if len(kind.options) > _MOST_OPTIONS else [])])}"


def _alternatives(kind: Any) -> str:
    branches = cast("list[list[jsonschema_rs.ValidationError]]", kind.context)
    if not all(branches):  # several fit a oneOf
        return "only one of its alternatives"
    return " or ".join(dict.fromkeys(expectation(each.kind) for branch in branches for each in branch[:1]))


_KEYWORDS: Final[dict[str, Callable[[Any], str]]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda kind: f"exactly {_shown(kind.expected_value)}",
    "required": lambda kind: f"an object with {kind.property}",
    "minimum": lambda kind: f"at least {kind.limit}",
    "maximum": lambda kind: f"at most {kind.limit}",
    "exclusiveMinimum": lambda kind: f"more than {kind.limit}",
    "exclusiveMaximum": lambda kind: f"less than {kind.limit}",
    "multipleOf": lambda kind: f"a multiple of {kind.multiple_of}",
    "minLength": lambda kind: f"at least {_count(kind.limit, 'character')}",
    "maxLength": lambda kind: f"at most {_count(kind.limit, 'character')}",
    "minItems": lambda kind: f"at least {_count(kind.limit, 'item')}",
    "maxItems": lambda kind: f"at most {_count(kind.limit, 'item')}",
    "minProperties": lambda kind: f"at least {_count(kind.limit, 'field')}",
    "maxProperties": lambda kind: f"at most {_count(kind.limit, 'field')}",
    "uniqueItems": lambda _: "no item twice",
    "pattern": lambda kind: f"a text that fits {kind.pattern[:200]}",
    "format": lambda kind: _FORMATS.get(kind.format, f"a text in the form {kind.format}"),
    "propertyNames": lambda kind: f"field names: {expectation(kind.error.kind)}",
    "falseSchema": lambda _: "nothing",
    "not": lambda _: "something else",
    "anyOf": _alternatives,
    "oneOf": _alternatives,
}
