"""What is given for a profile, and what of it is sealed."""

from pathlib import Path
from typing import Any

import pytest

import fix_connector as fix
from fix_tls import believed, certificate, private_key
from interlock import connections, sdk
from interlock.connections import answer, fields
from interlock.kernel import Secret

KEY = "key-12345678"


def profile(draft: sdk.Draft) -> sdk.AuthProfile:
    return fix.connector(auth=[sdk.token_profile("first", scopes=["repo"]), draft]).manifest.auth[1]


def revealed(values: Any) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}


FULL = sdk.api_key(
    fields=[
        sdk.field("region", choices=["eu", "us"], default="eu"),
        sdk.field("account", pattern="[a-z]{2,8}", example="acme"),
        sdk.field("note", optional=True),
    ]
)


def test_what_is_given_is_checked_and_completed() -> None:
    found = fields.checked(profile(FULL), {"api_key": KEY, "account": Secret("acme")}, connector_id="acme")
    assert found == {"api_key": Secret(KEY), "account": "acme", "region": "eu"}
    assert isinstance(found["api_key"], Secret)


def test_all_problems_are_told_at_once_and_no_secret() -> None:
    given: dict[str, str | Secret] = {"api_key": Secret("a\nb-SEKRET"), "account": "A", "region": "asia", "x": "y"}
    with pytest.raises(connections.InvalidGrant) as caught:
        fields.checked(profile(FULL), given, connector_id="acme")
    assert caught.value.details["problems"] == [
        "'x' is no field of this profile",
        "'api_key' may hold only visible ASCII, and no blank at either end",
        "'region' is one of eu, us",
        "'account' does not have the form that the profile asks for, such as acme",
    ]
    assert "SEKRET" not in f"{caught.value!r} {caught.value.to_json()}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "the secret field 'api_key' is missing"),
        ({"api_key": ""}, "the secret field 'api_key' is missing"),
        ({"api_key": KEY}, "the field 'account' is missing"),
        ({"api_key": "short", "account": "acme"}, "'api_key' has 5 characters"),
        ({"api_key": "x" * 16_385, "account": "acme"}, "'api_key' has 16385 characters"),
        ({"api_key": KEY, "account": "a" * 2001}, "'account' has 2001 characters"),
        ({"api_key": KEY, "account": "acme", "note": "a\nb"}, "'note' holds characters"),
    ],
)
def test_what_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(connections.InvalidGrant) as caught:
        fields.checked(profile(FULL), given, connector_id="acme")
    assert words in caught.value.message


@pytest.mark.parametrize("value", [f"{KEY}\n", "tok 0123\r\nX: y", f" {KEY}", "kéy-12345678", "key\x00-12345678"])
def test_what_requests_show_fits_into_a_header(value: str) -> None:
    with pytest.raises(connections.InvalidGrant, match="may hold only visible ASCII") as caught:
        fields.checked(profile(FULL), {"api_key": value, "account": "acme"}, connector_id="acme")
    assert value.strip() not in str(caught.value)


def test_a_certificate_comes_with_its_key(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "client.example")
    given = {"certificate": believed(pem), "private_key": private_key(pem)}
    found = fields.checked(profile(sdk.mutual_tls()), given, connector_id="acme")
    assert revealed(fields.sealed(profile(sdk.mutual_tls()), found)) == given
    with pytest.raises(connections.InvalidGrant, match="holds characters that no text has"):
        fields.checked(profile(sdk.mutual_tls()), {**given, "private_key": "a\x00bcdefgh"}, connector_id="acme")
    other = private_key(certificate(tmp_path, "client.example"))
    for name, value, words in (
        ("certificate", given["private_key"], "'certificate' holds no certificate"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "no certificate"),
        ("private_key", given["certificate"], "'private_key' holds no private key"),
        ("private_key", private_key(pem, "password"), "without a password"),
        ("private_key", other, "'private_key' is not the key of 'certificate'"),
    ):
        with pytest.raises(connections.InvalidGrant, match=words):
            fields.checked(profile(sdk.mutual_tls()), {**given, name: value}, connector_id="acme")


def test_what_is_derived_is_sealed_beside_what_it_is_made_of() -> None:
    basic = profile(sdk.basic())
    given = fields.checked(basic, {"username": "otto", "password": "pass-wörd-1"}, connector_id="acme")
    assert revealed(fields.sealed(basic, given)) == {"password": "pass-wörd-1", "basic": "b3R0bzpwYXNzLXfDtnJkLTE="}


def test_functions_nest() -> None:
    nested = profile(sdk.basic(derive={"basic": "urlencode(base64({username}:{password}))"}))
    given = fields.checked(nested, {"username": "otto", "password": "password-12"}, connector_id="acme")
    assert revealed(fields.sealed(nested, given))["basic"] == "b3R0bzpwYXNzd29yZC0xMg%3D%3D"


def test_a_single_text_is_for_the_field_that_has_to_be_given() -> None:
    assert fields.only_field(profile(sdk.api_key())) == "api_key"
    assert fields.only_field(profile(sdk.basic())) is None


def test_what_is_granted_is_sealed_and_what_is_not_shown_is_not_kept() -> None:
    draft = sdk.oauth2(
        authorize_url="https://acme.dev/a",
        token_url="https://acme.dev/t",
        answer={"extra": {"shop": "/shop"}},
        apply=[sdk.in_header("Bearer {access_token}"), sdk.in_header("{shop}", name="X-Shop")],
    )
    tokens = answer.Tokens(
        access_token=Secret("access-1234"),
        refresh_token=Secret("refresh-1234"),
        extra={"shop": Secret("s-1"), "other": Secret("other-12345")},
    )
    assert revealed(fields.sealed(profile(draft), {"code": Secret("code-12345")}, tokens)) == {
        "access_token": "access-1234",
        "refresh_token": "refresh-1234",
        "shop": "s-1",
    }
    bare = answer.Tokens(access_token=Secret("access-1234"))
    with pytest.raises(connections.GrantRefused, match="requests are to show 'shop'"):
        fields.sealed(profile(draft), {}, bare)
