"""Where things stand in a JSON text, for those who have to tell a person what is wrong with it."""

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, TypeAlias

_Path: TypeAlias = tuple[str | int, ...]

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(slots=True)
class _Open:
    """An object or list that has begun, and the key or index at which it is."""

    path: _Path
    at: str | int | None

    def here(self) -> _Path:
        return self.path if self.at is None else (*self.path, self.at)


def json_places(text: str) -> dict[_Path, tuple[int, int]]:
    """The line and column, from 1, of every value of a text that is JSON: of a member it is that of its key."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    places: dict[_Path, tuple[int, int]] = {}
    stack: list[_Open] = [_Open((), None)]
    for found in _TOKEN.finditer(text):
        mark, top = found[0], stack[-1]
        line = bisect_right(starts, found.start())
        place = line, found.start() - starts[line - 1] + 1
        if mark in "}]":
            stack.pop()
        elif mark == ",":
            top.at = top.at + 1 if isinstance(top.at, int) else None
        elif mark[0] == '"' and top.at is None and len(stack) > 1:
            top.at = str(json.loads(mark))
            places[top.here()] = place
        elif mark != ":":
            places.setdefault(top.here(), place)
            if mark in "{[":
                stack.append(_Open(top.here(), 0 if mark == "[" else None))
    return places
