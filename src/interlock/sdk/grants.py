"""How credentials come to be, as data: what is sent to whom, and how the answer is read.

The texts of an exchange are templates (`fill`): what a step knows is listed in `check_auth`. The parameters that a grant's own
standard asks for are added (`exchanges`); a parameter of the same name says otherwise, and null leaves it out.
"""

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias, cast

from pydantic import Field

from interlock.sdk import fill
from interlock.sdk.kinds import Argument
from interlock.sdk.terms import Name, Part, Text

ClientAuth: TypeAlias = Literal["none", "basic", "post", "private_key_jwt", "tls"]
"""How the client shows who it is: not at all (its id is a parameter), in the header Authorization, by parameters, by a signed
assertion (RFC 7523), by its certificate (RFC 8705)."""

RefusalCode: TypeAlias = Literal[
    "invalid_grant",
    "invalid_client",
    "invalid_scope",
    "unauthorized_client",
    "access_denied",
    "expired_token",
    "slow_down",
    "authorization_pending",
    "temporarily_unavailable",
    "unsupported",
    "misconfigured",
    "unreadable_answer",
]
"""What a refusal can mean. Nothing else of what a provider says leaves the engine."""

Algorithm: TypeAlias = Literal["RS256", "PS256", "ES256", "Ed25519", "HS256"]
"""How a JWT is signed (RFC 7518, RFC 9864)."""

Seconds: TypeAlias = Annotated[int, Field(ge=0, le=31_622_400)]
Pointer: TypeAlias = Annotated[str, Field(max_length=500)]
"""A JSON pointer into the answer; of a form-encoded one, `/name`."""


class TokenAnswer(Part):
    """Where the parts of an answer are. `format` auto goes by the content type, then by the look of it. A value at `error`
    that is not null, false, 0 or empty is a refusal, whatever the status; `error_codes` says what a provider's own codes mean.
    `expires_in` counts in `expires_in_unit`, `expires_at` is a moment; numbers may be texts. `lifetime_seconds` counts where
    the answer says nothing. `extra` keeps further values, each a secret, under names of their own."""

    format: Literal["auto", "json", "form"] = "auto"
    access_token: Pointer = "/access_token"
    refresh_token: Pointer | None = "/refresh_token"
    expires_in: Pointer | None = "/expires_in"
    expires_in_unit: Literal["s", "ms"] = "s"
    expires_at: Pointer | None = None
    expires_at_format: Literal["rfc3339", "epoch", "epoch_ms"] = "rfc3339"
    lifetime_seconds: Seconds | None = None
    scope: Pointer | None = "/scope"
    scope_separator: Annotated[str, Field(min_length=1, max_length=3)] = " "
    token_type: Pointer | None = "/token_type"
    error: Pointer | None = "/error"
    error_codes: dict[str, RefusalCode] = Field(default={})
    extra: dict[Name, Pointer] = Field(default={})


class Exchange(Part):
    """One request that is answered with tokens. `url` is an address, or a path below the service's; in a JSON body a
    parameter's name may be a pointer (`/auth/user`)."""

    url: Text
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    body_format: Literal["form", "json", "query", "none"] = "form"
    params: dict[str, Text | None] = Field(default={})
    headers: dict[str, Text] = Field(default={})
    client_auth: ClientAuth = "basic"
    answer: TokenAnswer = TokenAnswer()


class RefreshRule(Part):
    """How a refresh token becomes new tokens; without an exchange, as the tokens came. `rotates`: whether the provider gives a
    new refresh token each time and ends the old one; `reuse_grace_seconds`: how long it still takes the old one."""

    exchange: Exchange | None = None
    rotates: Literal["yes", "no", "unknown"] = "unknown"
    reuse_grace_seconds: Seconds = 0


Reach: TypeAlias = Literal["token", "grant", "account"]
"""What ends at a provider with a token: it alone, all of the same consent, or all that the account ever let us have."""


class RevokeRule(Part):
    """How the provider is told that a token is to end (RFC 7009). `of`: which one; the access token where there is no refresh
    token. `ends`: what ends with it."""

    exchange: Exchange
    of: Literal["refresh_token", "access_token"] = "refresh_token"
    ends: Reach = "account"


class Assertion(Part):
    """A JWT that we sign. `key` names the value that holds the key: PEM, or for HS256 a text in `key_encoding`. `audience`
    defaults to the address that the assertion goes to."""

    algorithm: Algorithm = "RS256"
    key: Name = "private_key"
    key_encoding: Literal["text", "hex", "base64"] = "text"
    key_id: Text | None = None
    issuer: Text | None = "{client_id}"
    subject: Text | None = None
    audience: Text | None = None
    claims: dict[str, Text] = Field(default={})
    lifetime_seconds: Annotated[int, Field(ge=30, le=3600)] = 300


class OAuthGrant(Part):
    """What all grants with a token endpoint share. `scope_separator` stands between the scopes that are asked for."""

    scope_separator: Annotated[str, Field(min_length=1, max_length=3)] = " "
    refresh: RefreshRule | None = None
    revoke: RevokeRule | None = None


class NoGrant(Part):
    """The service asks for no credential."""

    type: Literal["none"]


class Manual(Part):
    """What a person gives is the credential."""

    type: Literal["manual"]


class AuthorizationCode(OAuthGrant):
    """OAuth 2 in a browser (RFC 6749 §4.1, RFC 7636). `issuer` is what the provider calls itself in `iss` (RFC 9207); once
    `iss_required`, a callback without it is refused."""

    type: Literal["authorization_code"]
    authorize_url: Text
    authorize_params: dict[str, Text | None] = Field(default={})
    pkce: Literal["S256", "none"] = "S256"
    issuer: Text | None = None
    iss_required: bool = False
    token: Exchange
    refresh: RefreshRule | None = RefreshRule()


class ClientCredentials(OAuthGrant):
    """A client that acts for itself (RFC 6749 §4.4)."""

    type: Literal["client_credentials"]
    token: Exchange


class Device(OAuthGrant):
    """A person types a code on another device (RFC 8628). `start` asks for the codes, `token` is asked until they are used;
    the pointers say where the codes are."""

    type: Literal["device"]
    start: Exchange
    token: Exchange
    device_code: Pointer = "/device_code"
    user_code: Pointer = "/user_code"
    verification_uri: Pointer = "/verification_uri"
    verification_uri_complete: Pointer | None = "/verification_uri_complete"
    interval: Pointer | None = "/interval"
    refresh: RefreshRule | None = RefreshRule()


class JwtBearer(OAuthGrant):
    """A signed assertion becomes a token (RFC 7523 §2.1); without `token` the assertion is the token."""

    type: Literal["jwt_bearer"]
    assertion: Assertion = Assertion()
    token: Exchange | None = None


class GithubApp(OAuthGrant):
    """An app's own key opens one of its installations: a JWT becomes an installation token. `install_url` is where a person
    installs the app, which leads back with `installation_id` and a code. As anybody can write any id into an address, `confirm`
    says by which requests in a row, the first of them with `{code}`, it is found out that the installation is that person's;
    what one answers (`extra`) the next ones know as `{step1.NAME}`."""

    type: Literal["github_app"]
    install_url: Text | None = None
    confirm: Annotated[tuple[Exchange, ...], Field(max_length=5)] = ()
    assertion: Assertion = Assertion(lifetime_seconds=540)
    token: Exchange


class TokenExchange(OAuthGrant):
    """Requests in a row, declared: what one answers (`extra`) the next ones know as `{step1.NAME}`; the last one gives the
    token."""

    type: Literal["exchange"]
    steps: Annotated[tuple[Exchange, ...], Field(min_length=1, max_length=5)]


class Session(Part):
    """A login that gives a session: it ends when nobody has used it for `idle_seconds`, or by `logout`. Another one is begun that
    long after it began, used or not."""

    type: Literal["session"]
    login: Exchange
    logout: Exchange | None = None
    idle_seconds: Seconds | None = None


class NativeCli(Part):
    """A program on this machine says the token on its standard output, as text or as JSON that `answer` reads."""

    type: Literal["native_cli"]
    argv: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=50)]
    output: Literal["text", "json"] = "text"
    answer: TokenAnswer = TokenAnswer()


class McpOAuth(Part):
    """What the MCP authorization standard does: the resource names its authorization server (RFC 9728), which describes itself
    (RFC 8414) and takes a client's registration (RFC 7591); tokens are asked for one `resource` (RFC 8707), the service's own
    address if left out. `metadata` registers by the address of a document about the client."""

    type: Literal["mcp"]
    resource: Text | None = None
    registration: Literal["dynamic", "static", "metadata"] = "dynamic"
    client_name: Text = "Interlock"
    client_metadata_url: Text | None = None
    rotates: Literal["yes", "no", "unknown"] = "unknown"


Grant: TypeAlias = Annotated[
    NoGrant
    | Manual
    | AuthorizationCode
    | ClientCredentials
    | Device
    | JwtBearer
    | GithubApp
    | TokenExchange
    | Session
    | NativeCli
    | McpOAuth,
    Field(discriminator="type"),
]

Step: TypeAlias = Literal["authorize", "start", "token", "refresh", "revoke"]

_STANDARD: Final[Mapping[tuple[str, Step], Mapping[str, str]]] = MappingProxyType(
    {
        ("authorization_code", "token"): {
            "grant_type": "authorization_code",
            "code": "{code}",
            "redirect_uri": "{redirect_uri}",
            "code_verifier": "{code_verifier?}",
            "resource": "{resource?}",
        },
        ("client_credentials", "token"): {"grant_type": "client_credentials", "scope": "{scope?}"},
        ("device", "start"): {"scope": "{scope?}"},
        ("device", "token"): {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": "{device_code}",
        },
        ("jwt_bearer", "token"): {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": "{assertion}",
            "scope": "{scope?}",
        },
    }
)
_REFRESH: Final[Mapping[str, str]] = MappingProxyType(
    {"grant_type": "refresh_token", "refresh_token": "{refresh_token}", "resource": "{resource?}"}
)
_AUTHORIZE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "response_type": "code",
        "client_id": "{client_id}",
        "redirect_uri": "{redirect_uri}",
        "scope": "{scope?}",
        "state": "{state}",
        "resource": "{resource?}",
    }
)
_PKCE: Final[Mapping[str, str]] = MappingProxyType(
    {"code_challenge": "{code_challenge}", "code_challenge_method": "S256"}
)


def exchanges(grant: Grant) -> dict[Step, Exchange]:
    """The single requests of a grant, whole: with the parameters that its standard asks for. A token exchange has several,
    its `steps`, and only what comes after them is here."""
    if isinstance(grant, Session):
        return {"token": grant.login, **({} if grant.logout is None else {"revoke": grant.logout})}
    if not isinstance(grant, OAuthGrant):
        return {}
    found: dict[Step, Exchange] = {}
    token = None if isinstance(grant, TokenExchange) else grant.token
    if token is not None:
        found["token"] = _with(token, _STANDARD.get((grant.type, "token"), {}))
    if isinstance(grant, Device):
        found["start"] = _with(grant.start, _STANDARD["device", "start"])
    if grant.refresh is not None and (grant.refresh.exchange or token) is not None:
        asked = grant.refresh.exchange or _again(cast("Exchange", token))
        found["refresh"] = _with(asked, _REFRESH)
    if grant.revoke is not None:
        standard = {"token": f"{{{grant.revoke.of}}}", "token_type_hint": grant.revoke.of}
        found["revoke"] = _with(grant.revoke.exchange, standard)
    return found


def revocation(grant: Grant, held: Container[str]) -> Exchange | None:
    """The request that ends a credential that has these fields; None if the profile knows none."""
    if isinstance(grant, OAuthGrant) and grant.revoke is not None and grant.revoke.of not in held:
        other = grant.revoke.model_copy(update={"of": "access_token"})
        grant = grant.model_copy(update={"revoke": other})
    return exchanges(grant).get("revoke")


def revoked_with(grant: Grant) -> Reach:
    """What ends at the provider when a credential of this grant is ended there."""
    return grant.revoke.ends if isinstance(grant, OAuthGrant) and grant.revoke is not None else "token"


def ends_alone(grant: Grant) -> bool:
    """Whether the provider can be told to end an access token of this grant, and nothing ends with it."""
    if isinstance(grant, Session):
        return grant.logout is not None
    rule = grant.revoke if isinstance(grant, OAuthGrant) else None
    return rule is not None and (rule.of, rule.ends) == ("access_token", "token")


def _again(token: Exchange) -> Exchange:
    """Where and how the tokens came, without what only the first time has."""
    once = {"code", "redirect_uri", "code_verifier", "device_code", "assertion"}
    kept = {
        name: text
        for name, text in token.params.items()
        if text is not None and name not in {"grant_type", *once} and not once & set(fill.holes(text))
    }
    return token.model_copy(update={"params": kept})


def authorize_params(grant: AuthorizationCode) -> dict[str, str | None]:
    """The whole query of the address that the browser is sent to."""
    return {**_AUTHORIZE, **(_PKCE if grant.pkce == "S256" else {}), **grant.authorize_params}


def _with(exchange: Exchange, standard: Mapping[str, str]) -> Exchange:
    return exchange.model_copy(update={"params": {**standard, **exchange.params}})
