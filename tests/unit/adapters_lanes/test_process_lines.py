"""Lines of output: the same however the bytes arrive, and nothing lost."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.lanes.process.lines import Lines

OUTPUT = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bc", b"\xff", b"\xc3"]), max_size=30).map(b"".join)


def cut(pieces: list[bytes], limit: int = 1000) -> list[bytes]:
    lines = Lines(limit=limit)
    found = [line for piece in pieces for line in lines.feed(piece)]
    return [*found, *lines.finish()]


@given(data=OUTPUT, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_any_split_gives_the_same_lines(data: bytes, cuts: list[int]):
    bounds = [0, *sorted(min(at, len(data)) for at in cuts), len(data)]
    lines = cut([data[begin:end] for begin, end in pairwise(bounds)])
    assert lines == re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", data)


@given(data=OUTPUT, limit=st.integers(1, 5))
def test_long_lines_come_in_pieces(data: bytes, limit: int):
    pieces = cut([data], limit)
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= limit for piece in pieces)


def test_a_long_line_without_an_end_is_let_go_as_it_comes():
    lines = Lines(limit=10)
    assert list(lines.feed(b"x" * 25)) == [b"x" * 10, b"x" * 10]
    assert list(lines.feed(b"\n")) == [b"x" * 5 + b"\n"]
