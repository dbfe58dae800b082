"""Text from outside made safe for a terminal, and values as short words."""

import json
from datetime import UTC, datetime

_KEPT = frozenset("\n\t")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They reorder what is shown without being seen."""
_UNSEEN = frozenset("\u00ad\u180e\u200b\u2060\u2061\u2062\u2063\u2064\ufeff")
"""Nobody sees them, nor the tags and selectors from U+E0000 on; a model reads them. What joins letters is not among them."""


def clean(text: str, *, multiline: bool = False) -> str:
    """The text with everything that could drive a terminal, show it in another order or hide, written as an escape."""
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        character if (multiline and character in _KEPT) or _is_harmless(character) else _escape(character)
        for character in text
    )


def hanging(text: str) -> str:
    """The text as clean lines; all but the first are indented, so that none can pass for something that we say."""
    return clean(text, multiline=True).replace("\n", "\n  ")


def _is_harmless(character: str) -> bool:
    code = ord(character)
    control = code < 0x20 or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF
    hidden = character in _DIRECTIONS or character in _UNSEEN or 0xE0000 <= code <= 0xE0FFF
    return not control and not hidden and character not in "\u2028\u2029"


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def json_text(value: object) -> str:
    """The value as JSON for programs and for terminals: what `clean` would escape stands as a JSON escape."""
    return seen(json.dumps(value, indent=2, ensure_ascii=False))


def seen(text: str) -> str:
    """A JSON text, the same for programs, in which people see all that there is."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(each if each == "\n" or _is_harmless(each) else _json_escape(each) for each in text)


def _json_escape(character: str) -> str:
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def moment(at: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def counted(count: int, noun: str) -> str:
    """So many of them, in words: `1 operation`, `2 operations`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: int) -> str:
    """A number of bytes."""
    return f"{count} B" if count < 10_000 else f"{count / 1024:,.0f} KiB"


def shorten(text: str, limit: int = 100) -> str:
    """The text, or its beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
