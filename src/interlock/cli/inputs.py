"""A capability's input from the command line: `key=value` pairs, read as the schema says, on top of a file."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from typing import Any, cast

from interlock.cli import files, schemas
from interlock.cli.errors import Usage
from interlock.kernel import JSON, InvalidJson, JsonLimits, parse_json

_PAIR = re.compile(r"([^=:]+)(:?=)(.*)", re.DOTALL)
_HOW = "Write fields as key=value, or as key:=JSON; texts with blanks in quotes: title='It broke'."


def collect(pairs: Iterable[str], source: str | None, schema: Mapping[str, Any]) -> dict[str, JSON]:
    """The input: the file's fields, with those of the pairs in their place. Raises Usage, InvalidJson, FileRefused."""
    return {**({} if source is None else read_object(source)), **parse_pairs(pairs, schema)}


def words(text: str) -> str:
    """What is said: the argument, or with `-` all of stdin. Raises FileRefused."""
    return files.read("-", "text", limit=4_000_000).decode("utf-8", "replace") if text == "-" else text


def read_object(source: str) -> dict[str, JSON]:
    """A file (`-`: stdin) that holds one JSON object. Raises InvalidJson, FileRefused, Usage."""
    content = files.read(source, "input file", limit=JsonLimits().max_bytes).removeprefix(
        BOM_UTF8
    )  # some editors begin every file with it
    value = parse_json(content, what=f"input file {source}", unique=True)
    if not isinstance(value, dict):
        raise Usage(f"the input file {source} does not hold a JSON object", next_step="Write one: {…}.")
    return value


def parse_pairs(pairs: Iterable[str], schema: Mapping[str, Any]) -> dict[str, JSON]:
    """Texts become what the schema expects; one that cannot is left a text, for the schema to refuse with its place."""
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    parsed: dict[str, JSON] = {}
    for pair in pairs:
        found = _PAIR.fullmatch(pair)
        if found is None:
            raise Usage(f"{pair[:60]!r} is not a field", next_step=_HOW)
        name, how, text = found[1], found[2], found[3]
        _check_text(name, text)
        if name in parsed:
            raise Usage(f"the field {name[:60]!r} is given twice", next_step=_HOW)
        if how == ":=":
            parsed[name] = parse_json(text, what=f"field {name[:60]}", unique=True)
        else:
            parsed[name] = _read(name, text, schemas.kinds(properties.get(name, {}), schema))
    return parsed


def amounts(pairs: Iterable[str]) -> dict[str, int]:
    """What a call costs, by unit. Raises Usage."""
    found: dict[str, int] = {}
    for pair in pairs:
        unit, _, amount = pair.partition("=")
        if not re.fullmatch(r"[0-9]{1,16}", amount) or unit in found:
            raise Usage(f"--cost {pair[:60]!r}: write UNIT=AMOUNT once for each unit, such as cents=7")
        found[unit] = int(amount)
    return found


def _check_text(name: str, text: str) -> None:
    """Raises Usage for bytes of the shell that are no UTF-8."""
    try:
        f"{name}{text}".encode()
    except UnicodeEncodeError as error:
        byte = ord(error.object[error.start]) & 0xFF  # as Python passes on what it cannot decode
        raise Usage(
            f"the field {name[:60]!a} is not UTF-8: byte 0x{byte:02x}",
            next_step="Write it in UTF-8, or put the input into a file of UTF-8: `--input FILE`.",
        ) from error


def _read(name: str, text: str, kinds: frozenset[str]) -> JSON:
    if not kinds or "string" in kinds:
        return text
    try:
        return parse_json(text, what=f"field {name[:60]}", unique=True)
    except InvalidJson as error:
        if error.__cause__ is None:  # it is JSON, and beyond our limits
            raise
        return text
