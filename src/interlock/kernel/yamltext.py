"""YAML as what people write JSON in: strictly, within limits, and with nothing in it that JSON does not have."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from interlock.kernel.canonical import JSON
from interlock.kernel.jsonvalue import JsonLimits

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, JSON]] = {"": None, "~": None, "null": None, "true": True, "false": False}


class _Refused(ValueError):
    pass


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun: its value, the key that waits for its own, and where it stands."""

    value: dict[str, object] | list[object]
    path: str
    key: str | None = None

    def place(self) -> str:
        """Where its next value stands."""
        if isinstance(self.value, list):
            return f"{self.path}[{len(self.value)}]"
        return f"{self.path}.{self.key}" if self.path else str(self.key)


def parse_yaml(text: str, *, limits: JsonLimits, what: str, lines: dict[str, int] | None = None) -> object:
    """The value of a YAML text, read as JSON would be: no anchors, aliases or tags, no repeated keys, one document, and
    `no`, `on` or dates are texts. Its depth is checked; size and values are for `check_json`. `lines` takes the line of
    every value under its path, such as `a.b[0]`. Raises ValueError, which names the line."""
    import yaml  # here, so that those who read none do not pay for it

    try:
        events = cast("Any", yaml).parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _document(yaml, events, limits.max_depth, what, {} if lines is None else lines)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise _Refused(f"{line}it is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise _Refused(f"it is not YAML: {' '.join(str(error).split())}") from error


def _document(yaml: Any, events: Iterator[Any], max_depth: int, what: str, lines: dict[str, int]) -> object:
    """Builds the value from the parser's events: nothing is resolved that JSON does not have."""
    stack: list[_Open] = []
    result: list[object] = []
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise _Refused(f"line {line}: anchors, aliases and tags are not used in a {what}")
        if isinstance(event, yaml.DocumentStartEvent) and result:
            raise _Refused(f"line {line}: a file holds one document")
        if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            stack.pop()
        elif isinstance(event, yaml.ScalarEvent):
            if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                _begin(stack[-1], event.value, line, lines)
            else:
                _place(stack, result, yaml_scalar(event.value, plain=event.implicit[0]), line, lines)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            inner: dict[str, object] | list[object] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            stack.append(_Open(inner, _place(stack, result, inner, line, lines)))
            if len(stack) > max_depth:
                raise _Refused(f"line {line}: it is nested deeper than {max_depth} levels")
    if not result:
        raise _Refused("it is empty")
    return result[0]


def _begin(inside: _Open, key: str, line: int, lines: dict[str, int]) -> None:
    if key in inside.value:
        raise _Refused(f"line {line}: the key {key!r} stands twice")
    inside.key = key
    lines[inside.place()] = line


def _place(stack: list[_Open], result: list[object], value: object, line: int, lines: dict[str, int]) -> str:
    """Puts a value where it belongs, and says where that is."""
    if not stack:
        result.append(value)
        return ""
    inside = stack[-1]
    path = inside.place()
    lines.setdefault(path, line)
    if isinstance(inside.value, list):
        inside.value.append(value)
    elif inside.key is None:
        raise _Refused(f"line {line}: a key is a text")
    else:
        inside.value[inside.key] = value
        inside.key = None
    return path


def yaml_scalar(text: str, *, plain: bool) -> JSON:
    """YAML's plain scalars as JSON knows them; whatever is quoted is text."""
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
