"""Server-sent events: the standard's rules, against a slow reading of them, letter by letter."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock import plane
from interlock.plane.event_stream import MAX_RETRY_MS, MIN_RETRY_MS


class Reading(NamedTuple):
    events: list[plane.ServerEvent]
    last_event_id: str
    retry_ms: int | None


def read(*pieces: bytes, limit: int = 2**20) -> Reading:
    stream = plane.EventStream(max_event_bytes=limit)
    events = [event for piece in pieces for event in stream.feed(piece)]
    return Reading(events, stream.last_event_id, stream.retry_ms)


def lines_of(text: str) -> list[str]:
    """Every line that has its end."""
    lines: list[str] = []
    line, position = "", 0
    while position < len(text):
        if text[position] in "\r\n":
            lines.append(line)
            line = ""
            position += 2 if text[position : position + 2] == "\r\n" else 1
        else:
            line += text[position]
            position += 1
    return lines


def split(line: str) -> tuple[str, str]:
    if ":" not in line:
        return line, ""
    value = line[line.index(":") + 1 :]
    return line[: line.index(":")], value[1:] if value[:1] == " " else value


def slowly(data: bytes) -> Reading:
    """The standard's own words, one after the other."""
    text = data.decode("utf-8", "replace")
    text = text.removeprefix("\ufeff")
    data_buffer, type_buffer, id_buffer = "", "", ""
    last_event_id, retry_ms = "", None
    events: list[plane.ServerEvent] = []
    for line in lines_of(text):
        if line == "":
            last_event_id = id_buffer
            if data_buffer == "":
                type_buffer = ""
                continue
            if data_buffer[-1] == "\n":
                data_buffer = data_buffer[:-1]
            events.append(plane.ServerEvent(type_buffer or "message", data_buffer.encode(), last_event_id))
            data_buffer, type_buffer = "", ""
        elif line[0] == ":":
            pass
        else:
            field, value = split(line)
            if field == "event":
                type_buffer = value
            elif field == "data":
                data_buffer += value + "\n"
            elif field == "id":
                if "\0" not in value:
                    id_buffer = value
            elif field == "retry" and value and all(character in "0123456789" for character in value):
                retry_ms = max(MIN_RETRY_MS, min(int(value), MAX_RETRY_MS))
    return Reading(events, last_event_id, retry_ms)


WORDS = st.sampled_from(
    [
        *(b"data", b"data:", b"data: ", b"event:", b"event: x", b"id", b"id:", b"id: 7", b"id:\0", b":", b": note"),
        *(b"retry:", b"retry: 12", b"retry:1a", b"retry:0000000000000000099", b"retry:99999999999999999999"),
        *(b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b" ", b"\0", b"a", b"\x0b", b"\x0c", b"\x1c"),
        *(b"\xef\xbb\xbf", b"\xef\xbb", b"\xbf", "ä€😀".encode(), b"\xf0\x9f", b"\x98\x80", b"\xff"),
        *("\u2028\u0085".encode(), b"DATA:x", b"data x"),
    ]
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.lists(WORDS, max_size=40).map(b"".join) | st.binary(max_size=60), st.lists(st.integers(0, 400), max_size=8))
@example(b"data: a\r\n\r\n", [8, 9, 10])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
@example(b"data: \xf0\x9f\x98\x80\n\n", [7, 8, 9])
@example(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [])
@example(b"retry: 1\n", [])
@example(b"retry: 0\n", [])
def test_any_pieces_give_what_the_standard_says(data: bytes, cuts: list[int]):
    assert read(*cut(data, cuts)) == slowly(data)


@given(st.lists(WORDS, max_size=30).map(b"".join))
def test_byte_by_byte(data: bytes):
    assert read(*(bytes([byte]) for byte in data)) == slowly(data)


def message(data: str, event_id: str = "", event: str = "message") -> plane.ServerEvent:
    return plane.ServerEvent(event, data.encode(), event_id)


# After the names of the web platform tests for `eventsource/format-*`.
@pytest.mark.parametrize(
    ("text", "events"),
    [
        pytest.param("\ufeffdata:1\n\n\ufeffdata:2\n\ndata:3\n\n", [message("1"), message("3")], id="bom"),
        pytest.param("\ufeff\ufeffdata:1\n\ndata:2\n\ndata:3\n\n", [message("2"), message("3")], id="bom-2"),
        pytest.param(
            "data:1\r:\0\n:\r\ndata:2\n:" + "x" * 2049 + "\rdata:3\n:data:fail\r:\ndata:4\n\n",
            [message("1\n2\n3\n4")],
            id="comments",
        ),
        pytest.param("data: test\n\nda", [message("test")], id="data-before-final-empty-line"),
        pytest.param("data:test1\n\ndata:test2\n", [message("test1")], id="final-line-without-an-empty-one"),
        pytest.param("data:\n\ndata\ndata\n\ndata:test\n\n", [message(""), message("\n"), message("test")], id="data"),
        pytest.param("data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacomment\n\n", [message("test\n")]),
        pytest.param("event:test\ndata:x\n\ndata:x\n\n", [message("x", event="test"), message("x")], id="event"),
        pytest.param("event:\ndata:data\n\n", [message("data")], id="event-empty"),
        pytest.param("id:1\ndata:a\n\ndata:b\n\nid\ndata:c\n\n", [message("a", "1"), message("b", "1"), message("c")]),
        pytest.param("id:1\nid:2\0\ndata:a\n\n", [message("a", "1")], id="id-with-nul"),
        pytest.param("data\0:x\ndata:\0\n\n", [message("\0")], id="null-character"),
        pytest.param("data:test\r\ndata\ndata:test\r\n\r\n", [message("test\n\ntest")], id="newlines"),
        pytest.param("data:\ttest\rdata: \ndata:test\n\n", [message("\ttest\n\ntest")], id="leading-space"),
        pytest.param("id: 3\n\n", [], id="an id without data counts"),
        pytest.param("Data: x\n\n", [], id="names are as they are written"),
    ],
)
def test_the_web_platform_says_so(text: str, events: list[plane.ServerEvent]):
    data = text.encode()
    assert read(data).events == events
    assert read(data) == slowly(data)


def test_an_id_counts_once_its_event_is_given_out():
    stream = plane.EventStream(max_event_bytes=100, last_event_id="0")
    feed = stream.feed(b"id:1\ndata:a\n\nid:2\ndata:b\n\nid:3\ndata:c\n")
    assert stream.last_event_id == "0"
    assert next(feed).event_id == stream.last_event_id == "1"
    assert [event.event_id for event in feed] == ["2"]
    assert stream.last_event_id == "2"


def test_the_last_id_outlives_a_connection():
    stream = plane.EventStream(max_event_bytes=100, last_event_id="7")
    assert [event.event_id for event in stream.feed(b"data:a\n\n")] == ["7"]


@pytest.mark.parametrize(
    "data",
    [b"x" * 11, b"data:" + b"x" * 6 + b"\n", b"data:12345\ndata:123456\n", b":" + b"x" * 11 + b"\n", b"data\n" * 12],
)
def test_what_is_too_large_ends_the_stream(data: bytes):
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read(data, limit=10)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read(*(bytes([byte]) for byte in data), limit=10)


def test_a_limit_is_for_one_event():
    assert len(read(b"data:12345\ndata:1234\n\n" * 50 + b":12345\n" * 50, limit=10).events) == 50
