"""The ledger's values as JSON documents."""

import dataclasses
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import Enum
from typing import Any, cast

from interlock.kernel import JSON, to_rfc3339


def document(value: object) -> JSON:
    """A value of a room: what can say itself does so; of other records every field is taken. Texts that hold JSON are
    opened, and content in bytes is left out: it has a digest."""
    for way in ("to_json", "record"):
        if callable(own := getattr(value, way, None)):
            return cast("JSON", own())
    if dataclasses.is_dataclass(value):
        pairs = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return dict(_member(name, each) for name, each in pairs if not isinstance(each, bytes))
    if isinstance(value, datetime):
        return to_rfc3339(value)
    if isinstance(value, Enum):
        return cast("JSON", value.value)
    if isinstance(value, Mapping):
        return {str(key): document(each) for key, each in cast("Mapping[Any, object]", value).items()}
    if isinstance(value, AbstractSet):
        return sorted(cast("set[str]", value))
    if isinstance(value, list | tuple):
        return [document(each) for each in cast("list[object]", value)]
    return cast("JSON", value)


def _member(name: str, value: object) -> tuple[str, JSON]:
    if name.endswith("_json") and isinstance(value, str):
        return name.removesuffix("_json"), json.loads(value)
    if name == "body" and isinstance(value, str):
        return "data", json.loads(value)["data"]
    return name.removesuffix("_json"), document(value)


def page(name: str, values: list[JSON], *, limit: int, key: str) -> JSON:
    """A page of a list, and where to go on; None at the end."""
    last = cast("Mapping[str, JSON]", values[-1])[key] if len(values) >= limit else None
    return {name: values, "next_cursor": last}
