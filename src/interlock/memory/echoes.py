"""Telling what is new in a text from what only says again what was recalled."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from interlock.kernel import JSON, InvalidJson, JsonLimits, digest, parse_json
from interlock.memory.records import Record
from interlock.memory.rows import searchable, texts_in
from interlock.memory.words import COMMON, words

MAX_PASSAGES: Final = 2_000
"""Passages of one text that are looked at; what comes behind them is not learned."""

_MAX_WORDS: Final = 4_000
"""Words of one record that are compared."""

_MAX_PLACES: Final = 256
"""Places of one word that are tried."""

GAP: Final = 2
"""Words in a row that a quotation may leave out."""

_SENTENCE: Final = re.compile(r"[^.!?。！？]*(?:[.!?](?!\s|$)[^.!?。！？]*)*[.!?。！？]*\s*")
_JSON: Final = JsonLimits(max_bytes=1_048_576, max_depth=32, max_nodes=20_000)
_ENDINGS: Final = ("s", "es", "d", "ed", "ing")

FILLERS: Final = COMMON | frozenset(
    """just well yes ok okay please thanks sure right again already earlier previously once here there say says said tell
    tells told mention mentions mentioned remember remembers remembered recall recalls recalled note notes noted know knows
    known stated according memory memories record records if correctly""".split()  # noqa: SIM905
)
"""Words that say nothing by themselves, or only that something was said."""

_DENIALS: Final = frozenset(
    "not no never none nor neither without nothing nobody t cannot except unless".split()  # noqa: SIM905
)
"""Words that no quotation may leave out."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence or a line. `words` are those that say something."""

    text: str
    words: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of its words as they are compared: the same for everything that differs by case, signs and fillers alone."""
        return digest(list(self.words))


class Known:
    """What was recalled, to hold passages against."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._said: list[tuple[str, Sequence[str]]] = []
        self._places: dict[str, list[tuple[int, int]]] = {}
        for number, record in enumerate(records):
            said = tuple(islice(_weighty(searchable(record)), _MAX_WORDS))
            self._said.append((record.record_id, said))
            for at, word in enumerate(said):
                for stem in _stems(word):
                    places = self._places.setdefault(stem, [])
                    if len(places) < _MAX_PLACES:
                        places.append((number, at))

    def echoed(self, passage: Passage) -> tuple[str, ...]:
        """The records that a passage says again, if it says nothing else: all of its words, in runs of two and more as they
        follow each other there, with every denial. Empty: there is something new in it."""
        runs = self._runs(passage.words)
        quoted = [run for run in runs if run is not None]
        if len(quoted) < len(runs) or (len(quoted) > 1 and any(run.length < 2 for run in quoted)):
            return ()
        numbers = tuple(dict.fromkeys(run.record for run in quoted))
        if any(self._turns_round(number, [run for run in quoted if run.record == number]) for number in numbers):
            return ()
        return tuple(self._said[number][0] for number in numbers)

    def touched(self, passage: Passage) -> tuple[str, ...]:
        """The records of which a passage has two words or more in a row."""
        runs = (run for run in self._runs(passage.words) if run is not None and run.length > 1)
        return tuple(dict.fromkeys(self._said[run.record][0] for run in runs))

    def _runs(self, said: Sequence[str]) -> list["_Run | None"]:
        """The passage in the longest runs, from its beginning; None for each word that is in no record."""
        found: list[_Run | None] = []
        at = 0
        while at < len(said):
            starts = {each for stem in _stems(said[at]) for each in self._places.get(stem, ())}
            tried = (_run(said, at, self._said[number][1], number, place) for number, place in starts)
            best = max(tried, key=lambda run: (run.length, run.record, run.first), default=None)
            found.append(best)
            at += 1 if best is None else best.length
        return found

    def _turns_round(self, number: int, runs: Sequence["_Run"]) -> bool:
        """Whether a denial is left out, among the words of a record that are quoted or just before them."""
        there = self._said[number][1]
        quoted = {place for run in runs for place in range(run.first, run.last + 1)}
        begin, end = max(0, min(quoted) - GAP), max(quoted)
        return any(there[place] in _DENIALS and place not in quoted for place in range(begin, end))


class _Run(NamedTuple):
    """Words of a passage that follow each other in a record, from one place in it to another."""

    record: int
    first: int
    last: int
    length: int


def passages(text: str) -> Iterator[Passage]:
    """The passages of a text, at most MAX_PASSAGES: its lines and sentences; of JSON, also in a line, the texts in it."""
    return (Passage(part, tuple(_weighty(part))) for part in islice(_parts(text), MAX_PASSAGES))


def _parts(text: str) -> Iterator[str]:
    if (document := _document(text)) is not None:
        yield from _leaves(document)
        return
    for line in text.splitlines(keepends=True):
        if (document := _document(line)) is None:
            yield from _sentences(line)
        else:
            yield from _leaves(document)


def _leaves(document: JSON) -> Iterator[str]:
    return (f"{part.rstrip()}\n" for leaf in texts_in(document) for part in _sentences(leaf))


def _document(text: str) -> JSON:
    """A JSON object or list; None: it is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return parse_json(text.strip(), limits=_JSON, what="text")
    except InvalidJson:
        return None


def _sentences(line: str) -> Iterator[str]:
    return (each[0] for each in _SENTENCE.finditer(line) if each[0])


def _weighty(text: str) -> Iterator[str]:
    return (word for word in words(text) if word not in FILLERS)


def _run(said: Sequence[str], start: int, there: Sequence[str], record: int, first: int) -> _Run:
    """The run that begins with this word, at this place of a record."""
    last, length = first, 1
    while start + length < len(said) and (following := _next(said[start + length], there, last)) is not None:
        last, length = following, length + 1
    return _Run(record, first, last, length)


def _next(word: str, there: Sequence[str], at: int) -> int | None:
    for place in range(at + 1, min(at + 2 + GAP, len(there))):
        if not _stems(word).isdisjoint(_stems(there[place])):
            return place
        if there[place] in _DENIALS:
            return None
    return None


def _stems(word: str) -> frozenset[str]:
    """What a word may be a form of. One with a digit is only itself."""
    if any(character.isdigit() for character in word):
        return frozenset((word,))
    cut = [word[: -len(end)] for end in _ENDINGS if word.endswith(end) and len(word) - len(end) > 2]
    return frozenset((word, *cut, *(each[:-1] for each in cut if each[-1] == each[-2])))
