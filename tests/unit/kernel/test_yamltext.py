"""YAML as JSON: what it reads, and that nothing surprises."""

import contextlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kernel import JsonLimits, parse_yaml

LIMITS = JsonLimits(max_depth=16)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abc:# -'\"\n\té", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def read(text: str) -> object:
    return parse_yaml(text, limits=LIMITS, what="page")


@given(VALUES)
def test_json_is_yaml(value: object):
    assert read(json.dumps(value)) == value


@pytest.mark.parametrize("word", ["no", "on", "2026-11-20", "0x10", "1_000", "0o7", ".inf", "1:30"])
def test_only_json_is_resolved(word: str):
    assert read(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x 1", "line 1: anchors, aliases and tags are not used in a page"),
        ("a: !!python/name:os.system x", "tags"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands twice"),
        ("a: 1\n---\nb: 1", "one document"),
        ("", "it is empty"),
        ("a: [", "it is not YAML"),
        ("[" * 17 + "]" * 17, "deeper than 16"),
    ],
)
def test_what_is_refused_is_named(text: str, problem: str):
    with pytest.raises(ValueError, match=re.escape(problem)):
        read(text)


@given(st.text(max_size=200))
def test_any_text_is_a_value_or_a_problem(text: str):
    with contextlib.suppress(ValueError):
        read(text)
