"""RFC 6901 JSON Pointers, and one extension: `*` stands for every element of an array."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, cast

from interlock.kernel import JSON


class Missing:
    """The type of MISSING."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()
"""Nothing is there, which is not the same as null."""


def parts(pointer: str) -> list[str]:
    """The reference tokens. Raises ValueError if the text is no pointer."""
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer: it must be empty or start with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def get(value: JSON, pointer: str) -> JSON | Missing:
    """What the pointer leads to, or MISSING. With `*` the answer is a list of what is there for each element."""
    return _walk(value, _way(pointer))


def put(target: dict[str, JSON], pointer: str, value: JSON) -> None:
    """Set a member, making the objects on the way. `pointer` may also be a plain member name."""
    *way, last = parts(pointer) if pointer.startswith("/") else [pointer]
    for part in way:
        inner = target.get(part)
        # A fresh dict each time: what stands there may belong to the caller's input or to the manifest.
        fresh: dict[str, JSON] = dict(inner) if isinstance(inner, Mapping) else {}
        target[part] = fresh
        target = fresh
    target[last] = value


@lru_cache(maxsize=1024)
def _way(pointer: str) -> tuple[str, ...]:
    """As `parts`. Connectors have few pointers, and every answer is read with all of them."""
    return tuple(parts(pointer))


def _walk(value: JSON, way: Sequence[str]) -> JSON | Missing:
    for index, part in enumerate(way):
        if isinstance(value, (dict, Mapping)):  # a dict, as nearly always, is told without asking the ABC
            members = cast("Mapping[str, JSON]", value)
            if part not in members:
                return MISSING
            value = members[part]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            items = cast("Sequence[JSON]", value)
            if part == "*":
                found = [_walk(item, way[index + 1 :]) for item in items]
                return [each for each in found if not isinstance(each, Missing)]
            if not part.isdecimal() or not part.isascii() or len(part) > 9 or int(part) >= len(items):
                return MISSING
            value = items[int(part)]
        else:
            return MISSING
    return value
