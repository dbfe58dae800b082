"""The rooms' values as JSON documents, in which they leave Interlock everywhere, and back."""

import dataclasses
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

from interlock.kernel.canonical import JSON, canonical
from interlock.kernel.clock import from_rfc3339, to_rfc3339

T = TypeVar("T")

_CONTENT: Final = (bytes, bytes | None)


def document(value: object) -> JSON:
    """A value of a room: what can say itself does so; of other records every field is taken. Texts that hold JSON are
    opened, and content in bytes is left out: it has a digest."""
    for way in ("to_json", "record"):
        if callable(own := getattr(value, way, None)):
            return cast("JSON", own())
    if dataclasses.is_dataclass(value):
        kept = [field for field in dataclasses.fields(value) if field.type not in _CONTENT]
        pairs = [(field.name, getattr(value, field.name)) for field in kept]
        return {key: told for name, each in pairs for key, told in _members(name, each).items()}
    if isinstance(value, datetime):
        return to_rfc3339(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return cast("JSON", value.value)
    if isinstance(value, Mapping):
        return {str(key): document(each) for key, each in cast("Mapping[Any, object]", value).items()}
    if isinstance(value, AbstractSet):
        return sorted(cast("set[str]", value))
    if isinstance(value, list | tuple):
        return [document(each) for each in cast("list[object]", value)]
    return cast("JSON", value)


def _members(name: str, value: object) -> dict[str, JSON]:
    """What a field is in the document."""
    if name.endswith("_json") and isinstance(value, str):
        return {name.removesuffix("_json"): json.loads(value)}
    if name == "body" and isinstance(value, str):
        told = json.loads(value)
        return {"data": told["data"], "prev": told["prev"]}
    return {name.removesuffix("_json"): document(value)}


def read_document(kind: type[T], told: JSON) -> T:
    """The value of a room that such a document tells; what it leaves out is None, and members that are values already stay so.
    Raises ValueError for what is none."""
    try:
        return cast("T", _read(kind, told))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this does not tell a {kind.__name__}: {error}") from error


def _read(kind: Any, told: Any) -> object:
    if kind == JSON or kind is Any or dataclasses.is_dataclass(told):
        return told
    if get_origin(kind) is not None:
        return _read_several(kind, told)
    if dataclasses.is_dataclass(kind):
        return _record(kind, told)
    if kind is datetime:
        return from_rfc3339(told)
    if kind is timedelta:
        return timedelta(seconds=told)
    if issubclass(kind, Enum):
        return kind(told)
    if not isinstance(told, (int, float) if kind is float else kind):
        raise TypeError(f"{str(told)[:40]!r} is no {kind.__name__}")
    return told


def _read_several(kind: Any, told: Any) -> object:
    """One of several kinds or values, or several of one kind."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        wanted = [each for each in arguments if each is not NoneType]
        return None if told is None else _read(wanted[0], told)
    if origin is Literal:
        if told not in arguments:
            raise TypeError(f"{str(told)[:40]!r} is none of {arguments}")
        return told
    if issubclass(origin, Mapping):
        return {key: _read(arguments[1], each) for key, each in told.items()}
    if issubclass(origin, AbstractSet):
        return frozenset(_read(arguments[0], each) for each in told)
    return tuple(_read(arguments[0], each) for each in told)


def _record(kind: Any, told: Mapping[str, Any]) -> object:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name, hint = field.name, field.type
        if name == "body":
            chained = {key: told[key] for key in sorted(_CHAINED & told.keys())}
            values[name] = canonical(chained).decode()
        elif name.endswith("_json"):
            inner = told[name.removesuffix("_json")]
            values[name] = None if inner is None and "None" in str(hint) else canonical(inner).decode()
        elif hint in _CONTENT:
            values[name] = None
        elif name in told:
            values[name] = _read(hint, told[name])
    return kind(**values)


_CHAINED: Final = frozenset(
    {"actor", "at", "connection_id", "data", "event_id", "prev", "reason", "run_id", "seq", "type"}
)
"""The members of an event that its hash covers."""


def page(name: str, values: list[JSON], *, limit: int, key: str) -> JSON:
    """A page of a list, and where to go on; None at the end."""
    last = cast("Mapping[str, JSON]", values[-1])[key] if len(values) >= limit else None
    return {name: values, "next_cursor": last}
