"""Text from outside drives no terminal, and JSON stays JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.text import clean, json_text, moment, shorten, size

HARMFUL = [*map(chr, [*range(0x20), *range(0x7F, 0xA0)]), *"\u202e\u2066\u200f\u2028"]
UNSEEN = "\u200b\u2060\ufeff\u00ad\U000e0041\U000e0101"


@pytest.mark.parametrize("character", HARMFUL)
def test_what_drives_a_terminal_is_escaped(character: str):
    assert character not in clean(f"a{character}b")
    assert character == "\n" or character not in json_text({"a": f"b{character}c"})


@pytest.mark.parametrize("character", UNSEEN)
def test_what_nobody_sees_is_shown(character: str):
    """A model reads it, and a person who was to read it first would not."""
    told = json_text({"a": f"b{character}c"})
    assert clean(f"a{character}b").isascii()
    assert told.isascii()
    assert json.loads(told) == {"a": f"b{character}c"}


def test_lines_and_tabs_are_kept_where_they_are_wanted():
    assert clean("a\n\tb\x1b", multiline=True) == "a\n\tb\\x1b"
    assert clean("a\nb") == "a\\nb"


def test_text_of_the_world_is_kept():
    world = "Füße, 漢字, ✔, می\u200cخواهم, 👩\u200d🚀, ❤\ufe0f"
    assert clean(world) == world


@given(st.text())
def test_cleaning_is_idempotent_and_leaves_nothing_harmful(text: str):
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not set(cleaned) & set(HARMFUL)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_json_text_reads_back_as_the_same(value: object):
    assert json.loads(json_text(value)) == value


def test_moments_are_in_utc():
    assert moment(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2025-12-31 23:00:00Z"
    assert moment(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01 00:00:00Z"
    assert moment(None) == ""


def test_short_forms():
    assert (size(0), size(9999), size(20480)) == ("0 B", "9999 B", "20 KiB")
    assert shorten("a\n b", 10) == "a b"
    assert shorten("abcdef", 4) == "abc…"
