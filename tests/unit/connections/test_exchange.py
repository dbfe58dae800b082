"""From exchanges as data to the requests that are sent."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fix_connector as fix
from interlock import connections, sdk
from interlock.connections import exchange
from interlock.kernel import Redactor, Secret

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
BASE = "https://api.acme.dev/v1"
CLIENT = exchange.Client(client_id="app:1", secret=Secret("client secret/1"))
URLS: dict[str, Any] = {"authorize_url": "https://acme.dev/authorize", "token_url": "https://acme.dev/token"}
TOKEN = "https://acme.dev/token"


def profile(draft: sdk.Draft) -> sdk.AuthProfile:
    return fix.connector(auth=[sdk.token_profile("first", scopes=["repo"]), draft]).manifest.auth[1]


def built(
    draft: sdk.Draft, step: Any = "token", client: exchange.Client | None = CLIENT, **values: str | Secret
) -> exchange.Errand:
    """The request of a step of the profile's grant."""
    found = profile(draft)
    known = exchange.known(found, values, base_url=BASE, client=client, at=AT, nonce="nonce-1")
    [asked] = [sdk.grants.exchanges(found.grant)[step]]
    return exchange.build(asked, known, client=client)


def form(errand: exchange.Errand) -> dict[str, str]:
    assert ("content-type", "application/x-www-form-urlencoded") in errand.headers
    return dict(parse_qsl(errand.body.decode(), keep_blank_values=True, strict_parsing=True))


def refused(*args: Any, **values: Any) -> str:
    with pytest.raises(connections.GrantRefused) as caught:
        built(*args, **values)
    assert caught.value.reason == "misconfigured"
    return caught.value.message


CODE: dict[str, Any] = {
    "code": Secret("code-12345678"),
    "redirect_uri": "http://127.0.0.1:9/callback",
    "code_verifier": Secret("v" * 43),
}


def test_a_code_becomes_tokens() -> None:
    errand = built(sdk.oauth2(**URLS), **CODE)
    assert (errand.method, errand.url) == ("POST", TOKEN)
    assert form(errand) == {
        "grant_type": "authorization_code",
        "code": "code-12345678",
        "redirect_uri": "http://127.0.0.1:9/callback",
        "code_verifier": "v" * 43,
    }
    [(name, value)] = errand.secret_headers
    # RFC 6749 §2.3.1: both halves are form-encoded first.
    assert (name, value.reveal()) == (
        "authorization",
        "Basic " + base64.b64encode(b"app%3A1:client+secret%2F1").decode(),
    )


def test_a_refresh_token_becomes_tokens() -> None:
    errand = built(
        sdk.oauth2(**URLS, params={"audience": "x"}, client_auth="post"),
        "refresh",
        refresh_token=Secret("refresh-1234"),
    )
    assert form(errand) == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh-1234",
        "audience": "x",
        "client_id": "app:1",
        "client_secret": "client secret/1",
    }
    assert errand.secret_headers == ()


def test_each_step_has_a_way_of_its_own() -> None:
    """GitHub's way to end a token: another method, JSON, other parameters, the client by basic."""
    draft = sdk.oauth2(
        **URLS,
        client_auth="none",
        revoke={
            "exchange": sdk.exchange(
                "/applications/{client_id}/token",
                method="DELETE",
                body_format="json",
                params={"token": None, "token_type_hint": None, "access_token": "{access_token}"},
            ),
            "of": "access_token",
        },
    )
    errand = built(draft, "revoke", access_token=Secret("access-1234"))
    assert (errand.method, errand.url) == ("DELETE", f"{BASE}/applications/app%3A1/token")
    assert json.loads(errand.body) == {"access_token": "access-1234"}
    assert [name for name, _ in errand.secret_headers] == ["authorization"]
    assert form(built(draft, **CODE))["client_id"] == "app:1"


def test_a_device_asks_for_its_codes_and_then_for_tokens() -> None:
    draft = sdk.device(device_url="https://acme.dev/device", token_url=TOKEN)
    assert form(built(draft, "start", scope="repo user")) == {"client_id": "app:1", "scope": "repo user"}
    assert form(built(draft, "start", scope="")) == {"client_id": "app:1"}
    assert form(built(draft, device_code=Secret("device-1234"))) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "device-1234",
        "client_id": "app:1",
    }


def test_a_client_may_be_called_otherwise() -> None:
    """As at TikTok, whose parameter is client_key."""
    names = {"client_id": None, "client_key": "{client_id}"}
    sent = form(built(sdk.oauth2(**URLS, client_auth="post", params=names), **CODE))
    assert (sent["client_key"], sent["client_secret"]) == ("app:1", "client secret/1")
    assert "client_id" not in sent


def test_a_client_may_be_given_with_the_fields() -> None:
    values: dict[str, str | Secret] = {"client_id": "mine", "client_secret": Secret("my-own-secret")}
    client = exchange.client_of(values)
    errand = built(sdk.client_credentials(token_url=TOKEN, client_auth="post"), client=client, **values)
    assert form(errand) == {"grant_type": "client_credentials", "client_id": "mine", "client_secret": "my-own-secret"}
    assert exchange.client_of({"client_secret": Secret("alone-12345")}) is None


STEPS = sdk.token_exchange(
    fields=[sdk.field("key", secret=True), sdk.field("account")],
    derive={"hash": "sha256_hex({key})"},
    steps=[
        sdk.exchange("/a", body_format="json", client_auth="none", params={"/auth/key": "{hash}", "at": "{epoch}"}),
        sdk.exchange("/b/{account}", method="GET", body_format="query", client_auth="none",
                     params={"id": "{step1.id}", "account": "{account}"}, headers={"X-Key": "{key}"}),
    ],
)  # fmt: skip


def test_requests_in_a_row_know_what_came_before() -> None:
    steps = {**STEPS, "grant": {**STEPS["grant"]}}
    steps["grant"]["steps"][0]["answer"] = {"extra": {"id": "/id"}}
    found = profile(steps)
    assert isinstance(found.grant, sdk.grants.TokenExchange)
    values: dict[str, str | Secret] = {"key": Secret("key-12345678"), "account": "a/b"}
    known = exchange.known(found, values, base_url=BASE, client=None, at=AT, nonce="n")
    first = exchange.build(found.grant.steps[0], known, client=None)
    assert first.url == f"{BASE}/a"
    digest = hashlib.sha256(b"key-12345678").hexdigest()
    assert json.loads(first.body) == {"auth": {"key": digest}, "at": str(int(AT.timestamp()))}
    second = exchange.build(found.grant.steps[1], {**known, "step1.id": Secret("id-9")}, client=None)
    # What is secret stands apart from the address, and what is not cannot leave its place in it.
    assert second.url == f"{BASE}/b/a%2Fb?account=a%2Fb"
    assert [(name, value.reveal()) for name, value in second.secret_query] == [("id", "id-9")]
    assert [(name, value.reveal()) for name, value in second.secret_headers] == [("x-key", "key-12345678")]
    assert second.body == b""


def test_a_browser_is_sent_with_what_the_standard_asks_for() -> None:
    found = profile(sdk.oauth2(**URLS, authorize_params={"access_type": "offline", "prompt": None}))
    assert isinstance(found.grant, sdk.grants.AuthorizationCode)
    values = {"redirect_uri": "http://127.0.0.1:9/callback", "scope": "a b", "state": "s&x", "code_challenge": "c"}
    known = exchange.known(found, values, base_url=BASE, client=CLIENT, at=AT, nonce="n")
    url = urlsplit(exchange.authorization_url(found.grant, known))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://acme.dev/authorize"
    assert {name: value for name, [value] in parse_qs(url.query).items()} == {
        "response_type": "code",
        "client_id": "app:1",
        "redirect_uri": "http://127.0.0.1:9/callback",
        "scope": "a b",
        "state": "s&x",
        "code_challenge": "c",
        "code_challenge_method": "S256",
        "access_type": "offline",
    }
    with pytest.raises(connections.GrantRefused, match="would hold a secret"):
        exchange.authorization_url(found.grant, {**known, "state": Secret("a-secret-state")})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: refused(sdk.oauth2(**URLS), client=None, **CODE), "needs an OAuth client"),
        (lambda: refused(sdk.oauth2(**URLS), client=exchange.Client(client_id="a"), **CODE), "needs the OAuth client's secret"),
        (lambda: refused(sdk.oauth2(**URLS, client_auth="private_key_jwt"), **CODE), "needs the OAuth client's key"),
        (lambda: refused(sdk.oauth2(**URLS, client_auth="tls"), **CODE), "needs the client's certificate"),
        (lambda: refused(sdk.oauth2(**URLS)), "{code} has no value"),
        (lambda: refused(sdk.github_app(), client=CLIENT, installation_id=".."), "does not fit into the path"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_before_it_leaves(found: Any, words: str) -> None:
    assert words in found()


HOSTED = sdk.oauth2(
    authorize_url="https://{subdomain}.acme.dev/authorize",
    token_url="https://{subdomain}.acme.dev/token",
    fields=[sdk.field("subdomain")],
)


@pytest.mark.parametrize(
    "value",
    ["evil.dev/", "evil.dev#", "evil.dev?", "a@evil.dev", "a b", "", "-a", "a\n", "evil.dev:443/x", "%2e", "a:80"],
)
def test_a_value_cannot_lead_to_another_host(value: str) -> None:
    assert "address" in refused(HOSTED, subdomain=value, **CODE)


def test_a_value_that_fits_is_a_part_of_the_host() -> None:
    assert built(HOSTED, subdomain="Team-1", **CODE).url == "https://team-1.acme.dev/token"


@given(st.text(max_size=40))
def test_no_value_leaves_its_place_in_an_address(value: str) -> None:
    try:
        url = exchange.address("https://{a}.acme.dev/x/{a}/y", {"a": value})
    except connections.GrantRefused:
        return
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.hostname.endswith(".acme.dev")
    assert (parts.username, parts.port, parts.query, parts.fragment) == (None, None, "", "")
    assert parts.path.count("/") == 3


def test_a_service_may_live_where_the_fields_say() -> None:
    found = profile(sdk.api_key(base_url="https://{site}.acme.dev/v1", fields=[sdk.field("site")]))
    assert (
        exchange.service(found, {"site": "Team-1", "api_key": Secret("key-12345678")}) == "https://team-1.acme.dev/v1"
    )
    with pytest.raises(connections.GrantRefused, match="host of an address"):
        exchange.service(found, {"site": "evil.dev/"})
    assert exchange.service(profile(sdk.api_key()), {}) is None


def test_a_certificate_goes_with_the_request() -> None:
    pair = (Secret("chain-pem-text"), Secret("key-pem-text"))
    client = exchange.Client(client_id="app", certificate=pair)
    errand = built(sdk.oauth2(**URLS, client_auth="tls"), client=client, **CODE)
    assert errand.certificate == pair
    assert form(errand)["client_id"] == "app"


def test_a_line_break_writes_no_header_of_its_own() -> None:
    draft = sdk.session_token(
        login=sdk.exchange("/login", client_auth="none", headers={"X-Password": "{password}"}, body_format="none")
    )
    words = refused(draft, client=None, username="a", password=Secret("a-password\r\nX-Admin: 1"))
    assert "does not fit into the header 'X-Password'" in words


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=8, max_size=60)


@settings(max_examples=60)
@given(TEXTS, st.sampled_from(["post", "basic", "none"]), st.sampled_from(["form", "json"]))
def test_what_goes_in_comes_out_and_shows_nowhere(secret: str, auth: str, shape: str) -> None:
    draft = sdk.client_credentials(
        token_url=TOKEN, client_auth=auth, params={"key": "{client_secret}", "plain": "{client_id}"}
    )
    draft["grant"]["token"]["body_format"] = shape
    values: dict[str, str | Secret] = {"client_id": "mine", "client_secret": Secret(secret)}
    errand = built(draft, client=exchange.client_of(values), **values)
    found = json.loads(errand.body) if shape == "json" else form(errand)
    assert (found["key"], found["plain"]) == (secret, "mine")
    assert not Redactor(errand.secrets).finds(
        f"{errand.method} {errand.url} {errand.headers}".encode("utf-8", "ignore")
    )
