"""Texts as words: by one rule for every provider, so that all find the same."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

MAX_WORD: Final = 64
"""Characters of one word that are compared."""

MAX_TERMS: Final = 64
"""Different words of one query that are looked for."""

_RUN: Final = re.compile(r"\w+")
# Scripts that are written without spaces: their texts are compared by pairs of characters.
_UNSPACED: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)


def words(text: str) -> Iterator[str]:
    """The words of a text, in order: letters and digits, compatibility forms and case folded (Unicode NFKC), accents kept
    apart from their letters dropped."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    plain = "".join(character for character in folded if not unicodedata.combining(character))
    for run in _RUN.findall(plain.replace("_", " ")):
        yield from _parts(run)


COMMON: Final = frozenset(  # a list that people read
    """a an the this that these those it its i me my mine you your yours he him his she her hers we us our ours they them
    their theirs am is are was were be been being do does did have has had will would shall should may might must of to in on
    at for with by as about and or so then than too also what which who whom whose when where why how s re m ve ll d""".split()  # noqa: SIM905
)
"""Words of English that say nothing by themselves."""


def sought(query: str) -> tuple[str, ...]:
    """What of a query is looked for: its terms without COMMON ones, if it has others."""
    there = terms(query)
    return tuple(term for term in there if term not in COMMON) or there


def terms(query: str) -> tuple[str, ...]:
    """The different words of a query, at most MAX_TERMS."""
    found: dict[str, None] = {}
    for word in words(query):
        found[word] = None
        if len(found) == MAX_TERMS:
            break
    return tuple(found)


def _parts(run: str) -> Iterator[str]:
    at = 0
    for unspaced in _UNSPACED.finditer(run):
        if unspaced.start() > at:
            yield run[at : unspaced.start()][:MAX_WORD]
        text = unspaced[0]
        yield from (text[index : index + 2] for index in range(max(1, len(text) - 1)))
        at = unspaced.end()
    if at < len(run):
        yield run[at:][:MAX_WORD]
