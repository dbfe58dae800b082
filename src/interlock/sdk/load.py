"""Manifest files: YAML or JSON text into plain data, strictly, within limits, and from there to a manifest."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from interlock.sdk.assemble import LIMITS, assemble
from interlock.sdk.errors import InvalidManifest, Problem
from interlock.sdk.manifest import Manifest

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}


class _Refused(Exception):
    pass


def load_manifest(file: Path | str | bytes, *, source: str | None = None) -> Manifest:
    """The manifest in a file (a Path), or in a text. A text that starts with `{` is JSON, any other is YAML.

    At most 1 MiB. YAML is read as JSON would be: no anchors, aliases or tags, no repeated keys, and `no`, `on` or dates
    are texts. Raises InvalidManifest with all problems; `source` names the origin in messages.
    """
    source = source or (str(file) if isinstance(file, Path) else "a manifest text")
    try:
        if isinstance(file, Path):
            with file.open("rb") as stream:
                file = stream.read(LIMITS.max_bytes + 1)
        data = file.encode("utf-8", "surrogatepass") if isinstance(file, str) else file
        if len(data) > LIMITS.max_bytes:
            raise _Refused(f"it is larger than {LIMITS.max_bytes} bytes")
        text = data.decode("utf-8-sig")
        raw = _from_json(text) if text.lstrip().startswith("{") else _from_yaml(text)
    except (OSError, UnicodeDecodeError, _Refused) as error:
        raise InvalidManifest(source, [Problem(path="$", problem=str(error))]) from error
    return assemble(raw, source=source)


def _from_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"it is not JSON: {error}") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {repeated!r} stands twice in one object")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


def _from_yaml(text: str) -> object:
    import yaml  # here, so that Python declarations do not pay for it

    try:
        return _document(yaml, cast("Any", yaml).parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise _Refused(f"it is not YAML: {' '.join(str(error).split())}") from error


def _document(yaml: Any, events: Iterator[Any]) -> object:
    """Builds the value from the parser's events: nothing is resolved that JSON does not have."""
    stack: list[tuple[dict[str, object] | list[object], str | None]] = []
    result: list[object] = []
    for event in events:
        place = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise _Refused(f"{place}: anchors, aliases and tags are not used in manifests")
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
            if len(stack) > LIMITS.max_depth:
                raise _Refused(f"{place}: it is nested deeper than {LIMITS.max_depth} levels")
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
