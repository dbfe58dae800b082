"""JSON from outside: what is refused, and where it says the trouble is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kernel import JSON, InvalidJson, JsonLimits, canonical, check_json, parse_json

SMALL = JsonLimits(max_bytes=100, max_depth=3, max_nodes=10)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": math.nan}, "$.a: nan is not a JSON number"),
        ({"a": [1, math.inf]}, "$.a[1]: inf is not a JSON number"),
        ({"a": 2**53}, "beyond ±"),
        ({"a": 1e16}, "send it as text"),
        ({"a": "x\x00"}, "$.a: control character U+0000"),
        ({"a": "\x1b[31m"}, "control character U+001B"),
        ({"a\x7f": 1}, "control character U+007F"),
        ({"a": "\ud800"}, "lone surrogate U+D800"),
        ({1: "a"}, "the key 1 is not text"),
        ({"a": {1, 2}}, "set is not a JSON value"),
        ({"a": [[["x"]]]}, "deeper than 3 levels"),
        (list(range(11)), "more than 10 values"),
        (["x" * 101], "larger than 100 bytes"),
    ],
)
def test_what_is_refused_and_where(value: object, told: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        check_json(value, limits=SMALL)
    assert told in caught.value.message


def test_line_breaks_and_tabs_are_text() -> None:
    check_json({"body": "a\tb\nc\r\nd é \U0001f600"})


@pytest.mark.parametrize("text", ["", "{", "[1,]", "NaN", '{"a": Infinity}', "'x'", b"\xff", "[" * 100_000])
def test_texts_that_are_not_json(text: str | bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_json(text)


def test_size_is_judged_before_parsing() -> None:
    with pytest.raises(InvalidJson, match="has 10485762 bytes; the limit is 1048576"):
        parse_json(b'"' + b"x" * 10 * 1_048_576 + b'"')


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_passes_has_a_canonical_form_that_passes_again(value: JSON) -> None:
    try:
        check_json(value)
    except InvalidJson:
        return
    data = canonical(value)
    assert canonical(parse_json(data)) == data
