"""From an exchange, as data, to the request that is sent: everything but sending it. Pure."""

import base64
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, quote_plus, urlencode

import orjson

from interlock import plane, sdk
from interlock.connections import assertions
from interlock.connections.answer import Tokens
from interlock.connections.errors import GrantRefused
from interlock.connections.grant import LOOPBACK
from interlock.connections.installs import Reason
from interlock.kernel import JSON, ConnectionError_, Fault, Retry, Secret, to_rfc3339

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?(?::[1-9][0-9]{0,4})?")
_AUTHORITY: Final = re.compile(r"(https?://)([^/]*)(.*)", re.DOTALL)
_JWT: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CONTENT: Final[Mapping[str, str]] = {"form": "application/x-www-form-urlencoded", "json": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who we are to an authorization server. `issuer` is what it is called, where the operator has said that; `key` signs
    assertions (PEM); `certificate` is a chain and its key (PEM)."""

    client_id: str
    issuer: str | None = None
    secret: Secret | None = None
    key: Secret | None = None
    key_id: str | None = None
    algorithm: sdk.grants.Algorithm = "RS256"
    certificate: tuple[Secret, Secret] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One request that fetches or ends tokens. `url` and `headers` hold no secret; what does stands apart, and `secrets` are
    all that went in, for a Redactor."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    secret_headers: tuple[tuple[str, Secret], ...] = ()
    secret_query: tuple[tuple[str, Secret], ...] = ()
    body: bytes = field(default=b"", repr=False)
    certificate: tuple[Secret, Secret] | None = None
    secrets: tuple[Secret, ...] = ()


class UnconfirmedIssuer(ConnectionError_):
    """Our client would be shown to an authorization server that the settings do not name as its own."""

    code = "unconfirmed_issuer"
    fault = Fault.OPERATOR
    retry = Retry.AFTER_CHANGE
    next_step = (
        "If our client is registered there, write that address as `issuer` under [oauth.CONNECTOR] in the settings."
    )
    reason = Reason.UNCONFIRMED_ISSUER
    """What it means for an install, as in the other errors that end one."""


def client_of(given: sdk.fill.Values) -> Client | None:
    """The client that a person gave with the fields, where the profile asks for one; None where the operator has it."""
    client_id = given.get("client_id")
    if not isinstance(client_id, str):
        return None
    found = (given.get(name) for name in ("client_secret", "private_key", "certificate"))
    secret, key, chain = (each if isinstance(each, Secret) else None for each in found)
    shown = None if chain is None or key is None else (chain, key)
    return Client(client_id=client_id, secret=secret, key=key, certificate=shown)


def needs_client(grant: sdk.grants.Grant) -> bool:
    """Whether a service that gives such grants has to know us."""
    match grant:
        case sdk.grants.Device() | sdk.grants.GithubApp():
            return True
        case sdk.grants.AuthorizationCode() if "{client_id}" in (sdk.grants.authorize_params(grant)["client_id"] or ""):
            return True
        case sdk.grants.McpOAuth():
            return grant.registration == "static"
        case _:
            asked = (*sdk.grants.exchanges(grant).values(), *getattr(grant, "steps", ()))
            return any(each.client_auth != "none" for each in asked)


def meant(ours: Client | None, given: sdk.fill.Values) -> Client | None:
    """The operator's client. Raises UnconfirmedIssuer if it is not said to be for the authorization server that was found for
    these values."""
    asked = given.get("mcp.issuer")
    if ours is not None and asked not in (None, ours.issuer):
        raise UnconfirmedIssuer(f"our client is not known to be registered at {asked}, and was not shown there")
    return ours


def known(
    profile: sdk.AuthProfile,
    given: sdk.fill.Values,
    *,
    base_url: str,
    client: Client | None,
    at: datetime,
    nonce: str,
) -> dict[str, sdk.fill.Value]:
    """All that the texts of a step may name: what is given, who the client is, the moment, a random text that never comes
    again, what can be derived of these, and the grant's signed assertion. Raises GrantRefused."""
    values: dict[str, sdk.fill.Value] = {
        "base_url": base_url,
        "now": to_rfc3339(at),
        "epoch": str(int(at.timestamp())),
        "random": nonce,
    }
    if client is not None:
        values["client_id"] = client.client_id
        values |= {} if client.secret is None else {"client_secret": client.secret}
        values |= {} if client.key is None else {"private_key": client.key}
    values |= given
    for name, formula in profile.derive.items():
        if set(sdk.fill.holes(formula)) <= values.keys():
            values[name] = sdk.fill.evaluate(formula, values)
    grant = profile.grant
    if isinstance(grant, sdk.grants.AuthorizationCode) and grant.issuer is not None:
        values["issuer"] = grant.issuer
    if isinstance(grant, sdk.grants.JwtBearer | sdk.grants.GithubApp):
        goes_to = "{base_url}" if grant.token is None else grant.token.url
        if set(sdk.fill.holes(goes_to)) <= values.keys():  # else there is nobody to show it to yet
            audience = base_url if grant.token is None else address(goes_to, values)
            values["assertion"] = assertions.signed(grant.assertion, values, audience=audience)
    return values


def build(exchange: sdk.grants.Exchange, values: sdk.fill.Values, *, client: Client | None) -> Errand:
    """The request that the exchange makes of these values (`known`). Raises GrantRefused, `misconfigured`, for what has no
    value, an address that is none once it is filled, or a client that cannot show itself so."""
    url = address(exchange.url, values)
    params: dict[str, sdk.fill.Value] = {}
    headers: dict[str, sdk.fill.Value] = {"accept": "application/json"}
    for name, text in exchange.params.items():
        value = None if text is None else _filled(text, values)
        if value is not None:
            params[name] = value
    for name, text in exchange.headers.items():
        value = _filled(text, values)
        if value is not None:
            headers[name.lower()] = _header_value(name, value)
    left_out = {name for name, text in exchange.params.items() if text is None}
    _authenticate(exchange.client_auth, client, url, values, params, headers, left_out)
    if content := _CONTENT.get(exchange.body_format):
        headers["content-type"] = content
    certificate = client.certificate if client is not None and exchange.client_auth == "tls" else None
    in_query = params if exchange.body_format == "query" else {}
    public = [(name, value) for name, value in in_query.items() if isinstance(value, str)]
    used = [*params.values(), *headers.values(), *values.values(), *(certificate or ())]
    return Errand(
        method=exchange.method,
        url=url + ("?" + urlencode(public, quote_via=quote) if public else ""),
        headers=tuple((name, value) for name, value in headers.items() if isinstance(value, str)),
        secret_headers=tuple((name, value) for name, value in headers.items() if isinstance(value, Secret)),
        secret_query=tuple((name, value) for name, value in in_query.items() if isinstance(value, Secret)),
        body=_body(exchange.body_format, params),
        certificate=certificate,
        secrets=tuple(value for value in used if isinstance(value, Secret)),
    )


def self_signed(grant: sdk.grants.JwtBearer, values: sdk.fill.Values, *, at: datetime) -> Tokens:
    """The tokens of a grant whose assertion is the token."""
    token = values["assertion"]
    lifetime = timedelta(seconds=grant.assertion.lifetime_seconds)
    return Tokens(access_token=token if isinstance(token, Secret) else Secret(token), expires_at=at + lifetime)


def authorization_url(grant: sdk.grants.AuthorizationCode | sdk.grants.GithubApp, values: sdk.fill.Values) -> str:
    """Where the browser is sent. Raises GrantRefused as `build` does."""
    if isinstance(grant, sdk.grants.GithubApp):
        url, params = address(grant.install_url or "", values), {"state": "{state}"}
    else:
        url, params = address(grant.authorize_url, values), sdk.grants.authorize_params(grant)
    filled: dict[str, str] = {}
    for name, text in params.items():
        value = None if text is None else _filled(text, values)
        if isinstance(value, Secret):
            raise GrantRefused("misconfigured", f"the parameter {name!r} of a browser's address would hold a secret")
        if value is not None:
            filled[name] = value
    # An endpoint that was discovered may have a query of its own, which stays (RFC 6749 §3.1).
    return f"{url}{'&' if '?' in url else '?'}{urlencode(filled, quote_via=quote)}"


def page(grant: sdk.grants.Grant, values: sdk.fill.Values) -> str | None:
    """Where a person's browser is led to agree; None if it is led nowhere. Of an MCP server, which says itself who will ask
    the person, it is the server's own address. Raises GrantRefused."""
    match grant:
        case sdk.grants.AuthorizationCode():
            template = grant.authorize_url
        case sdk.grants.GithubApp():
            template = grant.install_url
        case sdk.grants.McpOAuth():
            template = grant.resource or "/"
        case _:
            template = None
    return None if template is None else address(template, values)


def service(profile: sdk.AuthProfile, given: sdk.fill.Values) -> str | None:
    """Where the service lives, for whom that depends on what was given; None if it is the profile's own address. Raises
    GrantRefused."""
    if not sdk.fill.holes(profile.base_url):
        return None
    return address(profile.base_url, given).rstrip("/")


def address(template: str, values: sdk.fill.Values) -> str:
    """The address with its values: each stays in its place, and the whole is read as strictly as any other.

    A path stands below `base_url`. Raises GrantRefused.
    """
    if template.startswith("/"):
        base = values["base_url"]
        template = f"{base if isinstance(base, str) else ''}{template}"
    match = _AUTHORITY.fullmatch(template)
    if match is None:
        raise GrantRefused("misconfigured", f"{template[:100]!r} is no address")
    scheme, host, rest = match.groups()
    text = scheme + _public(host, values, _host) + (_public(rest, values, _segment) or "/")
    try:
        url = plane.parse_url(text)
    except ValueError as error:
        raise GrantRefused("misconfigured", f"{template[:100]!r} is no address once it is filled: {error}") from error
    if url.scheme != "https" and url.host not in LOOPBACK:
        raise GrantRefused(
            "misconfigured", f"{template[:100]!r} would send secrets in the clear; only https leads elsewhere"
        )
    return url.text


def _header_value(name: str, value: sdk.fill.Value) -> sdk.fill.Value:
    # A line break in it would write headers of its own.
    if not sdk.is_header_value(value.reveal() if isinstance(value, Secret) else value):
        raise GrantRefused("misconfigured", f"a value does not fit into the header {name!r}")
    return value


def _public(template: str, values: sdk.fill.Values, escape: Callable[[str], str]) -> str:
    value = _filled(template, values, escape)
    if isinstance(value, Secret):
        raise GrantRefused("misconfigured", "an address would hold a secret")
    return value or ""


def _filled(template: str, values: sdk.fill.Values, escape: Callable[[str], str] = str) -> sdk.fill.Value | None:
    try:
        return sdk.fill.fill(template, values, escape=escape)
    except sdk.fill.Unfilled as error:
        raise GrantRefused("misconfigured", str(error)) from None


def _host(value: str) -> str:
    """What may stand in an address's host: names, numbers and dots, perhaps with a port."""
    if not _HOST.fullmatch(value.lower()):
        raise GrantRefused("misconfigured", "a value does not fit into the host of an address")
    return value.lower()


def _segment(value: str) -> str:
    """What may stand in an address's path: anything, escaped, that is no step to elsewhere."""
    if value in ("", ".", ".."):
        raise GrantRefused("misconfigured", "a value does not fit into the path of an address")
    return quote(value, safe="")


def _authenticate(
    way: sdk.grants.ClientAuth,
    client: Client | None,
    url: str,
    values: sdk.fill.Values,
    params: dict[str, sdk.fill.Value],
    headers: dict[str, sdk.fill.Value],
    left_out: AbstractSet[str],
) -> None:
    """Add what shows the client. A parameter that the exchange says itself, or leaves out, stays so."""
    if client is None:
        if way != "none":
            raise GrantRefused("misconfigured", f"client_auth {way} needs an OAuth client")
        return
    shown: dict[str, sdk.fill.Value] = {"client_id": client.client_id}
    match way:
        case "basic":
            # Both are form-encoded before they are joined (RFC 6749 §2.3.1).
            pair = f"{quote_plus(client.client_id)}:{quote_plus(_has(client.secret, way).reveal())}"
            headers["authorization"] = Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")
            shown = {}
        case "post":
            shown["client_secret"] = _has(client.secret, way)
        case "private_key_jwt":
            shown["client_assertion_type"] = _JWT
            shown["client_assertion"] = _client_assertion(client, _has(client.key, way), values, url)
        case "tls" if client.certificate is None:
            raise GrantRefused("misconfigured", "client_auth tls needs the client's certificate")
        case _:
            pass
    for name, value in shown.items():
        if name not in left_out:
            params.setdefault(name, value)


def _client_assertion(client: Client, key: Secret, values: sdk.fill.Values, url: str) -> Secret:
    rule = sdk.grants.Assertion(algorithm=client.algorithm, key_id=client.key_id, subject="{client_id}")
    issuer = values.get("issuer")
    # An id of its own: the same request may carry another assertion.
    own = {**values, "client_id": client.client_id, "private_key": key, "random": f"{values['random']}-client"}
    return assertions.signed(rule, own, audience=issuer if isinstance(issuer, str) else url)


def _has(secret: Secret | None, way: str) -> Secret:
    if secret is None:
        what = "key" if way == "private_key_jwt" else "secret"
        raise GrantRefused("misconfigured", f"client_auth {way} needs the OAuth client's {what}")
    return secret


def _body(form: str, params: Mapping[str, sdk.fill.Value]) -> bytes:
    told = {name: value.reveal() if isinstance(value, Secret) else value for name, value in params.items()}
    if form == "form":
        return urlencode(told).encode()
    if form != "json":
        return b""
    document: dict[str, JSON] = {}
    for name, value in told.items():
        sdk.put_pointer(document, name, value)
    return orjson.dumps(document)
