"""Redaction by value, in every form that an encoder makes of a secret."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from interlock.kernel import JSON, MIN_SECRET_LENGTH, REDACTED, Redactor, Secret, canonical

TOKEN = 'ghp_canary/+=&"\\é5Zq'
SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FFF, blacklist_categories=("Cs",)),
    min_size=MIN_SECRET_LENGTH,
    max_size=60,
)


@pytest.mark.parametrize(
    "text",
    [
        f"token {TOKEN} in the middle",
        json.dumps({"a": TOKEN}),
        json.dumps({"a": TOKEN}, ensure_ascii=False),
        f"https://x/?t={quote(TOKEN, safe='')}",
        f"https://x/?t={quote_plus(TOKEN)}",
        f"/path/{quote(TOKEN)}",
        TOKEN.encode().hex(),
        TOKEN.encode().hex().upper(),
    ],
)
def test_no_form_of_the_secret_is_left(text: str) -> None:
    redacted = Redactor([Secret(TOKEN)]).text(text)
    assert REDACTED in redacted
    assert "canary" not in redacted
    assert TOKEN.encode().hex()[:16] not in redacted.lower()


@given(SECRETS, st.binary(max_size=7), st.binary(max_size=7))
def test_base64_is_found_at_every_alignment(secret: str, before: bytes, after: bytes) -> None:
    redactor = Redactor([Secret(secret)])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert redactor.finds(encode(before + secret.encode() + after))


@given(SECRETS, st.text(), st.text())
def test_text_and_bytes_agree(secret: str, before: str, after: str) -> None:
    redactor = Redactor([Secret(secret)])
    text = (before + secret + after).encode("utf-8", "replace").decode()
    assert secret not in redactor.text(text)
    assert redactor.data(text.encode()) == redactor.text(text).encode()


@given(SECRETS)
def test_json_is_cleaned_in_keys_and_values_at_any_depth(secret: str) -> None:
    assume(not Redactor([Secret(secret)]).finds(REDACTED.encode()))
    value: JSON = {"a": [{"b": secret, secret: 1}], "page_token": "harmless", "n": 5}
    redactor = Redactor([Secret(secret)])
    cleaned = redactor.json(value)
    assert not redactor.finds(canonical(cleaned))
    if secret not in "harmless":
        assert isinstance(cleaned, dict)
        assert cleaned["page_token"] == "harmless"
        assert cleaned["n"] == 5


def slashed(secret: str) -> str:
    """As JSON stands in a page."""
    return json.dumps(secret).replace("/", "\\/")


@given(SECRETS, st.sampled_from([str, json.dumps, quote, slashed]))
def test_json_is_cleaned_as_its_texts_are(secret: str, encode: Callable[[str], str]) -> None:
    redactor = Redactor([Secret(secret)])
    text = f"said: {encode(secret)}"
    assert redactor.json({"a": ["b", (text,)]}) == {
        redactor.text("a"): [redactor.text("b"), [redactor.text(text)]],
    }


def test_where_no_secret_is_nothing_changes() -> None:
    value: JSON = {"token": ["abc", 1, None]}
    assert Redactor().json(value) is value
    assert Redactor([Secret(TOKEN)]).json(value) is value
    assert Redactor([Secret("short")]).text("short") == "short"


def test_a_redactor_does_not_show_what_it_knows() -> None:
    assert "canary" not in repr(Redactor([Secret(TOKEN)]))


def test_longer_secrets_go_before_those_inside_them() -> None:
    redactor = Redactor([Secret("abcdefgh"), Secret("abcdefgh-longer")])
    assert redactor.text("x abcdefgh-longer y") == f"x {REDACTED} y"


def test_a_redactor_that_knows_more_knows_both() -> None:
    one, other = Secret(TOKEN), Secret("another-secret-of-the-same")
    both = Redactor([one]).also([other])
    assert both.text(f"{TOKEN} {other.reveal()}") == f"{REDACTED} {REDACTED}"
    assert both == Redactor([other, one]) != Redactor([one])
    assert both.also([one]) == both
    assert hash(both.also([one])) == hash(both)
