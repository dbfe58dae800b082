"""What a client signs (RFC 7523): to show who it is, or in place of a person's agreement."""

from collections.abc import Mapping
from typing import Any, Final

from joserfc import jwk, jwt
from joserfc.errors import JoseError

from auth_server.library import rfc6749, rfc7523
from auth_server.records import Books, Client

_LEEWAY: Final = 60
_LONGEST: Final = 3600


def check_claims(books: Books, claims: Mapping[str, Any], *, error: str) -> None:
    """Refuse, with that error, claims that are not for us, not of now, or were seen before."""
    registry = jwt.JWTClaimsRegistry(
        now=int(books.now()),
        leeway=_LEEWAY,
        iss={"essential": True},
        aud={"essential": True, "values": [f"{books.url}/token", books.url]},
        exp={"essential": True},
        jti={"essential": True},
    )
    try:
        registry.validate(dict(claims))
    except JoseError as wrong:
        raise rfc6749.OAuth2Error(wrong.description.replace('"', "'").replace("\\", "/"), error=error) from wrong
    if claims["exp"] > books.now() + _LONGEST + _LEEWAY or claims["jti"] in books.assertions_used:
        raise rfc6749.OAuth2Error("the assertion lives too long, or was used", error=error)
    books.assertions_used.add(claims["jti"])


def key_of(client: Client) -> jwk.Key:
    """The key that the client is registered with."""
    if client.public_key is None:
        raise rfc6749.OAuth2Error(error="invalid_client")
    kind = "EC" if "BEGIN EC" in client.public_key else "RSA"
    return jwk.import_key(client.public_key, kind)


class PrivateKeyJwt(rfc7523.JWTBearerClientAssertion):
    """`private_key_jwt`."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, books: Books) -> None:
        super().__init__()
        self._books = books

    def get_audiences(self) -> list[str]:
        return [f"{self._books.url}/token", self._books.url]

    def verify_claims(self, claims: jwt.Claims) -> None:
        check_claims(self._books, claims, error="invalid_client")
        if claims["sub"] != claims["iss"]:
            raise rfc6749.OAuth2Error(error="invalid_client")

    def resolve_client_public_key(self, client: Client) -> jwk.Key:
        return key_of(client)


class JwtBearer(rfc7523.JWTBearerGrant):
    """The assertion is what is exchanged. Its subject is the person, or left out for the client itself."""

    server: Any

    def verify_claims(self, claims: jwt.Claims) -> None:
        check_claims(self.server.books, claims, error="invalid_grant")

    def resolve_issuer_client(self, issuer: str) -> Client | None:
        return self.server.books.clients.get(issuer)

    def resolve_client_public_key(self, client: Client) -> jwk.Key:
        return key_of(client)

    def authenticate_user(self, subject: str) -> str | None:
        books: Books = self.server.books
        return subject if subject == books.person or subject in books.clients else None

    def has_granted_permission(self, client: Client, user: str) -> bool:
        return True
