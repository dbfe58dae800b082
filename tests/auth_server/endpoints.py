"""What else an authorization server offers, by Authlib: ending and looking at tokens, and registering clients."""

from collections.abc import Mapping
from typing import Any, Final

from auth_server.library import rfc7009, rfc7591, rfc7662
from auth_server.records import CLIENT_AUTHS, Books, Client, Token

METHODS: Final = list(CLIENT_AUTHS)
SCOPES: Final = ("read", "write")


class Revocation(rfc7009.RevocationEndpoint):
    """RFC 7009: with a refresh token goes all that came of it; an access token goes alone."""

    CLIENT_AUTH_METHODS = METHODS
    server: Any

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        return self.server.books.find_token(token_string)

    def revoke_token(self, token: Token, request: Any) -> None:
        if request.form["token"] == token.refresh_token:
            self.server.books.end_family(token.family, "revoked")
        token.revoked = True


class Introspection(rfc7662.IntrospectionEndpoint):
    """RFC 7662, for the client whose token it is."""

    CLIENT_AUTH_METHODS = METHODS[:-1]
    server: Any

    def check_permission(self, token: Token, client: Client, request: Any) -> bool:
        return token.check_client(client)

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        return self.server.books.find_token(token_string)

    def introspect_token(self, token: Token) -> dict[str, Any]:
        return {
            "client_id": token.client_id,
            "scope": token.scope,
            "sub": token.subject,
            "exp": int(token.issued_at + token.lifetime),
        }


class Registration(rfc7591.ClientRegistrationEndpoint):
    """RFC 7591, for everybody."""

    server: Any

    def authenticate_token(self, request: Any) -> bool:
        return True

    def get_server_metadata(self) -> dict[str, Any]:
        return described(self.server.books)

    def generate_client_info(self, request: Any) -> dict[str, Any]:
        """A public client gets no secret."""
        books: Books = self.server.books
        named = {"client_id": f"registered-{len(books.clients)}", "client_id_issued_at": int(books.now())}
        if request.payload.data.get("token_endpoint_auth_method") == "none":
            return named
        ends = 0 if books.client_secrets_live is None else int(books.now()) + books.client_secrets_live
        return {**named, "client_secret": books.make("cs"), "client_secret_expires_at": ends}

    def save_client(self, client_info: dict[str, Any], client_metadata: Mapping[str, Any], request: Any) -> Client:
        client = Client(
            client_id=client_info["client_id"],
            client_secret=client_info.get("client_secret"),
            auth_method=client_metadata.get("token_endpoint_auth_method", "client_secret_basic"),
            redirect_uris=tuple(client_metadata["redirect_uris"]),
            grant_types=frozenset(client_metadata.get("grant_types", ["authorization_code"])),
        )
        self.server.books.clients[client.client_id] = client
        return client


def described(books: Books) -> dict[str, Any]:
    """What the authorization server says of itself (RFC 8414)."""
    url = books.url
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/authorize",
        "token_endpoint": f"{url}/token",
        "device_authorization_endpoint": f"{url}/device",
        "revocation_endpoint": f"{url}/revoke",
        "introspection_endpoint": f"{url}/introspect",
        "registration_endpoint": f"{url}/register",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "grant_types_supported": sorted(books.grants),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": books.client_auths,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
        "authorization_response_iss_parameter_supported": books.issuer is not None,
    }


def resource_described(books: Books) -> dict[str, Any]:
    """What the MCP server says of itself (RFC 9728)."""
    return {
        "resource": books.resource,
        "authorization_servers": [books.url],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }
