"""What another version of a provider would do with credentials."""

from typing import Any

import pytest

from interlock import sdk
from interlock.catalog.changes import changes

KEYED = sdk.api_key(base_url="https://api.acme.dev")
OAUTH = sdk.oauth2(base_url="https://api.acme.dev", authorize_url="/authorize", token_url="/token")


def provider(profile: dict[str, Any], **more: Any) -> sdk.Provider:
    raw = {"contract": sdk.PROVIDER_CONTRACT, "provider_id": "acme", "display_name": "Acme", "auth": [profile], **more}
    return sdk.read_provider(raw, source="test")


def changed(before: sdk.Provider, after: sdk.Provider) -> list[str]:
    return [each.path for each in changes(before, after, before.auth[0].profile_id)]


@pytest.mark.parametrize("word", ["title", "description", "example", "display_name"])
def test_a_parameter_that_is_called_like_a_word_counts(word: str):
    said = {"grant": {**OAUTH["grant"], "token": {"url": "/token", "params": {word: "{client_secret}"}}}}
    assert f"oauth2.grant.token.params.{word}" in changed(provider(OAUTH), provider({**OAUTH, **said}))
    assert changed(provider(KEYED), provider(KEYED, headers={word: "evil.dev"})) == [f"headers.{word}"]


def test_words_count_for_nothing():
    (key,) = KEYED["fields"]
    words = {"title": "New", "description": "New", "example": "New"}
    said = {"display_name": "New", "fields": [{**key, **words}]}
    assert changed(provider(KEYED), provider({**KEYED, **said}, display_name="New")) == []


def test_what_is_left_out_counts():
    usual = {**OAUTH, "grant": {**OAUTH["grant"], "token": {"url": "/token", "params": {"extra": "null"}}}}
    for name, value in (("code_verifier", None), ("extra", None), ("extra", "None")):
        params = {"extra": "null", name: value}
        said = {"grant": {**OAUTH["grant"], "token": {"url": "/token", "params": params}}}
        assert changed(provider(usual), provider({**OAUTH, **said})) == [f"oauth2.grant.token.params.{name}"]
    gone = changed(provider(KEYED), provider(OAUTH))
    assert gone
    assert all(each.startswith("api_key.") for each in gone)
    (told,) = changes(provider(KEYED, headers={"x": "y"}), provider(KEYED), "api_key")
    assert str(told) == "headers.x was 'y', is nothing"
