"""Words of a closed list on the command line, with the nearest one where they are wrong."""

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from interlock.cli.errors import Usage

E = TypeVar("E", bound=StrEnum)


def states(given: Iterable[str], known: type[E]) -> tuple[E, ...]:
    """Words as members of an enumeration; several may stand in one, with commas. Raises Usage."""
    return tuple(_member(word.strip(), known) for text in given for word in text.split(","))


def _member(word: str, known: type[E]) -> E:
    try:
        return known(word)
    except ValueError:
        near = difflib.get_close_matches(word, [each.value for each in known], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise Usage(f"there is no {word[:40]!r}; {hint}the words are {', '.join(known)}") from None
