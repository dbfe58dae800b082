"""The texts of that other format: `${name}`, functions around them, and `A || B`, the first side that can be filled."""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from interlock.catalog.importing.report import Refused

FUNCTIONS: Final = {"base64": "base64", "sha256Hex": "sha256_hex", "sha256Base64": "sha256_base64"}
"""Theirs, and what we call them."""

_MOST_NESTED: Final = 8
_CALL: Final = re.compile(r"(\w{1,40})\((.*)\)", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Hole:
    """A value that is named."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function over a text."""

    function: str
    inner: tuple["Piece", ...]


Piece: TypeAlias = str | Hole | Call


def sides(text: str) -> list[str]:
    """The alternatives of a text. Raises Refused for more than two."""
    found = [each.strip() for each in text.split("||")]
    if len(found) > 2:
        raise Refused("template: more than two alternatives")
    return found


def parse(text: str, depth: int = 0) -> tuple[Piece, ...]:
    """The pieces of one side. Raises Refused for what is none of ours: calculations, signatures, braces by themselves."""
    if depth > _MOST_NESTED:
        raise Refused("template: it is nested too deep")
    pieces: list[Piece] = []
    while (start := text.find("${")) >= 0:
        end = _end(text, start)
        pieces += [_literal(text[:start]), _value(text[start + 2 : end], depth)]
        text = text[end + 1 :]
    pieces.append(_literal(text))
    return tuple(piece for piece in pieces if piece != "")


def names(pieces: tuple[Piece, ...]) -> list[str]:
    """All values that are named."""
    found: list[str] = []
    for piece in pieces:
        if isinstance(piece, Hole):
            found.append(piece.name)
        elif isinstance(piece, Call):
            found += names(piece.inner)
    return found


def _end(text: str, start: int) -> int:
    """Where the value that begins there ends."""
    open_ones, place = 1, start + 2
    while place < len(text):
        if text.startswith("${", place):
            open_ones, place = open_ones + 1, place + 2
            continue
        if text[place] == "}":
            open_ones -= 1
            if not open_ones:
                return place
        place += 1
    raise Refused("template: a value does not end")


def _value(inner: str, depth: int) -> Piece:
    if (call := _CALL.fullmatch(inner)) is not None:
        if call[1] not in FUNCTIONS:
            raise Refused(f"template: the function {call[1]} is not known")
        return Call(FUNCTIONS[call[1]], parse(call[2], depth + 1))
    if _NAME.fullmatch(inner) is None:
        raise Refused(f"template: ${{{inner[:40]}}} is no plain value")
    return Hole(inner)


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise Refused("template: a brace stands by itself")
    return text
