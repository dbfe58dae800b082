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
