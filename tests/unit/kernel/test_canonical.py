"""Canonical JSON: the same value has the same bytes, and only JSON has any (RFC 8785)."""

import json
import math

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from interlock.kernel import JSON, canonical, digest, digest_bytes

SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
VALUES: st.SearchStrategy[JSON] = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False, min_value=-(2.0**53) + 1, max_value=2.0**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_the_quick_way_writes_the_bytes_of_the_standard(value: JSON) -> None:
    try:
        expected = rfc8785.dumps(value)  # pyright: ignore[reportArgumentType]
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(ValueError, match="no canonical JSON"):
            canonical(value)
    else:
        assert canonical(value) == expected


@given(VALUES)
def test_canonical_bytes_read_back_as_the_value(value: JSON) -> None:
    try:
        data = canonical(value)
    except ValueError:
        return  # lone surrogates
    assert canonical(orjson.loads(data)) == data


def test_keys_are_sorted_by_utf16_not_by_utf8() -> None:
    # U+FB33 sorts after U+1F600 in UTF-16, whose first unit is a surrogate (RFC 8785 §3.2.3).
    assert canonical({"\ufb33": 1, "\U0001f600": 2, "a": 3}) == '{"a":3,"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        1e16,
        -9007199254740993.0,
        "\ud800",
        {"\ud800": 1},
        {1: 2},
        b"x",
        {1, 2},
    ],
)
def test_what_is_not_json_has_no_canonical_form(value: object) -> None:
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical(value)
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical({"deep": [value]})


def test_large_floats_are_fine_where_they_stay_floats() -> None:
    assert canonical(1e21) == b"1e+21"
    assert canonical([0.5, -0.0, 1.0]) == b"[0.5,0,1]"


def test_numbers_of_the_standard() -> None:
    # Finite examples of RFC 8785, appendix B.
    assert canonical(333333333.33333329) == b"333333333.3333333"
    assert canonical(1e-27) == b"1e-27"
    assert canonical(5e-324) == b"5e-324"


def test_digests_name_their_algorithm() -> None:
    assert digest({"a": 1}) == digest_bytes(b'{"a":1}')
    assert digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_deep_value_is_an_error_and_not_a_crash() -> None:
    value: JSON = "x"
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical(value)
    assert json.loads(canonical({"a": [1]})) == {"a": [1]}
