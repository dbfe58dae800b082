"""Auth profiles as data: every short declaration, what it publishes, and what is refused when it is loaded."""

from typing import Any

import pytest

import fix_connector as fix
from interlock import sdk

URLS: dict[str, Any] = {"authorize_url": "https://acme.dev/authorize", "token_url": "https://acme.dev/token"}
TOKEN = "https://acme.dev/token"
KEYED = [sdk.field("key", secret=True)]

PROFILES: dict[str, sdk.Draft] = {
    "token": sdk.token_profile(),
    "api_key": sdk.api_key(),
    "query": sdk.api_key("query", query="key"),
    "basic": sdk.basic(),
    "mutual_tls": sdk.mutual_tls(),
    "oauth2": sdk.oauth2(**URLS),
    "slack": sdk.oauth2(
        "slack", **URLS, scope_separator=",", answer={"access_token": "/authed_user/access_token", "extra": {"team": "/team/id"}}
    ),
    "unrefreshed": {**sdk.oauth2("unrefreshed", **URLS), "grant": {**sdk.oauth2(**URLS)["grant"], "refresh": None}},
    "client_credentials": sdk.client_credentials(token_url=TOKEN),
    "device": sdk.device(device_url="https://acme.dev/device", token_url=TOKEN),
    "jwt_bearer": sdk.jwt_bearer(token_url=TOKEN, assertion={"subject": "{client_id}", "claims": {"scope": "{scope}"}}),
    "self_signed": sdk.jwt_bearer("self_signed", token_url=None, assertion={"algorithm": "HS256", "key_encoding": "hex"}),
    "github_app": sdk.github_app(),
    "installed": sdk.github_app("installed", install_url="https://github.com/apps/acme/installations/new"),
    "exchange": sdk.token_exchange(
        fields=KEYED,
        steps=[
            sdk.exchange("/a", body_format="json", params={"/auth/key": "{key}"}, answer={"extra": {"id": "/id"}}),
            sdk.exchange("/b", client_auth="none", params={"id": "{step1.id}", "key": "{key}"}),
        ],
    ),
    "session": sdk.session_token(
        login=sdk.exchange("/login", client_auth="none", params={"u": "{username}", "p": "{password}"}),
        logout=sdk.exchange("/logout", client_auth="none", headers={"X-Session": "{access_token}"}),
        idle_seconds=1200,
        apply=[sdk.in_header("{access_token}", name="X-Session")],
    ),
    "native_cli": sdk.native_cli(argv=["gh", "auth", "token"]),
    "mcp": sdk.mcp_oauth(),
}  # fmt: skip


def profile(draft: sdk.Draft) -> sdk.AuthProfile:
    return fix.connector(auth=[sdk.token_profile("first", scopes=["repo"]), {**draft}]).manifest.auth[1]


def problems(draft: sdk.Draft) -> str:
    with pytest.raises(sdk.InvalidManifest) as caught:
        profile(draft)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "modes", "install", "reauth", "renewal", "lease"),
    [
        ("token", "manual external_secret", "paste", "paste", "none", "token"),
        ("api_key", "manual external_secret", "paste", "paste", "none", "api_key"),
        ("query", "manual external_secret", "paste", "paste", "none", "api_key"),
        ("basic", "manual external_secret", "paste", "paste", "none", "password basic"),
        ("mutual_tls", "manual external_secret", "paste", "paste", "none", "certificate private_key"),
        ("oauth2", "hosted", "browser", "browser", "refresh", "access_token"),
        ("slack", "hosted", "browser", "browser", "refresh", "access_token team"),
        ("unrefreshed", "hosted", "browser", "browser", "none", "access_token"),
        ("client_credentials", "manual external_secret", "automatic", "paste", "again", "access_token"),
        ("device", "hosted", "device", "device", "refresh", "access_token"),
        ("jwt_bearer", "manual external_secret", "automatic", "paste", "again", "access_token"),
        ("self_signed", "manual external_secret", "automatic", "paste", "again", "access_token"),
        ("github_app", "provider_app", "automatic", "paste", "again", "access_token"),
        ("installed", "provider_app", "browser", "browser", "again", "access_token"),
        ("exchange", "manual external_secret", "automatic", "paste", "again", "access_token"),
        ("session", "manual external_secret", "automatic", "paste", "again", "access_token"),
        ("native_cli", "provider_native", "cli", "cli", "again", "access_token"),
        ("mcp", "hosted", "browser", "browser", "refresh", "access_token"),
    ],
)
def test_every_profile_publishes_how_it_is_kept(
    name: str, modes: str, install: str, reauth: str, renewal: str, lease: str
) -> None:
    found = profile(PROFILES[name])
    assert " ".join(found.management_modes) == modes
    assert (found.install, found.reauth, found.renewal) == (install, reauth, renewal)
    assert " ".join(found.lease_fields) == lease
    assert "refresh_token" not in found.lease_fields
    assert set(found.lease_fields) <= set(found.durable_fields)


def test_no_profile_is_left_out() -> None:
    kinds = {each["grant"]["type"] for each in [*PROFILES.values(), sdk.no_auth()]}
    described = sdk.AuthProfile.model_json_schema()["properties"]["grant"]["discriminator"]["mapping"]
    assert kinds == set(described)


@pytest.mark.parametrize("name", PROFILES)
def test_a_file_can_say_all_of_it(name: str) -> None:
    manifest = fix.connector(auth=[sdk.token_profile("first", scopes=["repo"]), PROFILES[name]]).manifest
    assert sdk.load_manifest(f"# yaml\n{manifest.model_dump_json()}").digest == manifest.digest
    assert sdk.load_manifest(manifest.model_dump_json(exclude_defaults=True)).auth == manifest.auth


def test_a_service_without_a_credential_has_nothing_to_keep() -> None:
    found = fix.connector(auth=[sdk.token_profile(scopes=["repo"]), sdk.no_auth()]).manifest.auth[1]
    assert (found.management_modes, found.install, found.renewal, found.durable_fields) == ((), "none", "none", ())


def test_standard_parameters_are_added_and_can_be_left_out() -> None:
    tuned = sdk.oauth2(**URLS, params={"audience": "https://api.acme.dev", "redirect_uri": None, "once": "{code}"})
    found = sdk.grants.exchanges(profile(tuned).grant)
    assert found["token"].params == {
        "grant_type": "authorization_code",
        "code": "{code}",
        "redirect_uri": None,
        "code_verifier": "{code_verifier?}",
        "resource": "{resource?}",
        "audience": "https://api.acme.dev",
        "once": "{code}",
    }
    assert found["refresh"].params == {
        "grant_type": "refresh_token",
        "refresh_token": "{refresh_token}",
        "resource": "{resource?}",
        "audience": "https://api.acme.dev",
    }


def grant(name: str, **changes: Any) -> str:
    """What is said of a profile whose grant is changed so."""
    return problems({**PROFILES[name], "grant": {**PROFILES[name]["grant"], **changes}})


def token(**said: Any) -> str:
    """What is said of a profile whose request for tokens is so."""
    return grant("oauth2", token={"url": TOKEN, **said})


def field(**said: Any) -> str:
    """What is said of a field."""
    return problems(sdk.api_key(fields=[sdk.field("a", **said)]))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: grant("oauth2", authorise_url="x"), "[oauth2].grant.authorise_url: there is no such key (did you mean 'auth"),
        (lambda: token(ansver={}), "[oauth2].grant.token.ansver: there is no such key (did you mean 'answer'?)"),
        (lambda: grant("oauth2", type="oauth3"), "auth[oauth2].grant: Input tag 'oauth3'"),
        (lambda: token(url="http://acme.dev/token"), "auth[oauth2].grant.token.url: an https address"),
        (lambda: token(url="https://acme.dev/token?a=b"), "an https address"),
        (lambda: token(url="https://a:b@acme.dev/token"), "an https address"),
        (lambda: token(url="//acme.dev/token"), "an https address"),
        (lambda: token(params={"a": "{nope}"}), "grant.token.params.a: {nope} has no value here"),
        (lambda: token(params={"a": "{"}), "a brace stands alone"),
        (lambda: token(params={"a": "{A b}"}), "is no name in braces"),
        (lambda: token(params={"a b": "x"}), "'a b' is no name of a parameter"),
        (lambda: token(method="GET"), "a GET has no body"),
        (lambda: token(body_format="none", client_auth="post"), "needs parameters"),
        (lambda: token(headers={"Authorization": "x"}), "client_auth basic writes it"),
        (lambda: token(headers={"Host": "x"}), "belongs to the credential"),
        (lambda: token(answer={"access_token": "a"}), "grant.token.answer.access_token: 'a' is no JSON pointer"),
        (lambda: token(answer={"error_codes": {"a": "b"}}), "grant.token.answer.error_codes"),
        (lambda: token(answer={"extra": {"access_token": "/a"}}), "'access_token' is a value that a grant makes"),
        (lambda: grant("oauth2", revoke={"exchange": {"url": "ftp://a"}}), "grant.revoke.url"),
        (lambda: grant("oauth2", authorize_params={"a": "{client_secret}"}), "authorize_params.a: {client_secret} has no"),
        (lambda: grant("installed", confirm=[]), "grant.confirm: an installation's id that a browser brings proves nothing"),
        (lambda: grant("installed", confirm=[{"url": "/a", "params": {"a": "{code}", "b": "{step1.x}"}}]), "{step1.x} has no"),
        (lambda: grant("exchange", steps=[{"url": "/a/{key}"}]), "steps[0].url: {key} has no value here"),
        (lambda: grant("exchange", steps=[{"url": "/a", "params": {"a": "{step1.id}"}}]), "{step1.id} has no value here"),
        (lambda: grant("exchange", steps=[]), "at least 1 item"),
        (lambda: grant("jwt_bearer", assertion={"key": "client_id"}), "the field 'client_id' is no secret"),
        (lambda: grant("jwt_bearer", assertion={"key": "nope"}), "there is no field 'nope'"),
        (lambda: grant("jwt_bearer", assertion={"key_encoding": "hex"}), "a key of RS256 is PEM"),
        (lambda: grant("jwt_bearer", assertion={"claims": {"a": "{b}"}}), "assertion.claims.a: {b} has no value"),
        (lambda: grant("device", user_code="a"), "grant.user_code: 'a' is no JSON pointer"),
        (lambda: grant("mcp", registration="metadata"), "registration by metadata has it"),
        (lambda: grant("native_cli", argv=[]), "at least 1 item"),
        (lambda: problems(sdk.oauth2(**URLS, fields=[sdk.field("code")])), "'code' is a value that a grant makes"),
        (lambda: problems(sdk.oauth2(**URLS, apply=[sdk.in_header("{refresh_token}")])), "{refresh_token} has no value"),
        (lambda: problems(sdk.oauth2(**URLS, apply=[])), "no request shows the credential"),
        (lambda: problems(sdk.basic(derive={"basic": "rot13({password})"})), "there is no function 'rot13'"),
        (lambda: problems(sdk.basic(derive={"more": "{password}"})), "no request shows what is derived as 'more'"),
        (lambda: problems(sdk.basic(derive={"basic": "base64(x)"})), "it names nothing"),
        (lambda: problems(sdk.basic(derive={"password": "{username}"})), "'password' is the name of 2 values"),
        (lambda: problems(sdk.basic(derive={"a" * 41: "{password}"})), "longer than 40"),
        (lambda: problems(sdk.api_key(fields=KEYED)), "no request shows the secret field 'key'"),
        (lambda: problems(sdk.api_key(query="a b")), "'a b' is no name of a parameter"),
        (lambda: problems(sdk.api_key(apply=[sdk.in_header("{api_key?}")])), "it cannot be left out"),
        (lambda: problems(sdk.api_key(apply=[sdk.in_header("{api_key}")] * 2)), "2 placements are in the header authori"),
        (lambda: problems(sdk.api_key(apply=[sdk.by_certificate()])), "'certificate' is no secret of this profile"),
        (lambda: problems({**PROFILES["token"], "fields": [sdk.field("token", secret=True, optional=True)]}), "is optional, and"),
        (lambda: problems(sdk.api_key(base_url="https://{nope}.acme.dev")), "base_url: {nope} has no value here; there are none"),
        (lambda: problems(sdk.api_key(base_url="https://{api_key}.acme.dev")), "base_url: {api_key} has no value here"),
        (lambda: problems(sdk.api_key(base_url="http://{site}.dev", fields=[sdk.field("site")])), "http only leads"),
        (lambda: problems(sdk.api_key(base_url="https://a.dev/{site}?", fields=[sdk.field("site")])), "an https address"),
        (lambda: field(secret=True, default="x"), "a secret has no default"),
        (lambda: field(choices=["x"], default="y"), "it is none of the choices"),
        (lambda: field(pattern="("), "this is no pattern"),
        (lambda: field(pattern="(?=x)"), "this is no pattern: look-around"),
        (lambda: field(pattern="[a-z]+", example="a1"), "example: it does not fit the pattern"),
        (lambda: field(pattern="[a-z]+", default="a1"), "default: it does not fit the pattern"),
        (lambda: problems(sdk.api_key(fields=[sdk.field(f"a{n}") for n in range(31)])), "the limit is 30"),
    ],
)  # fmt: skip
def test_what_is_refused(found: Any, words: str) -> None:
    assert words in found()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (sdk.in_query("state", "{api_key}"), "[ticket.list].http.query.state: the query parameter 'state' is the credential's"),
        (sdk.in_query("creator", "{api_key}"), "[ticket.create].reconcile.query.creator: the query parameter 'creator' is"),
        (sdk.in_header("{api_key}", name="idempotency-key"), "[payment.create].idempotency_header: the header 'Idempotency-Key'"),
        (sdk.in_header("{api_key}", name="If-None-Match"), "[ticket.list].http.conditional: the header 'if-none-match' is"),
        (sdk.in_header("{api_key}", name="X-Lamp"), "[lamp].http.headers.x-lamp: the header 'x-lamp' is"),
        (sdk.in_header("{api_key}", name="Accept"), "auth[api_key].apply[0].name: requests say 'Accept' themselves"),
    ],
)  # fmt: skip
def test_an_operation_leaves_a_credential_its_place(place: sdk.Draft, words: str) -> None:
    lamp = sdk.get("lamp", "/lamp", input=sdk.Input, output=fix.Found, headers={"x-lamp": "on"})
    with pytest.raises(sdk.InvalidManifest) as caught:
        fix.connector(
            auth=[sdk.token_profile(scopes=["repo"]), sdk.api_key(apply=[place])], operations=[*fix.operations(), lamp]
        )
    assert words in str(caught.value)


def test_names_of_headers_and_of_parameters_are_apart() -> None:
    places = [
        sdk.in_header("{api_key}", name="State"),
        sdk.in_query("State", "{api_key}"),
        sdk.in_query("title", "{api_key}"),
    ]
    fix.connector(auth=[sdk.token_profile(scopes=["repo"]), sdk.api_key(apply=places)])


def test_all_problems_are_reported_at_once() -> None:
    found = grant(
        "oauth2", authorize_url="x", token={"url": "y", "answer": {"scope": "z"}}, revoke={"exchange": {"url": "w"}}
    )
    assert "has 4 problems:" in found
