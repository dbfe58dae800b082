"""How the entry's mode of authentication becomes a grant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from interlock.catalog.importing import nango_steps
from interlock.catalog.importing.given import Given
from interlock.catalog.importing.report import Refused
from interlock.catalog.importing.said import Said, as_text

Grant = dict[str, Any]

_AUTHORIZE: Final = {"response_type": "code"}
_TOKEN: Final = {"grant_type": "authorization_code"}
_CLIENT: Final = {"grant_type": "client_credentials"}
_REFRESH: Final = {"grant_type": "refresh_token"}
_CUSTOM: Final = (
    "authorization_url_fragment",
    "authorization_code_param_in_callback",
    "authorization_code_param_in_webhook",
)
_MCP_USUAL: Final = {"response_type": "code", "grant_type": "authorization_code"}
_DESCRIBED: Final = (
    "authorization_url", "token_url", "registration_url", "refresh_url", "scope_separator", "disable_pkce", "body_format",
    "token_request_auth_method", "registration_params", "refresh_params", "token_expiration_buffer",
)  # fmt: skip
_RENAMED: Final = {
    "client_id": "{client_id}",
    "redirect_uri": "{redirect_uri}",
    "response_type": "code",
    "scope": "{scope?}",
}


@dataclass(frozen=True, slots=True)
class Mode:
    """`shown` is the header Authorization of requests that say no other; `granted`: whether tokens are made."""

    make: Callable[[Said, Given], Grant]
    shown: str | None = "Bearer ${accessToken}"
    granted: bool = True


def _none(_: Said, __: Given) -> Grant:
    return {"type": "none"}


def _api_key(_: Said, __: Given) -> Grant:
    return {"type": "manual"}


def _basic(_: Said, given: Given) -> Grant:
    """Where the password is always the same, the name is the secret."""
    if given.constant("${password}") is not None:
        given.field("credentials", "username", secret=True)
    return {"type": "manual"}


def _oauth2(said: Said, given: Given) -> Grant:
    authorize_url, query = _without_query(said.text("authorization_url"))
    params: dict[str, str | None] = {**query, **_said_params(said, "authorization_params", given, _AUTHORIZE)}
    params |= _renamed(said.texts("authorization_url_replacements"))
    grant: Grant = {
        "type": "authorization_code",
        "authorize_url": given.address(authorize_url, "authorization_url"),
        "authorize_params": params,
        "pkce": "none" if said.flag("disable_pkce") else "S256",
        "token": _exchange(said, given, _TOKEN),
    }
    if (separator := said.text("scope_separator", " ")) != " ":
        grant["scope_separator"] = separator
    grant["refresh"] = _refresh(said, given, grant["token"])
    # Ours are encoded as RFC 3986 has it, which servers take for the same, and what is empty is left out.
    said.drop("authorization_url_skip_encode", "authorization_url_skip_empty")
    if said.any("alternate_access_token_response_path") is not None:
        given.lack("alternate_access_token_response_path: only the first token of an answer")
    _metadata(said, given)
    for key in _CUSTOM:
        if said.has(key):
            raise Refused(f"{key}: the provider's own form of OAuth")
    return grant


def _renamed(replacements: Mapping[str, str]) -> dict[str, str | None]:
    """Parameters of the standard that the provider calls otherwise, or wants left out. Raises Refused."""
    found: dict[str, str | None] = {}
    for theirs, ours in replacements.items():
        theirs, ours = theirs.removesuffix("="), ours.removesuffix("=")
        if theirs not in _RENAMED:
            raise Refused(f"authorization_url_replacements: {theirs[:40]} cannot be called otherwise")
        found[theirs] = None
        if ours:
            found[ours] = _RENAMED[theirs]
    return found


def _refresh(said: Said, given: Given, token: Mapping[str, Any]) -> Grant:
    """As the tokens came, unless the entry says another address or other parameters."""
    url, params = said.text("refresh_url"), _said_params(said, "refresh_params", given, _REFRESH)
    said.drop("token_expiration_buffer")
    if not url and not params:
        return {}
    kept = {name: text for name, text in token.items() if name != "params"}
    exchange = {**kept, "params": params}
    if url:
        address, query = _without_query(url)
        exchange |= {"url": given.address(address, "refresh_url"), "params": {**query, **params}}
    return {"exchange": exchange}


def _client_credentials(said: Said, given: Given) -> Grant:
    if said.flag("require_client_certificate"):
        raise Refused("require_client_certificate: tokens for a client certificate")
    for theirs, secret in (("client_id", False), ("client_secret", True)):
        camel = theirs.split("_")[0] + theirs.split("_")[1].title()
        given.alias("credentials", (theirs, camel), theirs, secret=secret)
    custom = said.any("token_request_auth_method") if said.peek("token_request_auth_method") == "custom" else None
    exchange = _exchange(said, given, _CLIENT)
    if exchange["client_auth"] == "private_key_jwt":
        raise Refused("token_request_auth_method: a key of whoever connects")
    if custom is not None:
        exchange["client_auth"] = "none"
        exchange["params"] |= {"client_id": None, "username": "{client_id}", "password": "{client_secret}"}
    grant: Grant = {"type": "client_credentials", "token": exchange}
    if (separator := said.text("scope_separator", " ")) != " ":
        grant["scope_separator"] = separator
    said.drop("token_expiration_buffer", "disable_pkce", "refresh_params", "refresh_url", "authorization_url")
    _metadata(said, given)
    return grant


def _mcp(said: Said, given: Given) -> Grant:
    registration = said.text("client_registration", "dynamic")
    if registration == "cimd":
        given.lack("client_registration: a client that is registered by hand, and not by its metadata")
    if said.has("registration_params"):
        given.lack("registration_params: a registration says what ours always do")
    params = {**said.texts("token_params"), **said.texts("authorization_params")}
    resource = params.pop("resource", None)
    for name in sorted(name for name, text in params.items() if _MCP_USUAL.get(name) != text):
        given.lack(f"authorization_params: {name[:40]} is not asked for by the standard")
    # What the server describes of itself counts; these are what it has said of itself.
    said.drop(*_DESCRIBED)
    made = {"type": "mcp", "registration": "dynamic" if registration == "dynamic" else "static"}
    return made if resource is None else {**made, "resource": given.address(resource, "resource")}


def _exchange(said: Said, given: Given, usual: Mapping[str, str]) -> Grant:
    url, query = _without_query(_token_url(said))
    made: Grant = {"url": given.address(url, "token_url"), "client_auth": _client_auth(said)}
    body = said.text("body_format", "form")
    if body not in ("form", "json", "query"):
        raise Refused(f"body_format: {body[:20]} is not spoken")
    made["body_format"] = body
    if query and body != "query":
        given.lack("token_url: its query is sent in the body")
    made["params"] = {**query, **_said_params(said, "token_params", given, usual)}
    method = said.text("token_request_method", "POST").upper()
    if method != "POST":
        made |= {"method": method, "body_format": "query"}
    answer: Grant = {}
    if said.text("expires_in_unit", "seconds").startswith("milli"):
        answer["expires_in_unit"] = "ms"
    if (lifetime := said.text("token_expires_in_ms", "0")) not in ("", "0"):
        answer["lifetime_seconds"] = nango_steps.seconds(lifetime)
    return {**made, **({"answer": answer} if answer else {})}


def _token_url(said: Said) -> str:
    """The address for tokens; of several by mode, that of OAuth 2."""
    value = said.any("token_url")
    return as_text(
        cast("dict[str, Any]", value).get("OAUTH2", "") if isinstance(value, dict) else value or "", "token_url"
    )


def _client_auth(said: Said) -> str:
    method = said.text("token_request_auth_method", "post")
    if said.text("authorization_method", "body") == "header":
        method = "basic"
    if method not in ("basic", "post", "private_key_jwt"):
        raise Refused(f"token_request_auth_method: {method[:40]} is not spoken")
    return method


def _said_params(said: Said, key: str, given: Given, usual: Mapping[str, str]) -> dict[str, str]:
    """Parameters that are not what the standard asks for anyway."""
    params = nango_steps.flat(said.mapping(key), key)
    for name in [name for name, text in params.items() if not text]:
        given.lack(f"{key}: {name[:40]} is empty, and left out")
    return {name: given.template(text, name) for name, text in params.items() if text and usual.get(name) != text}


def _without_query(url: str) -> tuple[str, dict[str, str]]:
    address, _, query = url.partition("?")
    if "||" in url and query:
        raise Refused("address: alternatives with a query")
    return address, dict(parse_qsl(query, keep_blank_values=True)) if query else {}


def _metadata(said: Said, given: Given) -> None:
    """What is kept of answers and callbacks besides the tokens."""
    for key in ("token_response_metadata", "redirect_uri_metadata"):
        for each in said.items(key):
            given.lack(f"{key}: {as_text(each, key)[:60]} is not kept")


MODES: Final[Mapping[str, Mode]] = {
    "NONE": Mode(_none, shown=None, granted=False),
    "API_KEY": Mode(_api_key, shown=None, granted=False),
    "BASIC": Mode(_basic, shown="Basic ${base64(${username}:${password})}", granted=False),
    "OAUTH2": Mode(_oauth2),
    "OAUTH2_CC": Mode(_client_credentials),
    "TWO_STEP": Mode(nango_steps.two_step),
    "MCP_OAUTH2": Mode(_mcp),
    "MCP_OAUTH2_GENERIC": Mode(_mcp),
}
