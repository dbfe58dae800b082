"""How an MCP server's authorization is found, and what is refused on the way."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import connections, sdk
from interlock.connections import answer, discovery, exchange
from interlock.kernel import Secret

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
RESOURCE = "https://mcp.acme.dev/v1/mcp"
ISSUER = "https://auth.acme.dev/tenant"
GRANT = sdk.grants.McpOAuth(type="mcp")
SERVER: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "code_challenge_methods_supported": ["plain", "S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_post", "none"],
    "authorization_response_iss_parameter_supported": True,
}


def said(document: object, status: int = 200) -> answer.Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return answer.Answer(status=status, headers={}, body=body, asked_at=AT)


def server(**changes: Any) -> discovery.Server:
    described = {name: value for name, value in {**SERVER, **changes}.items() if value is not None}
    return discovery.read_server(said(described), issuer=ISSUER)


def test_a_challenge_says_where_the_resource_describes_itself() -> None:
    challenge = 'Bearer error="invalid_token", resource_metadata="https://mcp.acme.dev/.well-known/x"'
    assert discovery.resource_documents(RESOURCE, challenge) == ("https://mcp.acme.dev/.well-known/x",)
    known = "https://mcp.acme.dev/.well-known/oauth-protected-resource"
    assert discovery.resource_documents(RESOURCE, "Bearer") == (f"{known}/v1/mcp", known)
    assert discovery.resource_documents("https://mcp.acme.dev", None) == (known,)


def test_a_server_describes_itself_in_one_of_three_places() -> None:
    assert discovery.server_documents(ISSUER) == (
        "https://auth.acme.dev/.well-known/oauth-authorization-server/tenant",
        "https://auth.acme.dev/.well-known/openid-configuration/tenant",
        "https://auth.acme.dev/tenant/.well-known/openid-configuration",
    )
    assert discovery.server_documents("https://auth.acme.dev") == (
        "https://auth.acme.dev/.well-known/oauth-authorization-server",
        "https://auth.acme.dev/.well-known/openid-configuration",
    )


def test_a_resource_names_its_servers_and_scopes() -> None:
    described = {"resource": RESOURCE, "authorization_servers": [ISSUER, 5], "scopes_supported": ["a"]}
    found = discovery.Resource(resource=RESOURCE, issuers=(ISSUER,), scopes=("a",))
    assert discovery.read_resource(said(described), resource=RESOURCE) == found
    rooted = {**described, "resource": "https://mcp.acme.dev/"}  # the same address, written otherwise
    assert discovery.read_resource(said(rooted), resource="https://mcp.acme.dev").resource == rooted["resource"]


def test_a_description_becomes_a_grant() -> None:
    found = discovery.discovered(GRANT, server(), client_auth="none")
    assert (found.issuer, found.iss_required, found.pkce) == (ISSUER, True, "S256")
    assert set(sdk.grants.exchanges(found)) == {"token", "refresh", "revoke"}
    values = {
        "client_id": "c",
        "redirect_uri": "http://127.0.0.1:1/cb",
        "state": "s",
        "code_challenge": "x",
        "resource": RESOURCE,
    }
    url = exchange.authorization_url(found, values)
    assert url.startswith(f"{ISSUER}/authorize?tenant=1&response_type=code&client_id=c&")
    assert "resource=https%3A%2F%2Fmcp.acme.dev%2Fv1%2Fmcp" in url
    bare = discovery.discovered(GRANT, server(revocation_endpoint=None), client_auth="none")
    assert bare.revoke is None


def test_a_client_is_registered() -> None:
    asked = discovery.registration(GRANT, server(), redirect_uri="http://127.0.0.1:1/cb")
    assert (asked.method, asked.url) == ("POST", f"{ISSUER}/register")
    assert json.loads(asked.body) == {
        "client_name": "Interlock",
        "application_type": "native",
        "redirect_uris": ["http://127.0.0.1:1/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    public = discovery.read_registration(said({"client_id": "c-1"}, 201))
    assert (public.client, public.client_auth, public.expires_at) == (exchange.Client(client_id="c-1"), "none", None)
    told = {"client_id": "c-1", "client_secret": "secret-1234", "client_secret_expires_at": AT.timestamp()}
    private = discovery.read_registration(said(told, 201))
    assert (private.client.secret, private.client_auth, private.expires_at) == (Secret("secret-1234"), "basic", AT)
    assert discovery.read_registration(said({**told, "client_secret_expires_at": 0}, 201)).expires_at is None


def refused(read: Any) -> str:
    with pytest.raises(connections.GrantRefused) as caught:
        read()
    return f"{caught.value.reason}: {caught.value.message}"


def resource(**changes: Any) -> object:
    return discovery.read_resource(said({"resource": RESOURCE, **changes}), resource=RESOURCE)


def registered(**changes: Any) -> object:
    return discovery.registration(GRANT, server(**changes), redirect_uri="http://127.0.0.1:1/cb")


POST = {"token_endpoint_auth_method": "client_secret_post"}


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda: server(issuer="https://evil.dev"), "are of another issuer"),
        (lambda: server(issuer=f"{ISSUER}/"), "are of another issuer"),
        (lambda: server(code_challenge_methods_supported=None), "unsupported: the provider does not"),
        (lambda: server(code_challenge_methods_supported=["plain"]), "PKCE by S256"),
        (lambda: server(token_endpoint=None), "names no endpoints"),
        (lambda: server(token_endpoint="http://auth.acme.dev/token"), "is not https"),
        (lambda: server(authorization_endpoint="javascript:alert(1)"), "misconfigured"),
        (lambda: discovery.read_server(said({}, 404), issuer=ISSUER), "answered with 404"),
        (lambda: discovery.read_server(said({}, 503), issuer=ISSUER), "temporarily_unavailable"),
        (lambda: discovery.read_server(said(b"<html>"), issuer=ISSUER), "unreadable_answer"),
        (lambda: discovery.read_server(said([1]), issuer=ISSUER), "no JSON object"),
        (lambda: resource(resource="https://x.dev"), "another resource"),
        (resource, "no authorization server"),
        (lambda: resource(authorization_servers=["ftp://a"]), "is none"),
        (lambda: discovery.resource_documents(RESOURCE, 'Bearer resource_metadata="http://10.0.0.1/x"'), "is not https"),
        (lambda: registered(registration_endpoint=None), "registers no clients"),
        (lambda: registered(token_endpoint_auth_methods_supported=["tls_client_auth"]), "no client that could be registered"),
        (lambda: discovery.read_registration(said({}, 201)), "no client that can be used"),
        (lambda: discovery.read_registration(said({"client_id": "c", **POST}, 201)), "no client that can be used"),
        (lambda: discovery.read_registration(said({"error": "invalid_redirect_uri"}, 400)), "answered with 400"),
    ],
)  # fmt: skip
def test_what_is_refused_on_the_way(read: Any, words: str) -> None:
    assert words in refused(read)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=2)


@given(st.dictionaries(st.sampled_from(sorted([*SERVER, "client_id", "client_secret", "resource"])), VALUES))
def test_no_document_breaks_the_readers(document: dict[str, Any]) -> None:
    came = said({**SERVER, **document})
    for read in (
        lambda: discovery.read_server(came, issuer=ISSUER),
        lambda: discovery.read_resource(came, resource=RESOURCE),
        lambda: discovery.read_registration(said(document, 201)),
    ):
        with suppress(connections.GrantRefused):
            read()
