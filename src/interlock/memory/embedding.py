"""Texts as vectors."""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Protocol, TypeAlias

from interlock.memory.errors import BrokenCapability, InvalidInput
from interlock.memory.words import words

Vector: TypeAlias = Sequence[float]

DIMENSIONS: Final = 256
"""Of the vectors of every provider of ours, unless it is told otherwise: what has the same can be combined."""


_EXACT: Final = 1e-12
"""How far from 1 a length may be that counts as 1: what division leaves is less."""


class Embedder(Protocol):
    """Makes vectors of texts. What is kept under one `name` can only be searched with the same."""

    @property
    def name(self) -> str:
        """Which model, in which version, so that vectors of two are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """A vector for each text, in their order. Raises ProviderUnavailable."""
        ...


class HashedEmbedder:
    """Words, and runs of three and four characters of each, hashed into a vector of length 1: the same on every machine, with
    no model and no weights. It finds inflections, misspellings and parts of words; it knows nothing of meaning."""

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        if not 16 <= dimensions <= 16_384:
            raise InvalidInput("the dimensions of a hashed embedding are from 16 to 16384")
        self.dimensions = dimensions
        self.name = f"hashed-v1-{dimensions}"

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> Vector:
        """The vector of one text; of a text without words all zeros."""
        counts: dict[str, int] = {}
        for word in words(text):
            for feature in _features(word):
                counts[feature] = counts.get(feature, 0) + 1
        made = [0.0] * self.dimensions
        for feature, count in counts.items():
            hashed = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")
            weight = (1.0 if feature[0] == "=" else 0.5) * math.sqrt(count)
            made[(hashed >> 1) % self.dimensions] += weight if hashed & 1 else -weight
        return unit(made)


def unit(vector: Vector) -> Vector:
    """The vector of length 1 in the same direction; all zeros stay so."""
    length = math.hypot(*vector)
    if not length or abs(length - 1) < _EXACT:
        return tuple(vector)
    return tuple([each / length for each in vector])


def checked(vectors: Sequence[Vector], embedder: Embedder, count: int) -> Sequence[Vector]:
    """What an embedder made, if it is what it promised. Raises BrokenCapability."""
    if len(vectors) != count or any(len(vector) != embedder.dimensions for vector in vectors):
        raise BrokenCapability(f"the embedder {embedder.name} made other vectors than it promised")
    return [unit(vector) for vector in vectors]


def given(vector: Vector, embedder: Embedder) -> Vector:
    """A vector that a caller brought along. Raises InvalidInput."""
    if len(vector) != embedder.dimensions:
        raise InvalidInput(
            f"the embedding has {len(vector)} dimensions; here they have {embedder.dimensions} ({embedder.name})"
        )
    return unit(vector)


def _features(word: str) -> list[str]:
    padded = f"<{word}>"
    grams = [padded[at : at + size] for size in (3, 4) for at in range(len(padded) - size + 1)]
    return [f"={word}", *grams]
