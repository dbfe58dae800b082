"""Templates: `{input.title}`, `{input.content|base64}`, `{subject}`, `{started_at-60s}`; and plain `{field}` in paths."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, cast
from urllib.parse import quote

from interlock.kernel import JSON, canonical
from interlock.sdk.errors import InvalidPathValue
from interlock.sdk.pointer import MISSING, Missing
from interlock.sdk.terms import Schema
from interlock.sdk.wire import Facts, check_path

_HOLE: Final = re.compile(r"\{([^{}]*)\}")
_FIELD: Final = re.compile(r"\{([A-Za-z_]\w*)\}")
_EXPRESSION: Final = re.compile(
    r"input\.(?P<field>\w+)(?:\|(?P<transform>\w+))?|(?P<subject>subject)|started_at(?:-(?P<seconds>\d{1,6})s)?"
)


def _base64(value: JSON) -> str:
    return base64.b64encode(text_of(value).encode()).decode()


def _git_blob_sha(value: JSON) -> str:
    data = text_of(value).encode()
    # Git names a blob by this digest; it is an identifier here, not protection.
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


MAX_PATH_VALUE: Final = 1000
"""Characters of one input value in a path. Escaped they are nine times as many bytes at worst, and what servers take as an
address is 8,000."""

TRANSFORMS: Final[Mapping[str, Callable[[JSON], str]]] = {
    "base64": _base64,
    "git_blob_sha": _git_blob_sha,
    "json": lambda value: canonical(value).decode(),
}
"""What may stand after the bar in a template, and in an operation's `encode`."""


def text_of(value: JSON) -> str:
    """A value as it stands in a path, query or header: lists joined by commas, true and false in lower case."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence):
        return ",".join(text_of(each) for each in value)
    return str(value) if isinstance(value, int | float) else canonical(value).decode()


def holes(template: str) -> list[str]:
    """What stands between braces, in order."""
    return _HOLE.findall(template)


def problem_with(template: object, fields: Mapping[str, object]) -> str | None:
    """Why a template cannot be rendered for inputs with these fields, or None."""
    for hole in holes(template) if isinstance(template, str) else []:
        match = _EXPRESSION.fullmatch(hole)
        if match is None:
            return f"{{{hole}}} is none of {{input.FIELD}}, {{input.FIELD|TRANSFORM}}, {{subject}}, {{started_at-60s}}"
        if match["field"] and match["field"] not in fields:
            return f"{{{hole}}} names no field of the input"
        if match["transform"] and match["transform"] not in TRANSFORMS:
            return f"{{{hole}}} names no transformation; there are {', '.join(TRANSFORMS)}"
    return None


def render(template: JSON, input: Mapping[str, JSON], facts: Facts) -> JSON | Missing:  # noqa: A002
    """The template's value: of the input's own type if it is one hole and nothing else, else text.

    MISSING if it names an input that was not given, or the subject where that is unknown. Only texts are templates.
    """
    if not isinstance(template, str):
        return template
    found = holes(template)
    if found and template == f"{{{found[0]}}}":
        return _value(found[0], input, facts)
    text = template
    for hole in found:
        value = _value(hole, input, facts)
        if isinstance(value, Missing):
            return MISSING
        text = text.replace(f"{{{hole}}}", text_of(value), 1)
    return text


def path_of(template: str, schema: Schema, input: Mapping[str, JSON]) -> str:  # noqa: A002
    """The path with every `{field}` escaped, so that a value cannot leave its place.

    Raises InvalidPathValue for what no URL can hold in that place: nothing, `.` or `..`, more than MAX_PATH_VALUE, or what
    climbs at a server that takes an escaped slash or backslash for a separator.
    """
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))

    def fill(match: re.Match[str]) -> str:
        field = match[1]
        value = text_of(input.get(field, ""))
        segments = value.split("/") if properties.get(field, {}).get("x-path") == "slashes" else [value]
        if any(segment in ("", ".", "..") for segment in segments):
            raise InvalidPathValue(f"input $.{field}: {value[:100]!r} cannot stand in the path {template}")
        if len(value) > MAX_PATH_VALUE:
            what = f"at most {MAX_PATH_VALUE} characters can stand in the path {template}, not {len(value)}"
            raise InvalidPathValue(f"input $.{field}: {what}")
        return "/".join(quote(segment, safe="") for segment in segments)

    path = _HOLE.sub(fill, template)
    try:
        check_path(path)
    except ValueError as error:
        fields = ", ".join(f"$.{field}" for field in holes(template)) or "$"
        raise InvalidPathValue(f"input {fields}: {error}") from error
    return path


def fields_in(template: str) -> list[str]:
    """The fields that a template of an argument names, in order. Braces around anything but a name are just braces."""
    return _FIELD.findall(template)


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template of an argument with these values in it. What a value holds is no template."""
    return _FIELD.sub(lambda match: values[match[1]], template)


def _value(hole: str, input: Mapping[str, JSON], facts: Facts) -> JSON | Missing:  # noqa: A002
    match = _EXPRESSION.fullmatch(hole)
    if match is None:
        raise ValueError(f"unchecked template {{{hole}}}")
    if match["subject"]:
        return MISSING if facts.subject is None else facts.subject
    if match["field"]:
        value = input.get(match["field"], MISSING)
        if isinstance(value, Missing) or match["transform"] is None:
            return value
        return TRANSFORMS[match["transform"]](value)
    moment = facts.started_at - timedelta(seconds=int(match["seconds"] or 0))
    # Whole seconds, rounded down: the form that every service reads.
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
