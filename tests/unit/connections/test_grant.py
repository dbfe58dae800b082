"""What may become a connection."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import connections, plane
from interlock.kernel import Secret

NOW = datetime(2026, 5, 1, tzinfo=UTC)
GOOD = connections.TokenGrant(
    connector_id="acme",
    profile_id="token",
    fields=("token",),
    secrets={"token": Secret("tok-0123456789")},
    subject="octo",
    scopes=frozenset({"read"}),
)


def problems(grant: connections.TokenGrant) -> list[str]:
    with pytest.raises(connections.InvalidGrant) as caught:
        grant.checked(NOW)
    found = caught.value.details["problems"]
    assert isinstance(found, list)
    return [str(problem) for problem in found]


def test_a_good_grant_is_named_after_its_connector():
    GOOD.checked(NOW)
    assert GOOD.connection_name == "acme"
    assert replace(GOOD, name="work").connection_name == "work"


def test_all_problems_come_at_once():
    grant = replace(
        GOOD,
        name="",
        fields=("token", "user"),
        secrets={"token": Secret("short"), "extra": Secret("x" * 20)},
        scopes=frozenset({"re\nad"}),
        base_url="http://acme.dev",
        expires_at=NOW,
    )
    found = problems(grant)
    assert len(found) == 7
    for part in (
        "name must",
        "'user' is missing",
        "'extra' is not",
        "5 characters",
        "not a scope",
        "in the clear",
        "expired",
    ):
        assert any(part in problem for problem in found), part


@pytest.mark.parametrize("value", ["abcdefg", "x" * 16_385])
def test_bad_secrets_are_refused_without_being_quoted(value: str):
    grant = replace(GOOD, secrets={"token": Secret(value)})
    assert len(problems(grant)) == 1
    with pytest.raises(connections.InvalidGrant) as caught:
        grant.checked(NOW)
    assert value.strip() not in str(caught.value)
    assert value.strip() not in repr(grant)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://acme.dev", "https://acme.dev"),
        ("https://acme.dev/", "https://acme.dev"),
        ("https://acme.dev:8443/Api/v3/", "https://acme.dev:8443/Api/v3"),
        ("https://acme.dev:443", "https://acme.dev"),
        ("HTTPS://GHE.Example.com/API", "https://ghe.example.com/API"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("http://localhost:1", "http://localhost:1"),
    ],
)
def test_good_addresses_are_kept_in_normal_form(url: str, kept: str):
    assert replace(GOOD, base_url=url).checked(NOW).base_url == kept
    assert plane.parse_base(kept).text == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.dev",
        "http://localhost.acme.dev",
        "http://127.0.0.1.acme.dev",
        "https://user:word@acme.dev",
        "https://acme.dev?x=1",
        "https://acme.dev#x",
        "https://",
        "https://acme.dev:99999",
        "https://[::1",
        "ftp://acme.dev",
        "acme.dev",
        "https://acme.dev/\n",
        "https://acme.dev/ x",
        "https://äcme.dev",
        "https://acme.dev/" + "x" * 500,
        "https://acme.dev/a/../b",
        "https://acme.dev/%2e%2e/b",
        "https://acme.dev/a|b",
        "https://acme.dev/%zz",
        "https://acme.dev:0",
        "https://acme.dev/x?",
        "https://\u212aelvin.dev",
    ],
)
def test_bad_addresses(url: str):
    [problem] = problems(replace(GOOD, base_url=url))
    assert problem.startswith("base_url ")
    assert "word" not in problem


def test_a_name_cannot_pose_as_an_id():
    assert problems(replace(GOOD, name="con_" + "0" * 32)) == ["the name has the shape of a connection id"]


def test_scopes_are_counted():
    assert problems(replace(GOOD, scopes=frozenset(str(number) for number in range(501)))) == [
        "501 scopes; the limit is 500"
    ]


def test_what_is_no_secret_may_be_short_and_may_stand_elsewhere():
    """Such as a site, which requests show in a header beside the key."""
    for site in ("eu", "eu-central"):
        shown = {**GOOD.secrets, "shown_x_site": Secret(site)}
        grant = replace(GOOD, fields=tuple(shown), secrets=shown, name=site, plain=("shown_x_site",))
        assert grant.checked(NOW).name == site
        assert len(problems(replace(grant, plain=()))) == 1
        assert "'token' has 2" in problems(replace(grant, secrets={**shown, "token": Secret("eu")}))[0]


def test_a_token_that_still_lives_is_welcome():
    replace(GOOD, expires_at=NOW + timedelta(seconds=1)).checked(NOW)


ADDRESS = st.text(max_size=60) | st.text(alphabet="aZ.:/[]%2e1?#@|", max_size=20).map("https://{}".format)


@given(url=ADDRESS, name=st.just("work") | st.text(max_size=60), token=st.just("tok-0123456789") | st.text(max_size=60))
def test_whatever_comes_is_taken_or_refused_by_name(url: str, name: str, token: str):
    grant = replace(GOOD, base_url=url, name=name, secrets={"token": Secret(token)})
    try:
        address = grant.checked(NOW).base_url
    except connections.InvalidGrant:
        return
    assert address is not None
    assert plane.parse_url(address + "/user").text == address + "/user"
