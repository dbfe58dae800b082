"""Texts as words, and words as vectors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import memory

EMBEDDER = memory.HashedEmbedder(256)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("naïve café", ["naive", "cafe"]),
        ("ﬁle ①②", ["file", "12"]),
        ("snake_case kebab-case", ["snake", "case", "kebab", "case"]),
        ("v1.2.3 #42", ["v1", "2", "3", "42"]),
        ('"NEAR(a b)" AND col:x OR *', ["near", "a", "b", "and", "col", "x", "or"]),
        ("東京タワーabc", ["東京", "京タ", "タワ", "ワー", "abc"]),
        ("字", ["字"]),
        ("🎉 ...", []),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_words(text: str, words: list[str]):
    assert list(memory.words(text)) == words


def test_a_query_has_each_word_once_and_not_too_many():
    assert memory.terms("b a B") == ("b", "a")
    assert len(memory.terms(" ".join(map(str, range(1_000))))) == 64


@given(st.text())
def test_every_text_has_words_that_are_their_own(text: str):
    words = list(memory.words(text))
    assert all(word and len(word) <= 64 for word in words)
    assert list(memory.words(" ".join(words))) == words


@given(st.text())
def test_a_vector_has_length_one_or_nothing_in_it(text: str):
    vector = EMBEDDER.vector(text)
    assert len(vector) == 256
    length = math.fsum(each * each for each in vector)
    assert length == pytest.approx(1) or length == 0


def test_vectors_are_near_for_words_that_share_their_parts():
    def near(one: str, other: str) -> float:
        return sum(map(float.__mul__, EMBEDDER.vector(one), EMBEDDER.vector(other)))

    assert near("connections", "connection") > 0.5 > near("connections", "weather") + 0.3
    assert near("preferance", "preference") > 0.4


def test_the_vector_of_a_text_is_the_same_everywhere():
    """What was embedded by one release is searched by another."""
    vector = memory.HashedEmbedder(16).vector("a stable vector")
    assert [round(each, 4) for each in vector] == STABLE


STABLE = [
    -0.1644,
    0.3288,
    -0.1644,
    0.1644,
    -0.1644,
    0.1644,
    -0.1644,
    -0.1644,
    0.1644,
    0,
    0,
    0,
    0.3288,
    -0.3288,
    0.6576,
    -0.1644,
]
