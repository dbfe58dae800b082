"""Which profile `interlock connect` takes, and what it says of what is missing."""

from dataclasses import replace

import pytest

from fix_connector import connector
from fix_consent import EMPTY
from interlock import sdk
from interlock.cli import joining
from interlock.cli.errors import Usage

WISH = joining.Wish(
    connector="acme", profile=None, fields=(), secret_fields=(), name=None, base_url=None, scopes=None, device=False,
    browser=True, port=0,
)  # fmt: skip


def declared(*drafts: sdk.Draft) -> sdk.Manifest:
    return connector(auth=drafts, operations=[sdk.get("me.fetch", "/me", input=EMPTY, output=EMPTY)]).manifest


@pytest.mark.parametrize(
    ("drafts", "said"),
    [
        ([sdk.api_key()], "where the token is: --token-env NAME or --token-file FILE"),
        (
            [sdk.basic()],
            "several fields: `interlock connect acme --profile basic --field username=VALUE --secret-env password=VARIABLE`",
        ),
        ([sdk.basic(), sdk.api_key()], "--token-env NAME"),
        ([sdk.no_auth()], "acme needs no account"),
    ],
)
def test_who_gives_nothing_is_told_what_to_give(drafts: list[sdk.Draft], said: str):
    with pytest.raises(Usage) as caught:
        joining.choose(declared(*drafts), WISH)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("draft", "line"),
    [
        (sdk.api_key(), "--token-env NAME"),
        (sdk.basic(), "--profile basic --field username=VALUE --secret-env password=VARIABLE"),
        (sdk.mcp_oauth(), "--profile mcp"),
        (
            {**sdk.mcp_oauth(), "fields": [sdk.field("site", default="eu"), sdk.field("x", optional=True)]},
            "--profile mcp",
        ),
    ],
)
def test_a_line_has_all_that_has_to_be_given(draft: sdk.Draft, line: str):
    auth = declared(draft).auth
    assert joining.line_for("acme", auth[0], beside=auth) == f"interlock connect acme {line}"


def test_each_of_several_keys_has_a_line_of_its_own():
    auth = declared(sdk.api_key(), sdk.api_key("in_query", query="key")).auth
    lines = [joining.line_for("acme", each, beside=auth) for each in auth]
    assert lines == [f"interlock connect acme {how}--token-env NAME" for how in ("", "--profile in_query ")]


def test_a_profile_that_is_named_is_taken_though_nothing_is_given_for_it():
    manifest = declared(sdk.oauth2(authorize_url="/a", token_url="/t", base_url="https://acme.dev"), sdk.api_key())
    assert joining.choose(manifest, replace(WISH, profile="api_key")) == manifest.auth[1]
