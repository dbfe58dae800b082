"""The grants, as Authlib decides about them, over our records."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from auth_server.assertions import JwtBearer, PrivateKeyJwt
from auth_server.endpoints import METHODS, Introspection, Registration, Revocation
from auth_server.library import errors, grants, requests, rfc6749, rfc7636, rfc8628, rfc9207
from auth_server.records import Books, Client, Code, Device, Token
from auth_server.talk import Asked, Said, said

_CODES_LIVE: Final = 60.0
_DEVICES_LIVE: Final = 900


class _Form(requests.OAuth2Payload):
    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    @property
    def data(self) -> dict[str, str]:
        return {name: values[0] for name, values in self._values.items()}

    @property
    def datalist(self) -> Any:
        return self._values


class _Document(requests.JsonPayload):
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    @property
    def data(self) -> dict[str, Any]:
        return self._document


class _Request(rfc6749.OAuth2Request):
    """A request as Authlib wants it."""

    def __init__(self, asked: Asked, url: str) -> None:
        super().__init__(asked.method, url + asked.path, headers={name.title(): v for name, v in asked.headers.items()})
        self.values = asked.args if asked.path == "/authorize" else asked.form
        self.payload = _Form(self.values)
        self.certificate = asked.certificate

    @property
    def args(self) -> dict[str, str]:
        return self.form

    @property
    def form(self) -> dict[str, str]:
        return _Form(self.values).data


class Server(rfc6749.AuthorizationServer):
    """Authlib's server over the books."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.books = books
        self.register_grant(_AuthorizationCode, [_Strict(required=True)])
        self.register_grant(_Refresh)
        self.register_grant(_ClientCredentials)
        self.register_grant(_DeviceCode)
        self.register_grant(JwtBearer)
        self.register_client_auth_method(PrivateKeyJwt.CLIENT_AUTH_METHOD, PrivateKeyJwt(books))
        self.register_client_auth_method("self_signed_tls_client_auth", _by_certificate)
        for endpoint in (_DeviceStart, Revocation, Introspection, Registration):
            self.register_endpoint(endpoint)
        self.register_extension(_Issuer(books))

    def query_client(self, client_id: str) -> Client | None:
        return self.books.clients.get(client_id)

    def create_oauth2_request(self, request: Asked) -> Any:
        return _Request(request, self.books.url)

    def create_json_request(self, request: Asked) -> Any:
        made = rfc6749.JsonRequest(request.method, self.books.url + request.path, dict(request.headers))
        made.payload = _Document(request.json)
        return made

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Said:
        answer = Said(status, headers=dict(headers)) if isinstance(body, str) else said(status, body)
        answer.headers |= dict(headers)
        return answer

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def generate_token(
        self,
        grant_type: str,
        client: Client,
        user: str | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        books = self.books
        allowed = client.get_allowed_scope(scope)
        if allowed is None:
            raise rfc6749.OAuth2Error(error="invalid_scope")
        made: dict[str, Any] = {
            "token_type": "Bearer",
            "access_token": books.make("at"),
            "expires_in": books.lifetime,
            "scope": allowed if books.grants_only is None else books.grants_only,
        }
        return {**made, "refresh_token": books.make("rt")} if include_refresh_token else made

    def save_token(self, token: Mapping[str, Any], request: Any) -> None:
        if request.credential is not None:
            request.credential.used = True
        before: Code | Token | None = request.authorization_code or request.refresh_token
        self.books.tokens.append(
            Token(
                access_token=token["access_token"],
                refresh_token=token.get("refresh_token"),
                client_id=request.client.client_id,
                scope=token["scope"],
                subject=request.user or request.client.client_id,
                resource=before.resource if before else _resource(self.books, request.payload.data),
                family=before.family if before else token["access_token"],
                issued_at=self.books.now(),
                lifetime=self.books.lifetime,
                now=self.books.now,
            )
        )


def _by_certificate(find: Callable[[str], Client | None], request: Any) -> Client | None:
    """The client whose certificate the connection has shown."""
    client = find(request.payload.client_id or "")
    shown = request.certificate
    return client if client is not None and shown is not None and shown == client.certificate else None


def _resource(books: Books, asked: Mapping[str, str]) -> str | None:
    """What tokens are asked for (RFC 8707): the one resource that there is, by its exact address."""
    resource = asked.get("resource")
    if resource not in (None, books.resource):
        raise rfc6749.OAuth2Error(error="invalid_target")
    return resource


class _Strict(rfc7636.CodeChallenge):
    """PKCE by S256 or nothing, and only for what there is."""

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        asked = grant.request.payload.data
        if not asked.get("code_challenge") or asked.get("code_challenge_method") != "S256":
            raise errors.InvalidRequestError("PKCE by S256 is required", redirect_uri=redirect_uri)
        super().validate_code_challenge(grant, redirect_uri)
        try:
            _resource(grant.server.books, asked)
        except rfc6749.OAuth2Error as error:
            error.redirect_uri = redirect_uri
            raise


class _Issuer(rfc9207.IssuerParameter):
    def __init__(self, books: Books) -> None:
        self._books = books

    def get_issuer(self) -> str | None:
        return self._books.issuer


class _AuthorizationCode(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    server: Server

    def generate_authorization_code(self) -> str:
        return self.server.books.make("code")

    def save_authorization_code(self, code: str, request: Any) -> None:
        books, asked = self.server.books, request.payload.data
        books.codes[code] = Code(
            code=code,
            client_id=request.client.client_id,
            redirect_uri=asked["redirect_uri"],
            scope=request.client.get_allowed_scope(asked.get("scope")),
            subject=request.user,
            code_challenge=asked["code_challenge"],
            code_challenge_method=asked["code_challenge_method"],
            resource=_resource(books, asked),
            family=code,
            expires_at=books.now() + _CODES_LIVE,
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        books = self.server.books
        found = books.codes.get(code)
        if found is None or found.client_id != client.client_id or books.now() >= found.expires_at:
            return None
        if found.used:
            books.end_family(found.family, "code used twice")
            return None
        if _resource(books, self.request.payload.data) not in (None, found.resource):
            raise rfc6749.OAuth2Error(error="invalid_target")
        return found

    def delete_authorization_code(self, authorization_code: Code) -> None:
        authorization_code.used = True

    def authenticate_user(self, authorization_code: Code) -> str:
        return authorization_code.subject


class _Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    server: Server
    request: Any

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        """The token, if it may be used; one that was replaced ends the whole family (RFC 9700 §4.14.2)."""
        books = self.server.books
        found = next((each for each in books.tokens if each.refresh_token == refresh_token), None)
        if found is None or found.family in books.families_ended:
            return None
        if found.replaced_at is not None and books.now() >= found.replaced_at + books.reuse_grace:
            books.end_family(found.family, "refresh token used twice")
            return None
        if _resource(books, self.request.payload.data) not in (None, found.resource):
            raise rfc6749.OAuth2Error(error="invalid_target")
        return found

    def authenticate_user(self, refresh_token: Token) -> str:
        return refresh_token.subject

    def issue_token(self, user: str, refresh_token: Token) -> dict[str, Any]:
        scope = self.request.payload.scope or refresh_token.scope
        return self.generate_token(user=user, scope=scope, include_refresh_token=self.server.books.rotates)

    def revoke_old_credential(self, refresh_token: Token) -> None:
        if self.server.books.rotates and refresh_token.replaced_at is None:
            refresh_token.replaced_at = self.server.books.now()


class _ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS[:-1]


class _DeviceStart(rfc8628.DeviceAuthorizationEndpoint):
    CLIENT_AUTH_METHODS = METHODS
    EXPIRES_IN = _DEVICES_LIVE
    server: Server

    def generate_device_code(self) -> str:
        return self.server.books.make("dc")

    def get_verification_uri(self) -> str:
        return f"{self.server.books.url}/activate"

    def save_device_credential(self, client_id: str, scope: str | None, data: Mapping[str, Any]) -> None:
        books = self.server.books
        books.devices[data["device_code"]] = Device(
            device_code=data["device_code"],
            user_code=data["user_code"],
            client_id=client_id,
            scope=scope or books.clients[client_id].scope,
            expires_at=books.now() + self.EXPIRES_IN,
            now=books.now,
        )


class _DeviceCode(rfc8628.DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    server: Server

    def query_device_credential(self, device_code: str) -> Device:
        found = self.server.books.devices.get(device_code)
        if found is None or found.used:
            raise errors.InvalidGrantError
        return found

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        books = self.server.books
        device = next(each for each in books.devices.values() if each.user_code == user_code)
        return None if device.answer is None else (books.person, device.answer)

    def should_slow_down(self, credential: Device) -> bool:
        """Who asks too early waits five seconds longer from then on (RFC 8628 §3.5)."""
        now, before = self.server.books.now(), credential.asked_at
        credential.asked_at = now
        if before is None or now >= before + credential.interval:
            return False
        credential.interval += 5.0
        return True
