"""JWTs that we sign: each algorithm, what is in them, and what a wrong key is told."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from joserfc import jwk, jwt

import fix_connector as fix
from interlock import connections, sdk
from interlock.connections import exchange
from interlock.kernel import Secret

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
EPOCH = int(AT.timestamp())
BASE = "https://api.acme.dev"
TOKEN = "https://acme.dev/token"
KEYS: dict[str, Any] = {
    "RS256": jwk.RSAKey.generate_key(2048),
    "ES256": jwk.ECKey.generate_key("P-256"),
    "Ed25519": jwk.OKPKey.generate_key("Ed25519"),
}
KEYS["PS256"] = KEYS["RS256"]


def profile(draft: sdk.Draft) -> sdk.AuthProfile:
    return fix.connector(auth=[sdk.token_profile("first", scopes=["repo"]), draft]).manifest.auth[1]


def asked(draft: sdk.Draft, step: Any) -> sdk.grants.Exchange:
    return sdk.grants.exchanges(profile(draft).grant)[step]


def pem(algorithm: str) -> Secret:
    return Secret(KEYS[algorithm].as_pem(private=True).decode())


def known(draft: sdk.Draft, client: exchange.Client | None = None, **values: str | Secret) -> dict[str, str | Secret]:
    return exchange.known(profile(draft), values, base_url=BASE, client=client, at=AT, nonce="n-1")


def opened(value: str | Secret | None, key: Any, algorithm: str) -> jwt.Token:
    assert isinstance(value, Secret)
    return jwt.decode(value.reveal(), key, algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "Ed25519"])
def test_an_assertion_says_who_asks_for_what(algorithm: str) -> None:
    draft = sdk.jwt_bearer(
        token_url=TOKEN,
        assertion={
            "algorithm": algorithm,
            "subject": "{client_id}",
            "key_id": "k1",
            "claims": {"scope": "{scope?}", "a": "{epoch}"},
        },
    )
    values = known(draft, client_id="robot@acme", private_key=pem(algorithm), scope="read write")
    token = opened(values["assertion"], KEYS[algorithm], algorithm)
    assert token.header == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
    assert token.claims == {
        "iss": "robot@acme",
        "sub": "robot@acme",
        "aud": TOKEN,
        "jti": "n-1",
        "iat": EPOCH - 60,
        "exp": EPOCH + 300,
        "scope": "read write",
        "a": str(EPOCH),
    }
    assert (
        "scope"
        not in opened(
            known(draft, client_id="robot@acme", private_key=pem(algorithm))["assertion"], KEYS[algorithm], algorithm
        ).claims
    )


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("text", "k" * 32), ("hex", "6b" * 32), ("base64", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")],
)
def test_a_shared_key_signs_a_token_of_its_own(encoding: str, text: str) -> None:
    draft = sdk.jwt_bearer(
        token_url=None, assertion={"algorithm": "HS256", "key_encoding": encoding, "audience": "/admin/"}
    )
    values = known(draft, client_id="app", private_key=Secret(text))
    token = opened(values["assertion"], jwk.OctKey.import_key("k" * 32), "HS256")
    assert token.claims["aud"] == "/admin/"
    grant = sdk.grants.JwtBearer(type="jwt_bearer")
    tokens = exchange.self_signed(grant, values, at=AT)
    assert tokens.access_token == values["assertion"]
    assert tokens.expires_at is not None
    assert (tokens.expires_at - AT).total_seconds() == 300


def test_a_github_app_asks_for_its_installations_token() -> None:
    client = exchange.Client(client_id="Iv1.app", key=pem("RS256"))
    values = known(sdk.github_app(), client, installation_id="42")
    errand = exchange.build(asked(sdk.github_app(), "token"), values, client=client)
    assert (errand.method, errand.url, errand.body) == ("POST", f"{BASE}/app/installations/42/access_tokens", b"")
    [(name, value)] = errand.secret_headers
    assert name == "authorization"
    token = opened(Secret(value.reveal().removeprefix("Bearer ")), KEYS["RS256"], "RS256")
    assert token.claims["iss"] == "Iv1.app"
    assert int(str(token.claims["exp"])) - int(str(token.claims["iat"])) <= 600


def test_a_client_signs_who_it_is() -> None:
    client = exchange.Client(client_id="app", key=pem("ES256"), key_id="k2", algorithm="ES256")
    draft = sdk.client_credentials(token_url=TOKEN, client_auth="private_key_jwt", fields=[])
    values = known(draft, client)
    errand = exchange.build(asked(draft, "token"), values, client=client)
    sent = dict(parse_qsl(errand.body.decode()))
    assert sent["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert "client_secret" not in sent
    token = opened(Secret(sent["client_assertion"]), KEYS["ES256"], "ES256")
    assert token.header["kid"] == "k2"
    assert (token.claims["iss"], token.claims["sub"], token.claims["aud"]) == ("app", "app", TOKEN)
    assert token.claims["jti"] == "n-1-client"


def test_a_provider_that_says_what_it_is_called_is_the_audience() -> None:
    client = exchange.Client(client_id="app", key=pem("RS256"))
    draft = sdk.oauth2(authorize_url=TOKEN, token_url=TOKEN, client_auth="private_key_jwt", issuer="https://acme.dev")
    values = known(draft, client, refresh_token=Secret("refresh-1234"))
    errand = exchange.build(asked(draft, "refresh"), values, client=client)
    sent = dict(parse_qsl(errand.body.decode()))
    assert opened(Secret(sent["client_assertion"]), KEYS["RS256"], "RS256").claims["aud"] == "https://acme.dev"


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", Secret("no-key-at-all-SEKRET")),
        ("RS256", Secret("-----BEGIN PRIVATE KEY-----\nSEKRET\n-----END PRIVATE KEY-----\n")),
        ("RS256", pem("ES256")),
        ("ES256", pem("Ed25519")),
        ("Ed25519", pem("RS256")),
        ("HS256", Secret("zz-SEKRET-is-no-hex")),
    ],
)
def test_a_key_that_does_not_sign_so_is_told_without_it(algorithm: str, key: Secret) -> None:
    rule = {"algorithm": algorithm, **({"key_encoding": "hex"} if algorithm == "HS256" else {})}
    with pytest.raises(connections.GrantRefused, match=f"is no key that {algorithm} signs with") as caught:
        known(sdk.jwt_bearer(token_url=TOKEN, assertion=rule), client_id="a", private_key=key)
    assert caught.value.reason == "misconfigured"
    assert "SEKRET" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.__suppress_context__
