"""What people write by hand, as JSON or YAML: its value, and the line of every place in it."""

from collections.abc import Callable, Mapping
from functools import cached_property

from interlock.kernel.jsonplaces import json_places
from interlock.kernel.jsonvalue import InvalidJson, JsonLimits, parse_json
from interlock.kernel.yamltext import parse_yaml


class Written:
    """A value, and the lines under paths such as `a.b[0]`."""

    def __init__(self, value: object, places: Callable[[], Mapping[str, int]]) -> None:
        self.value = value
        self._places = places

    @cached_property
    def lines(self) -> Mapping[str, int]:
        """They are looked for when first asked for: most texts have nothing wrong with them."""
        return self._places()

    def line(self, path: str) -> int | None:
        """The line of a place, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def read_written(data: str | bytes, *, limits: JsonLimits, what: str) -> Written:
    """What a text says. One that starts with `{` is JSON, any other is YAML, read as JSON would be (see `parse_yaml`); no key
    stands twice. Raises ValueError, in words."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > limits.max_bytes:
        raise ValueError(f"it is larger than {limits.max_bytes} bytes")
    text = raw.decode("utf-8-sig")
    if not text.lstrip().startswith("{"):
        lines: dict[str, int] = {}
        return Written(parse_yaml(text, limits=limits, what=what, lines=lines), lambda: lines)
    try:
        value = parse_json(text, limits=limits, what=what, unique=True)
    except InvalidJson as error:
        raise ValueError(error.message) from error
    return Written(value, lambda: {_dotted(path): line for path, (line, _) in json_places(text).items() if path})


def _dotted(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
