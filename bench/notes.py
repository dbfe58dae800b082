"""Notes to be found again, made up by a fixed seed, and questions whose answers are known."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

_SYLLABLES: Final = (
    "ka lo mi ren tu sol ber din fa gor hel jun pra quo vel wis xan yor zet chi dra min pol sta ter vin".split()  # noqa: SIM905
)
_WORDS: Final = 8_000


@dataclass(frozen=True, slots=True)
class Question:
    """Three words of a note, one of them misspelt, and the number of that note."""

    text: str
    answer: int


def notes(count: int) -> list[str]:
    """So many texts of 8 to 20 words, drawn as words are in language: few often, most seldom."""
    chance = random.Random(20_261_121)
    drawn = ("".join(chance.choice(_SYLLABLES) for _ in range(chance.randint(2, 4))) for _ in range(_WORDS))
    words = list(dict.fromkeys(drawn))
    weights = list(accumulate(1 / (rank + 5) for rank in range(len(words))))
    return [" ".join(chance.choices(words, cum_weights=weights, k=chance.randint(8, 20))) for _ in range(count)]


def questions(texts: Sequence[str], count: int) -> list[Question]:
    """So many, about notes from all over."""
    chance = random.Random(7)
    made: list[Question] = []
    for _ in range(count):
        answer = chance.randrange(len(texts))
        kept, bent, other = chance.sample(
            sorted(set(texts[answer].split()), key=lambda word: (len(word), word))[-5:], 3
        )
        at = chance.randrange(1, len(bent) - 1)
        swapped = bent[:at] + bent[at + 1] + bent[at] + bent[at + 2 :]
        made.append(Question(f"{kept} {swapped} {other}", answer))
    return made
