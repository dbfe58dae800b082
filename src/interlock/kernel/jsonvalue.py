"""JSON from outside: parsed once, within limits, with the path of what is wrong."""

import json
import math
import re
from dataclasses import dataclass
from typing import Final, cast

import orjson

from interlock.kernel.canonical import JSON, MAX_INTEGER, PLAIN_BELOW
from interlock.kernel.errors import RequestError, Retry

_DIGITS: Final = bytes(ord("0") if chr(code) in "0123456789" else code for code in range(256))
_LONG: Final = b"0" * 19
_NO_NUMBER: Final = re.compile(r"-?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_TOO_DEEP: Final = re.compile("depth limit|nested too deep")
_FINITE: Final = "is no number of JSON; send a finite one, or null where that is accepted"
_EXACT: Final = "where not every JSON reader keeps it exactly; send it as text, if a text is accepted there"


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLimits:
    """How much JSON is accepted. Sizes in bytes; depth 1 is a scalar; nodes are all values in the tree."""

    max_bytes: int = 1_048_576
    max_depth: int = 64
    max_nodes: int = 100_000


class InvalidJson(RequestError):
    """The text is not JSON, or not JSON that can be kept: too large, too deep, NaN, a control character."""

    code = "invalid_json"
    retry = Retry.AFTER_CHANGE
    next_step = "Send plain JSON (RFC 8259) without what the message names."


def parse_json(
    data: bytes | str, *, limits: JsonLimits | None = None, what: str = "input", unique: bool = False
) -> JSON:
    """Parse and check a JSON text. Raises InvalidJson, naming the place. Of equal keys in one object the last counts;
    `unique` refuses them, which is for what people write: it reads the text twice."""
    limits = limits or JsonLimits()
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > limits.max_bytes:
        raise InvalidJson(f"the {what} has {len(raw)} bytes; the limit is {limits.max_bytes}")
    try:
        value = read_json(raw)
    except ValueError as error:
        if _TOO_DEEP.search(str(error)):  # the parser's own limit, which is far beyond ours
            raise InvalidJson(f"the {what} is nested deeper than {limits.max_depth} levels") from None
        raise InvalidJson(f"the {what} is not JSON: {_why(raw, error)}") from error
    check_json(value, limits=limits, what=what)
    if unique:
        _check_unique(raw, limits, what)
    return value


def read_json(raw: bytes) -> JSON:
    """The value of a JSON text, unchecked, its integers exact however long. Raises ValueError for what is not JSON."""
    value = cast("JSON", orjson.loads(raw))
    # orjson makes floats of integers beyond 64 bits, all of which have such a run of digits.
    if _LONG not in raw.translate(_DIGITS):
        return value
    try:
        return json.loads(raw.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _why(raw: bytes, error: ValueError) -> str:
    """What is wrong with a text, and where, if it is what happens in good faith: another encoding, another language's
    numbers."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as wrong:
        at, line = wrong.start, raw.count(b"\n", 0, wrong.start) + 1
        return f"byte 0x{raw[at]:02x} in line {line} (at {at} from the start) is not UTF-8; save the text as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        at = error.pos - (text[error.pos - 1 : error.pos] == "-")  # the sign is read as that of a number
        if found := _NO_NUMBER.match(text, at):
            return f"{found[0]} at line {error.lineno}, column {error.colno - error.pos + at} {_FINITE}"
    return str(error)


def check_json(value: object, *, limits: JsonLimits | None = None, what: str = "input") -> None:
    """Check a Python value that claims to be JSON. Raises InvalidJson with a JSON path.

    The byte limit is enforced by an estimate from below (text lengths), so that a huge value is refused before it is
    ever serialised. Control characters other than tab, newline and carriage return are refused: no service that we
    know wants them, and terminals and logs are harmed by them.
    """
    limits = limits or JsonLimits()
    stack: list[tuple[object, str, int]] = [(value, "$", 1)]
    nodes = size = 0
    while stack:
        item, path, depth = stack.pop()
        nodes += 1
        if nodes > limits.max_nodes:
            raise InvalidJson(f"the {what} has more than {limits.max_nodes} values")
        if depth > limits.max_depth:
            raise InvalidJson(f"the {what} is nested deeper than {limits.max_depth} levels at {path[:200]}")
        if isinstance(item, str):
            size += _check_text(item, path, what)
        elif isinstance(item, dict):
            for key, child in cast("dict[object, object]", item).items():
                if not isinstance(key, str):
                    raise InvalidJson(f"{what} {path}: the key {key!r} is not text")
                size += _check_text(key, path, what)
                stack.append((child, f"{path}.{key}", depth + 1))
        elif isinstance(item, list | tuple):
            stack.extend(
                (child, f"{path}[{index}]", depth + 1) for index, child in enumerate(cast("list[object]", item))
            )
        else:
            _check_scalar(item, path, what)
        if size > limits.max_bytes:
            raise InvalidJson(f"the {what} is larger than {limits.max_bytes} bytes")


class _Repeating(dict[str, object]):
    """An object in whose text a key stands twice."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.key = next(name for name, _ in pairs if name in seen or seen.add(name))


def _check_unique(raw: bytes, limits: JsonLimits, what: str) -> None:
    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        return found if len(found) == len(pairs) else _Repeating(pairs)

    try:
        stack: list[tuple[object, str, tuple[str | int, ...]]] = [
            (json.loads(raw.decode(), object_pairs_hook=members), "$", ())
        ]
    except RecursionError as error:  # in a value that a later one replaced
        raise InvalidJson(f"the {what} is nested deeper than {limits.max_depth} levels") from error
    while stack:
        item, path, steps = stack.pop()
        if isinstance(item, _Repeating):
            message = f"{what} {path[:200]}: the key {item.key[:60]!r} stands twice"
            raise InvalidJson(message, details={"path": [*steps, item.key]})
        if isinstance(item, dict):
            members_of = cast("dict[str, object]", item).items()
            stack.extend((child, f"{path}.{key}", (*steps, key)) for key, child in members_of)
        elif isinstance(item, list):
            children = enumerate(cast("list[object]", item))
            stack.extend((child, f"{path}[{index}]", (*steps, index)) for index, child in children)


def _check_scalar(item: object, path: str, what: str) -> None:
    if item is None or isinstance(item, bool):
        return
    place = what if path == "$" else f"{what} {path}"
    if isinstance(item, int):
        if abs(item) > MAX_INTEGER:
            raise InvalidJson(f"{place}: {_short(item)} is beyond ±(2⁵³−1), {_EXACT}")
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise InvalidJson(f"{place}: {item} {_FINITE}")
        if MAX_INTEGER < abs(item) < PLAIN_BELOW:
            raise InvalidJson(f"{place}: {item} would be written as an integer beyond ±(2⁵³−1), {_EXACT}")
    else:
        raise InvalidJson(f"{place}: {type(item).__name__} is not a JSON value")


def _short(number: int) -> str:
    text = str(number) if number.bit_length() < 4096 else "an integer"
    return text if len(text) <= 40 else text[:39] + "…"


def _check_text(text: str, path: str, what: str) -> int:
    if not text.isprintable():  # quick test first: most text is printable
        for character in text:
            code = ord(character)
            if (code < 0x20 and character not in "\t\n\r") or 0x7F <= code <= 0x9F:
                raise InvalidJson(f"{what} {path}: control character U+{code:04X}")
            if 0xD800 <= code <= 0xDFFF:
                raise InvalidJson(f"{what} {path}: U+{code:04X} is half a character (a lone surrogate)")
    return len(text) if text.isascii() else len(text.encode())
