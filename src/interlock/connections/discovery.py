"""How an MCP server's authorization is found: what it says of itself, what its authorization server says, and the client that
is registered there (RFC 9728, RFC 8414, RFC 7591). Pure; every document comes from outside, and must speak of itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import orjson

from interlock import plane, sdk
from interlock.connections import shapes
from interlock.connections.errors import GrantRefused
from interlock.connections.exchange import Client, Errand
from interlock.connections.grant import LOOPBACK
from interlock.connections.shapes import Answer
from interlock.kernel import JSON

_CHALLENGE: Final = re.compile(r'(?:^|[\s,])resource_metadata="([^"\\]{1,2000})"', re.IGNORECASE)
_RULE: Final = sdk.grants.TokenAnswer(format="json")
_AUTHS: Final[Mapping[str, sdk.grants.ClientAuth]] = {
    "none": "none", "client_secret_basic": "basic", "client_secret_post": "post", "private_key_jwt": "private_key_jwt",
}  # fmt: skip
_REGISTERED: Final = ("none", "client_secret_basic", "client_secret_post")
"""What a client may be registered for, the best first: a public client has no secret to lose, and PKCE protects its codes."""

_FAR: Final = 253_402_300_800.0
"""The end of the calendar, in seconds since 1970."""

_LONGEST_ISSUER: Final = 200
_SCOPE: Final = re.compile(r'(?:^|[\s,])scope="([^"\\]{1,2000})"', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource, as it describes itself: what it is called, the issuers that it trusts, and the scopes that it knows."""

    resource: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An authorization server, as it describes itself."""

    issuer: str
    authorize_url: str
    token_url: str
    registration_url: str | None = None
    revocation_url: str | None = None
    auth_methods: tuple[str, ...] = ()
    iss_required: bool = False
    takes_metadata: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A client that a server has registered. `expires_at` is when its secret ends (None: never)."""

    client: Client
    client_auth: sdk.grants.ClientAuth
    expires_at: datetime | None


def resource_documents(resource: str, challenge: str | None) -> tuple[str, ...]:
    """Where the resource may describe itself, the best first: the address in the WWW-Authenticate of its 401, else the
    well-known ones. Raises GrantRefused."""
    named = _CHALLENGE.search(challenge or "")
    if named is not None:
        return (web(named[1]),)
    url = _read(resource)
    path = url.path.rstrip("/")
    places = (path, "") if path else ("",)
    return tuple(_root(url) + f"/.well-known/oauth-protected-resource{place}" for place in places)


def read_resource(answer: Answer, *, resource: str) -> Resource:
    """What the resource at that address says. Raises GrantRefused if the document speaks of another one."""
    document = _document(answer)
    named = shapes.text_at(document, "/resource")
    if named is None or _read(named).text != _read(resource).text:
        raise GrantRefused("misconfigured", "the resource's metadata are of another resource")
    issuers = _texts(document, "/authorization_servers")
    if not issuers:
        raise GrantRefused("misconfigured", "the resource's metadata name no authorization server")
    for issuer in issuers:
        web(issuer)  # kept as it is: an issuer is compared as a text
        if len(issuer) > _LONGEST_ISSUER:
            raise GrantRefused("unsupported", f"an issuer has {len(issuer)} characters; the limit is {_LONGEST_ISSUER}")
    return Resource(resource=named, issuers=issuers, scopes=_texts(document, "/scopes_supported"))


def challenged_scopes(challenge: str | None) -> tuple[str, ...]:
    """The scopes that a resource's 401 asks for (RFC 6750 §3)."""
    named = _SCOPE.search(challenge or "")
    return () if named is None else tuple(named[1].split())


def server_documents(issuer: str) -> tuple[str, ...]:
    """Where an authorization server may describe itself, the best first. Raises GrantRefused."""
    url = _read(issuer)
    root, path = _root(url), url.path.rstrip("/")
    oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    inserted = (f"{root}{oauth}{path}", f"{root}{openid}{path}")
    return (*inserted, f"{root}{path}{openid}") if path else inserted


def read_server(answer: Answer, *, issuer: str) -> Server:
    """The server's description. Raises GrantRefused if it is of another issuer, or if the server does not do PKCE by S256."""
    document = _document(answer)
    if shapes.text_at(document, "/issuer") != issuer:
        raise GrantRefused("misconfigured", "the authorization server's metadata are of another issuer")
    authorize, token, registration, revocation = (
        shapes.text_at(document, f"/{name}_endpoint")
        for name in ("authorization", "token", "registration", "revocation")
    )
    if authorize is None or token is None:
        raise GrantRefused("unsupported", "the authorization server names no endpoints")
    if "S256" not in _texts(document, "/code_challenge_methods_supported"):
        raise GrantRefused("unsupported", "the authorization server does not say that it does PKCE by S256")
    return Server(
        issuer=issuer,
        authorize_url=web(authorize),
        token_url=web(token),
        registration_url=None if registration is None else web(registration),
        revocation_url=None if revocation is None else web(revocation),
        auth_methods=_texts(document, "/token_endpoint_auth_methods_supported") or ("client_secret_basic",),
        iss_required=shapes.at(document, "/authorization_response_iss_parameter_supported") is True,
        takes_metadata=shapes.at(document, "/client_id_metadata_document_supported") is True,
    )


def way_of(server: Server, client: Client) -> sdk.grants.ClientAuth:
    """How a client that we have already shows itself there. Raises GrantRefused if the server takes it in no way."""
    has = {"client_secret_basic": client.secret, "client_secret_post": client.secret, "private_key_jwt": client.key}
    known = [each for each, value in has.items() if value is not None] or ["none"]
    method = next((each for each in known if each in server.auth_methods), None)
    if method is None:
        raise GrantRefused(
            "misconfigured", "the authorization server does not take the OAuth client in any of its ways"
        )
    return _AUTHS[method]


def registration(grant: sdk.grants.McpOAuth, server: Server, *, redirect_uri: str) -> Errand:
    """The request that registers a client (RFC 7591 §3.1). Raises GrantRefused if the server takes no registrations."""
    if server.registration_url is None:
        raise GrantRefused("unsupported", "the authorization server registers no clients")
    method = next((each for each in _REGISTERED if each in server.auth_methods), None)
    if method is None:
        raise GrantRefused("unsupported", "the authorization server takes no client that could be registered")
    native = _read(redirect_uri).host in LOOPBACK
    body: JSON = {
        "client_name": grant.client_name,
        "application_type": "native" if native else "web",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    headers = (("accept", "application/json"), ("content-type", "application/json"))
    return Errand(method="POST", url=server.registration_url, headers=headers, body=orjson.dumps(body))


def read_registration(answer: Answer) -> Registered:
    """The registered client. Raises GrantRefused."""
    document = _document(answer)
    client_id, secret = shapes.text_at(document, "/client_id"), shapes.token_at(document, "/client_secret")
    # A server may register something else than was asked for (RFC 7591 §3.2.1).
    told = shapes.text_at(document, "/token_endpoint_auth_method")
    way = _AUTHS.get(told or ("none" if secret is None else "client_secret_basic"))
    if client_id is None or way is None or (way in ("basic", "post") and secret is None):
        raise GrantRefused("unreadable_answer", "the registration names no client that can be used")
    ends = shapes.number(shapes.at(document, "/client_secret_expires_at"))
    return Registered(
        client=Client(client_id=client_id, secret=secret),
        client_auth=way,
        expires_at=datetime.fromtimestamp(ends, UTC) if ends and ends < _FAR else None,
    )


def discovered(
    grant: sdk.grants.McpOAuth, server: Server, *, client_auth: sdk.grants.ClientAuth
) -> sdk.grants.AuthorizationCode:
    """The grant that the description amounts to. Tokens are asked for one `resource`, which the values name."""
    exchange = sdk.grants.Exchange(url=server.token_url, client_auth=client_auth)
    revoked = None
    if server.revocation_url is not None:
        ends = sdk.grants.Exchange(url=server.revocation_url, client_auth=client_auth)
        revoked = sdk.grants.RevokeRule(exchange=ends)
    return sdk.grants.AuthorizationCode(
        type="authorization_code",
        authorize_url=server.authorize_url,
        issuer=server.issuer,
        iss_required=server.iss_required,
        token=exchange,
        refresh=sdk.grants.RefreshRule(rotates=grant.rotates),
        revoke=revoked,
    )


def facts(server: Server, *, resource: str, client_auth: sdk.grants.ClientAuth) -> dict[str, str]:
    """What a connection has to know of the description from then on, none of it secret: its tokens are renewed and ended where
    they came from, whatever the documents say later."""
    kept = {
        "issuer": server.issuer,
        "authorize_url": server.authorize_url,
        "token_url": server.token_url,
        "revocation_url": server.revocation_url,
        "client_auth": client_auth,
        "iss_required": "yes" if server.iss_required else None,
    }
    return {"resource": resource} | {f"mcp.{name}": text for name, text in kept.items() if text is not None}


def settled(profile: sdk.AuthProfile, params: Mapping[str, str]) -> sdk.AuthProfile:
    """The profile, with the grant that these facts amount to, where it is one that is found. The client that was registered
    counts as given with its fields."""
    grant = profile.grant
    if not isinstance(grant, sdk.grants.McpOAuth) or "mcp.token_url" not in params:
        return profile
    server = Server(
        issuer=params["mcp.issuer"],
        authorize_url=params["mcp.authorize_url"],
        token_url=params["mcp.token_url"],
        revocation_url=params.get("mcp.revocation_url"),
        iss_required="mcp.iss_required" in params,
    )
    found = discovered(grant, server, client_auth=cast("sdk.grants.ClientAuth", params["mcp.client_auth"]))
    secret = sdk.Field(name="client_secret", secret=True, optional=True)
    more = () if "client_secret" in profile.secret_fields else (secret,)
    return profile.model_copy(update={"grant": found, "fields": (*profile.fields, *more)})


def _document(answer: Answer) -> JSON:
    if answer.status not in (200, 201):
        reason = "temporarily_unavailable" if answer.status >= 500 or answer.status == 429 else "misconfigured"
        raise GrantRefused(reason, f"the metadata were answered with {answer.status}")
    found = shapes.document(_RULE, answer)
    if not isinstance(found, Mapping):
        raise GrantRefused("unreadable_answer", "the metadata are no JSON object")
    return found


def _texts(document: JSON, pointer: str) -> tuple[str, ...]:
    found = shapes.at(document, pointer)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list | tuple) else ()


def _read(text: str) -> plane.Url:
    try:
        url = plane.parse_url(text if text.count("/") > 2 else f"{text}/")
    except ValueError as error:
        raise GrantRefused("misconfigured", f"an address in the metadata is none: {error}") from None
    if url.scheme != "https" and url.host not in LOOPBACK:
        raise GrantRefused("misconfigured", "an address in the metadata is not https")
    return url


def web(text: str) -> str:
    """An address from outside. Raises GrantRefused unless it is https, or this machine's."""
    return _read(text).text


def _root(url: plane.Url) -> str:
    return f"{url.scheme}://{url.host_header}"
