"""JSON from outside: what is refused, and where it says the trouble is."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kernel import JSON, InvalidJson, JsonLimits, canonical, check_json, parse_json, read_json

SMALL = JsonLimits(max_bytes=100, max_depth=3, max_nodes=10)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": math.nan}, "$.a: nan is no number of JSON; send a finite one, or null where that is accepted"),
        ({"a": [1, math.inf]}, "$.a[1]: inf is no number of JSON"),
        ({"a": 2**53}, "beyond ±"),
        ({"a": 1e16}, "send it as text"),
        ({"a": "x\x00"}, "$.a: control character U+0000"),
        ({"a": "\x1b[31m"}, "control character U+001B"),
        ({"a\x7f": 1}, "control character U+007F"),
        ({"a": "x\x9b31m"}, "control character U+009B"),
        ({"\x80": 1}, "control character U+0080"),
        ({"a": "\ud800"}, "$.a: U+D800 is half a character (a lone surrogate)"),
        ({1: "a"}, "the key 1 is not text"),
        ({"a": {1, 2}}, "set is not a JSON value"),
        ({"a": [[["x"]]]}, "deeper than 3 levels"),
        (list(range(11)), "more than 10 values"),
        (["x" * 101], "larger than 100 bytes"),
        (["é" * 51], "larger than 100 bytes"),
        ({"é" * 51: 1}, "larger than 100 bytes"),
    ],
)
def test_what_is_refused_and_where(value: object, told: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        check_json(value, limits=SMALL)
    assert told in caught.value.message


def test_line_breaks_and_tabs_are_text() -> None:
    check_json({"body": "a\tb\nc\r\nd \xa0é \U0001f600"})


@pytest.mark.parametrize("text", ["", "{", "[1,]", "NaN", '{"a": Infinity}', "'x'", b"\xff", "[" * 100_000])
def test_texts_that_are_not_json(text: str | bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_json(text)


FINITE = "is no number of JSON; send a finite one, or null where that is accepted"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("NaN", f"NaN at line 1, column 1 {FINITE}"),
        ('{"a": 1,\n  "é": -Infinity}', f"-Infinity at line 2, column 8 {FINITE}"),
        ("[1, Infinity]", f"Infinity at line 1, column 5 {FINITE}"),
        ("[nan]", f"nan at line 1, column 2 {FINITE}"),
        (b'{\n"name": "Andr\xe9"}', "byte 0xe9 in line 2 (at 15 from the start) is not UTF-8; save the text as UTF-8"),
        (b"\xff\xfe{\x00}\x00", "byte 0xff in line 1 (at 0 from the start) is not UTF-8; save the text as UTF-8"),
        ("[1, x]", "line 1 column 5"),
    ],
)
def test_a_text_that_is_not_json_says_where_and_what_is_accepted(text: str | bytes, told: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_json(text, what="paper")
    assert caught.value.message.startswith("the paper is not JSON: ")
    assert told in caught.value.message


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "[" * 5000, "[" * 200_000 + "1" * 30])
def test_what_is_far_too_deep_is_told_the_limit(text: str) -> None:
    with pytest.raises(InvalidJson, match="nested deeper than 3 levels"):
        parse_json(text, limits=JsonLimits(max_depth=3))


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "paper $: the key 'a' stands twice"),
        ('{"x": [0, {"y": {"a": 1, "a": 1}}]}', "paper $.x[1].y: the key 'a' stands twice"),
        ('[{"\\u0061": 1, "a": 2}]', "paper $[0]: the key 'a' stands twice"),
        ('{"b": {"a": 1, "a": 2}, "b": {}}', "paper $: the key 'b' stands twice"),
        ('{"a": ' + "[" * 500 + "]" * 500 + ', "a": 1}', "paper"),
        ('{"a": ' + "[" * 1000 + "]" * 1000 + ', "a": 1}', "paper"),
        ('{"\u00e9\\u001b": 1, "\u00e9\\u001b": 2}', "control character U+001B"),
        ('{"' + "k" * 5000 + '": 1, "' + "k" * 5000 + '": 1}', "k' stands twice"),
    ],
)
def test_a_key_that_stands_twice(text: str, told: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_json(text, what="paper", unique=True)
    assert told in caught.value.message
    assert len(caught.value.message) < 300


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text('ab{}[]"\\:,', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\', max_size=2), inner, max_size=3),
    max_leaves=20,
)


@given(TREES)
def test_keys_that_stand_once_are_no_trouble(value: JSON) -> None:
    assert parse_json(json.dumps(value), unique=True) == value


NUMBERS = (
    st.integers()
    | st.integers(-(2**70), 2**70)
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
)


@given(
    st.recursive(
        st.none() | st.booleans() | NUMBERS | st.text() | NUMBERS.map(str),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_reading_gives_back_what_was_written(value: JSON) -> None:
    """Also integers of any length: orjson alone makes floats of those beyond 64 bits."""
    for raw in (json.dumps(value).encode(), json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")):
        try:
            told = read_json(raw)
        except ValueError:  # a lone surrogate is no JSON text
            assert "\\ud" in json.dumps(value)
            continue
        assert repr(told) == repr(value)


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64 - 1, 2**64, 10**19, 10**21, 10**22, 10**30, 10**300])
def test_an_integer_that_not_every_reader_keeps_exact_is_refused(number: int) -> None:
    for text in (str(number), str(-number)):
        with pytest.raises(InvalidJson, match=r"\$\.n: .* is beyond ±") as caught:
            parse_json(f'{{"n": {text}}}')
        assert len(caught.value.message) < 200


@pytest.mark.parametrize("text", ["1e22", "1E+30", "-1.5e300", "0.1234567890123456789012345", "1e-30"])
def test_floats_are_floats_however_large(text: str) -> None:
    assert parse_json(text) == float(text)


@pytest.mark.parametrize(
    "text", ["1" + "0" * 400, "1e999", "NaN", "[12345678901234567890", "12345678901234567890]", "-"]
)
def test_no_number_is_guessed(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text.encode())
    with pytest.raises(InvalidJson):
        parse_json(text)
