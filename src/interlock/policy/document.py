"""The operator's file as a value, with the place of every key, so that an error can say where to look."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from interlock import kernel
from interlock.policy.errors import InvalidPolicy, Place, Problem

MAX_BYTES = 262_144
_MAX_DEPTH = 20
_JSON_LIMITS = kernel.JsonLimits(max_bytes=MAX_BYTES, max_depth=_MAX_DEPTH)

Path: TypeAlias = tuple[str | int, ...]
_Places: TypeAlias = dict[Path, tuple[int, int]]

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY = re.compile(rf"^\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\]\]?\s*(?:#.*)?$")
_TOML_ERROR = re.compile(r"^(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file: its top-level table, and where its keys stand."""

    source: str
    value: Mapping[str, Any]
    places: Mapping[Path, tuple[int, int]]

    def locate(self, path: Path) -> Place:
        """The place of a path of keys and indices, or of the nearest part of it that has one."""
        for length in range(len(path), 0, -1):
            if found := self.places.get(path[:length]):
                return Place(source=self.source, line=found[0], column=found[1])
        return Place(source=self.source)


def parse_document(text: str | bytes, *, source: str) -> Document:
    """Parse a TOML file, or what else the ending of `source` says: `.yaml`, `.yml` or `.json`.

    At most 256 KiB; YAML without anchors, aliases, tags, and no repeated keys, its values as in JSON: `no` is a text.
    Raises InvalidPolicy with the line.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise _invalid(source, f"the file has {len(raw)} bytes; the limit is {MAX_BYTES}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _invalid(source, f"the file is not UTF-8 (byte {error.start})") from error
    try:
        if source.endswith((".yaml", ".yml")):
            value, places = _parse_yaml(text, source)
        elif source.endswith(".json"):
            value, places = _parse_json(text, source)
        else:
            value, places = _parse_toml(text, source)
    except RecursionError as error:
        raise _invalid(source, "the file is nested too deeply") from error
    return Document(source=source, value=value, places=places)


def _invalid(source: str, text: str, line: int | None = None, column: int | None = None) -> InvalidPolicy:
    return InvalidPolicy([Problem(path=(), text=text, place=Place(source=source, line=line, column=column))])


def _parse_toml(text: str, source: str) -> tuple[dict[str, Any], _Places]:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_ERROR.match(str(error))
        if found is None:
            raise _invalid(source, f"not TOML: {error}") from error
        if found[2] is None:
            raise _invalid(source, f"not TOML: {found[1]}, at the end", len(text.splitlines())) from error
        raise _invalid(source, f"not TOML: {found[1]}", int(found[2]), int(found[3])) from error
    return value, _toml_places(text)


def _parse_json(text: str, source: str) -> tuple[dict[str, Any], _Places]:
    try:
        value = kernel.parse_json(text, limits=_JSON_LIMITS, what="file", unique=True)
    except kernel.InvalidJson as error:
        wrong = error.__cause__
        place = (wrong.lineno, wrong.colno) if isinstance(wrong, json.JSONDecodeError) else (None, None)
        if "path" in error.details:  # of a key that stands twice: it is JSON
            place = kernel.json_places(text)[tuple(cast("list[str | int]", error.details["path"]))]
        raise _invalid(source, error.message, *place) from error
    return _table(value, source), kernel.json_places(text)


def _toml_places(text: str) -> _Places:
    """Where keys and table headers stand.

    The standard library's parser does not say, so the lines are read again; keys inside inline tables have no place of
    their own and are found under the key that holds them.
    """
    places: _Places = {}
    lengths: dict[Path, int] = {}
    table: Path = ()
    closing: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if closing:  # inside a multi-line text, where nothing is a key
            closing = None if closing in line else closing
            continue
        column = len(line) - len(line.lstrip()) + 1
        if header := _HEADER.match(line):
            table = _enter(_split(header[2]), lengths, new_item=header[1] == "[[")
            for length in range(1, len(table) + 1):
                places.setdefault(table[:length], (number, column))
        elif key := _KEY.match(line):
            path = table
            for name in _split(key[1]):
                path = (*path, name)
                places.setdefault(path, (number, column))
        closing = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), None)
    return places


def _enter(names: list[str], lengths: dict[Path, int], *, new_item: bool) -> Path:
    path: Path = ()
    for name in names[:-1]:
        path = (*path, name)
        if path in lengths:
            path = (*path, lengths[path] - 1)
    path = (*path, names[-1])
    if new_item:
        lengths[path] = lengths.get(path, 0) + 1
        path = (*path, lengths[path] - 1)
    return path


def _split(dotted: str) -> list[str]:
    return [name.strip("\"'") for name in re.findall(_NAME, dotted)]


def _yaml() -> Any:
    """PyYAML, untyped as its types are incomplete; imported late, since only an operator with a YAML file needs it."""
    import yaml

    return yaml


def _parse_yaml(text: str, source: str) -> tuple[dict[str, Any], _Places]:
    yaml = _yaml()
    places: _Places = {}
    try:
        _check_events(text, source)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        value: Any = {} if root is None else _build(root, (), places, source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise _invalid(source, f"not YAML: {error.problem or error.context}", line, column) from error
    except yaml.YAMLError as error:
        raise _invalid(source, f"not YAML: {str(error).splitlines()[0]}") from error
    return _table(value, source), places


def _table(value: object, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(source, "the file must hold a table of keys, of which one is 'policy'", 1, 1)
    return cast("dict[str, Any]", value)


def _check_events(text: str, source: str) -> None:
    """Refuse what makes YAML more than data, before anything is built from it."""
    yaml = _yaml()
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _invalid(source, "anchors and aliases are not allowed", line, column)
        if getattr(event, "tag", None):
            raise _invalid(source, "tags are not allowed", line, column)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise _invalid(source, f"nested deeper than {_MAX_DEPTH} levels", line, column)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _build(node: Any, path: Path, places: _Places, source: str) -> Any:
    yaml = _yaml()
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    places.setdefault(path, (line, column))
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), places, source) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        table: dict[str, Any] = {}
        for key, item in node.value:
            at = key.start_mark.line + 1, key.start_mark.column + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _invalid(source, "a key must be text", *at)
            if key.value in table:
                raise _invalid(source, f"the key {key.value!r} stands twice", *at)
            places[*path, key.value] = at
            table[key.value] = _build(item, (*path, key.value), places, source)
        return table
    return kernel.yaml_scalar(node.value, plain=node.style is None)
