"""Framing: any split of a stream gives the same messages, and no bytes give anything but messages or a FramingError."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import plane

NAMES: tuple[plane.FramingName, ...] = ("newline", "content-length")
LIMIT = 64
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.lists(BODIES.map(orjson.dumps), max_size=6)
SOUP = st.lists(
    st.sampled_from(
        [
            b"{", b"}", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Content-Length: 3", b"Content-Length: 99999",
            b"content-length:2\r\n\r\n{}", b"Content-Type: x; charset=utf-16", b"X: " + b"y" * 70, b"{}\n", b"\xff\x00",
            b"a" * 65, b"h" * 5000,
        ]
    )
    | st.binary(max_size=9),
    max_size=12,
).map(b"".join)  # fmt: skip


def splits(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def cut(name: plane.FramingName, parts: list[bytes], limit: int = LIMIT) -> tuple[list[bytes], str | None]:
    """The messages, and the code of the error that ended them."""
    framing, found = plane.make_framing(name, max_bytes=limit), list[bytes]()
    try:
        for part in parts:
            for message in framing.feed(part):
                found.append(message)
        framing.finish()
    except plane.FramingError as error:
        return found, error.code
    return found, None


@given(name=st.sampled_from(NAMES), messages=MESSAGES, cuts=st.lists(st.integers(min_value=0), max_size=8))
def test_every_split_gives_what_was_sent(name: plane.FramingName, messages: list[bytes], cuts: list[int]):
    framing = plane.make_framing(name, max_bytes=10_000)
    stream = b"".join(framing.encode(message) for message in messages)
    assert cut(name, splits(stream, cuts), 10_000) == (messages, None)


@given(name=st.sampled_from(NAMES), data=SOUP, cuts=st.lists(st.integers(min_value=0), max_size=8))
def test_bytes_of_any_kind_are_messages_or_a_framing_error(name: plane.FramingName, data: bytes, cuts: list[int]):
    whole = cut(name, [data])
    assert cut(name, splits(data, cuts)) == whole
    assert cut(name, [bytes([byte]) for byte in data]) == whole
    assert all(len(message) <= LIMIT for message in whole[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_message_may_have_just_the_limit(name: plane.FramingName):
    framing = plane.make_framing(name, max_bytes=LIMIT)
    exact, larger = b"x" * LIMIT, b"x" * (LIMIT + 1)
    assert cut(name, [framing.encode(exact)]) == ([exact], None)
    assert cut(name, [framing.encode(exact) + framing.encode(larger)]) == ([exact], "message_too_large")


def test_a_message_laid_out_over_lines_goes_out_on_one():
    framing = plane.make_framing("newline", max_bytes=LIMIT)
    [line] = framing.feed(framing.encode(b'{\r\n"a":1\n}'))
    assert orjson.loads(line) == {"a": 1}


def test_lines_may_end_in_crlf_and_be_empty():
    assert cut("newline", [b'\r\n{"a":1}\r\n  \n[]\n']) == ([b'{"a":1}', b"[]"], None)


def test_an_endless_line_is_refused_before_it_ends():
    assert cut("newline", [b"x" * 40, b"x" * 40]) == ([], "message_too_large")


def test_an_endless_header_is_refused_before_it_ends():
    assert cut("content-length", [b"X: " + b"y" * 5000]) == ([], "header_too_large")


def test_a_huge_length_is_refused_before_the_message_comes():
    assert cut("content-length", [b"Content-Length: 999999999999\r\n\r\n"]) == ([], "message_too_large")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Content-Length",
        b"Content-Length: ",
        b"Content-Length: -1",
        b"Content-Length: +1",
        b"Content-Length: 1_0",
        b"Content-Length: 0x2",
        b"Content-Length: \xd9\xa2",
        b"Content-Length: 2\r\nContent-Length: 2",
        b"Content-Length: 2\r\n folded",
        b"Content-Length : 2",
        b"Content-Length: 2\nX: y",
        b"Content-Type: application/json",
        b"Content-Length: 2\r\nContent-Type: application/json; charset=utf-16",
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_refused(header: bytes):
    assert cut("content-length", [header + b"\r\n\r\n{}"]) == ([], "bad_header")


def test_a_header_may_say_more_than_the_length():
    header = b'Content-Type: application/vscode-jsonrpc; charset="utf8"\r\ncontent-length:  2\t\r\nX-More: y\r\n\r\n'
    assert cut("content-length", [header + b"{}"]) == ([b"{}"], None)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("newline", b"{}"),
        ("content-length", b"Content-Le"),
        ("content-length", b"Content-Length: 2\r\n\r\n"),
        ("content-length", b"Content-Length: 2\r\n\r\n{"),
    ],
)
def test_half_a_message_at_the_end(name: plane.FramingName, data: bytes):
    assert cut(name, [data]) == ([], "message_cut_off")
