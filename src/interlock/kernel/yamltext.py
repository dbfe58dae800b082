"""YAML as what people write JSON in: strictly, within limits, and with nothing in it that JSON does not have."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from interlock.kernel.jsonvalue import JsonLimits

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}


class _Refused(ValueError):
    pass


def parse_yaml(text: str, *, limits: JsonLimits, what: str) -> object:
    """The value of a YAML text, read as JSON would be: no anchors, aliases or tags, no repeated keys, one document, and
    `no`, `on` or dates are texts. Its depth is checked; size and values are for `check_json`. Raises ValueError, which
    names the line."""
    import yaml  # here, so that those who read none do not pay for it

    try:
        events = cast("Any", yaml).parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _document(yaml, events, limits.max_depth, what)
    except yaml.YAMLError as error:
        raise _Refused(f"it is not YAML: {' '.join(str(error).split())}") from error


def _document(yaml: Any, events: Iterator[Any], max_depth: int, what: str) -> object:
    """Builds the value from the parser's events: nothing is resolved that JSON does not have."""
    stack: list[tuple[dict[str, object] | list[object], str | None]] = []
    result: list[object] = []
    for event in events:
        place = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise _Refused(f"{place}: anchors, aliases and tags are not used in a {what}")
        if isinstance(event, yaml.DocumentStartEvent) and result:
            raise _Refused(f"{place}: a file holds one document")
        if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            stack.pop()
        elif isinstance(event, yaml.ScalarEvent):
            key_expected = bool(stack) and isinstance(stack[-1][0], dict) and stack[-1][1] is None
            value = event.value if key_expected else _scalar(event.value, plain=event.implicit[0])
            _place(stack, result, value, place, key=key_expected)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            inner: dict[str, object] | list[object] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            _place(stack, result, inner, place, key=False)
            stack.append((inner, None))
            if len(stack) > max_depth:
                raise _Refused(f"{place}: it is nested deeper than {max_depth} levels")
    if not result:
        raise _Refused("it is empty")
    return result[0]


def _place(
    stack: list[tuple[dict[str, object] | list[object], str | None]],
    result: list[object],
    value: object,
    place: str,
    *,
    key: bool,
) -> None:
    if not stack:
        result.append(value)
        return
    inner, name = stack[-1]
    if isinstance(inner, list):
        inner.append(value)
    elif key:
        if value in inner:
            raise _Refused(f"{place}: the key {value!r} stands twice")
        stack[-1] = (inner, str(value))
    elif name is None:
        raise _Refused(f"{place}: a key is a text")
    else:
        inner[name] = value
        stack[-1] = (inner, None)


def _scalar(text: str, *, plain: bool) -> object:
    """YAML's plain scalars as JSON knows them; whatever is quoted is text."""
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
