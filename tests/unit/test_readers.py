"""Every reader takes its seeds, and refuses what is made of them at random with the error that it promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readers_lanes import READERS

WORDS = [
    b"", b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]",
    b'"', b",", b":", b"-", b"0", b"-1", b"1e999", b"9007199254740993", b"null", b"true", b"\\ud800", b"\\u0000", b"&a",
    b"*a", b"!!x", b"data: ", b"Content-Length: 1\r\n", b"%2e", b"@", b"../", b"[[a]]", b"'",
]  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with some places cut out, repeated or overwritten."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(data))), draw(st.integers(0, 20))
        piece = draw(st.sampled_from(WORDS) | st.binary(max_size=6) | st.just(data[start : start + length] * 2))
        data = data[:start] + piece + data[start + (length if draw(st.booleans()) else 0) :]
    return data


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_taken(name: str) -> None:
    reader = READERS[name]
    assert [seed for seed in reader.seeds if not reader.read(seed)] == []


@pytest.mark.parametrize("name", READERS)
def test_what_has_shown_a_fault_once_shows_none(name: str) -> None:
    for data in READERS[name].inputs():
        READERS[name].read(data)


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_anything_else_is_refused_properly(name: str, data: st.DataObject) -> None:
    reader = READERS[name]
    reader.read(data.draw(spoilt(reader.inputs()) | st.binary(max_size=100)))
