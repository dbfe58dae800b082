"""A request that came to a route, as nobody has judged it yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, cast
from urllib.parse import parse_qsl

from interlock import sdk
from interlock.kernel import JSON, InvalidJson, JsonLimits, check_json, read_json

LIMITS: Final = JsonLimits(max_bytes=sdk.MAX_BYTES, max_depth=64, max_nodes=1_000_000)
"""What is read of a body."""

MAX_FIELDS: Final = 1000
"""Members of a form."""

_EXACT: Final = 2**53 - 1
_PLAIN: Final = 1e21
_UNKEPT: Final = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"}
_FORM: Final = "application/x-www-form-urlencoded"


class Twice(Exception):
    """A header that counts stands more than once: who signed may have meant the other one."""


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A request: header names in lower case, the body as it came. `url` is the route's as the service knows it, with query."""

    method: str
    url: str
    query: str = ""
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """The value of a header. Raises Twice."""
        found = [value for each, value in self.headers if each == name.lower()]
        if len(found) > 1:
            raise Twice(name)
        return found[0].strip(" \t") if found else None

    def parameter(self, name: str) -> str | None:
        """The value of a parameter in the query, if it stands there once."""
        try:
            found = [value for each, value in parse_qsl(self.query, max_num_fields=100) if each == name]
        except ValueError:
            return None
        return found[0] if len(found) == 1 else None

    @cached_property
    def form(self) -> list[tuple[str, str]] | None:
        """The fields of a form in their order; None for a body that is none. An empty body is an empty form."""
        if not self.body:
            return []
        kinds = [value for name, value in self.headers if name == "content-type"]
        if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != _FORM:
            return None
        try:
            return parse_qsl(
                self.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
            )
        except ValueError:
            return None

    @cached_property
    def value(self) -> JSON | InvalidJson:
        """The body as JSON: of a form, its fields. What is no JSON, or too deep or too large to be kept, is the error that says
        why. An event is not lost for what else cannot be kept: control characters become U+FFFD, and numbers that not every
        reader keeps exactly become texts."""
        try:
            found = _fields(self.form) if self.form else read_json(self.body)
            try:
                check_json(found, limits=LIMITS, what="body")
            except InvalidJson:
                found = _fitting(found, 1)
                check_json(found, limits=LIMITS, what="body")
        except InvalidJson as error:
            return error
        except ValueError:
            return InvalidJson("the body is not JSON")
        return found


def _fields(form: Sequence[tuple[str, str]]) -> JSON:
    found: dict[str, JSON] = {}
    for name, text in form:
        held = found.get(name)
        found[name] = text if held is None else [*(held if isinstance(held, list) else [held]), text]
    return found


def _fitting(value: JSON, depth: int) -> JSON:
    """Raises InvalidJson for what is too deep."""
    if depth > LIMITS.max_depth:
        raise InvalidJson(f"the body is nested deeper than {LIMITS.max_depth} levels")
    if isinstance(value, str):
        return value if value.isprintable() else value.translate(_UNKEPT)
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int | float):
        return value if abs(value) <= _EXACT or abs(value) >= _PLAIN else str(value)
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, JSON]", value)
        return {name.translate(_UNKEPT): _fitting(part, depth + 1) for name, part in parts.items()}
    return [_fitting(part, depth + 1) for part in cast("Sequence[JSON]", value)]
