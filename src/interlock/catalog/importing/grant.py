"""A user's own copy of grant's `oauth.json`: a mapping of names to the addresses of OAuth. It knows no addresses of APIs, so each
connection is asked for the host."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from interlock import sdk
from interlock.catalog.importing.report import Entry, Refused
from interlock.catalog.importing.said import Said, explained, our_name, provider_name

_HOST: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+"
_HOLE: Final = re.compile(r"\[([^\[\]]*)\]")
_API: Final = "api_host"


def entries(document: Mapping[str, Any]) -> Iterator[Entry]:
    """Each entry, as far as it can be taken over."""
    taken: dict[str, str] = {}
    for entry_id, value in document.items():
        try:
            entry = _entry(entry_id, Said(value))
            name = "" if entry.provider is None else entry.provider.provider_id
            if taken.setdefault(name, entry_id) != entry_id:
                raise Refused(f"name: {taken[name]} is called {name}, too")
            yield entry
        except Refused as refused:
            yield Entry(entry_id=entry_id, provider=None, missing=(str(refused),))
        except sdk.InvalidProvider as error:
            yield Entry(entry_id=entry_id, provider=None, missing=(f"invalid: {explained(error)}",))


def _entry(entry_id: str, said: Said) -> Entry:
    if said.text("oauth") != "2":
        raise Refused("oauth: OAuth 1 is not spoken")
    missing: list[str] = []
    fields: dict[str, dict[str, Any]] = {
        _API: {"name": _API, "title": "Host of the API", "pattern": _HOST, "example": "api.example.com"}
    }
    authorize_url, params = _address(said.text("authorize_url"), fields)
    token_url, query = _address(said.text("access_url"), fields)
    if query:
        missing.append("access_url: its query is sent in the body")
    params |= {name: _value(text, fields) for name, text in said.texts("custom_parameters_fixed").items()}
    grant: dict[str, Any] = {
        "type": "authorization_code",
        "authorize_url": authorize_url,
        "authorize_params": params,
        "pkce": "S256" if said.flag("pkce") else "none",
        "token": {"url": token_url, "client_auth": _client_auth(said), "params": query},
    }
    if (separator := said.text("scope_delimiter", ",")) != " ":
        grant["scope_separator"] = separator
    said.drop("custom_parameters", "profile_url", "request_url", "name", "prefix", "origin", "path", "protocol", "host")
    missing += [f"{key}: it is not taken over" for key in said.left]
    raw: dict[str, Any] = {
        "contract": sdk.PROVIDER_CONTRACT,
        "provider_id": provider_name(entry_id)[:54],
        "display_name": entry_id,
        "auth": [{
            "profile_id": "oauth2",
            "base_url": f"https://{{{_API}}}",
            "fields": list(fields.values()),
            "apply": [sdk.in_header("Bearer {access_token}")],
            "grant": grant,
        }],
    }  # fmt: skip
    return Entry(
        entry_id=entry_id,
        provider=sdk.read_provider(raw, source=entry_id),
        missing=tuple(missing),
        open_host=True,
    )


def _client_auth(said: Said) -> str:
    way = said.text("token_endpoint_auth_method", "client_secret_post")
    ways = {"client_secret_post": "post", "client_secret_basic": "basic", "private_key_jwt": "private_key_jwt"}
    if way not in ways:
        raise Refused(f"token_endpoint_auth_method: {way[:40]} is not spoken")
    return ways[way]


def _address(text: str, fields: dict[str, dict[str, Any]]) -> tuple[str, dict[str, str]]:
    """An address, and the parameters of its query."""
    address, _, query = text.partition("?")
    return _value(address, fields), {name: _value(value, fields) for name, value in parse_qsl(query)}


def _value(text: str, fields: dict[str, dict[str, Any]]) -> str:
    """A text with our names in the place of theirs. Raises Refused."""
    if "{" in text or "}" in text:
        raise Refused("address: a brace stands by itself")

    def called(match: re.Match[str]) -> str:
        name = our_name(match[1])
        if name == _API or name in sdk.RESERVED_FIELDS:
            raise Refused(f"name: {name} is a value of ours")
        fields.setdefault(name, {"name": name, "title": match[1][:60]})
        return "{" + name + "}"

    return _HOLE.sub(called, text)
