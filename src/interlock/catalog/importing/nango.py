"""A user's own copy of Nango's `providers.yaml`: a mapping of ids to entries, which may inherit from each other."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from interlock import sdk
from interlock.catalog.importing import nango_grants, nango_requests
from interlock.catalog.importing.given import Given
from interlock.catalog.importing.report import Entry, Refused
from interlock.catalog.importing.said import Said, explained, provider_name

_MOST_ALIASES: Final = 10
_BESIDE: Final = (
    "display_name", "categories", "docs", "docs_connect", "setup_guide_url", "auth_mode", "connection_config", "credentials",
    "connection_configuration", "webhook_routing_script", "webhook_user_defined_secret", "webhook_allowed_query_params",
    "webhook_response_metadata", "auth_type",
)  # fmt: skip
"""Members that are taken elsewhere, or are about other things than authentication and requests."""
_CODE: Final = ("post_connection_script", "credentials_verification_script", "pre_connection_deletion_script")
_REASONS: Final = {
    "OAUTH1": "OAuth 1 is not spoken",
    "TBA": "OAuth 1 is not spoken",
    "AWS_SIGV4": "requests are not signed",
    "SIGNATURE": "requests are not signed",
    "BILL": "it has a protocol of its own",
    "CUSTOM": "it has a protocol of its own",
    "INSTALL_PLUGIN": "there is nothing to connect by",
    "APP": "an app at the provider is a connector's matter",
    "JWT": "tokens are not made of what is given",
}


def entries(document: Mapping[str, Any]) -> Iterator[Entry]:
    """Each entry, as far as it can be taken over."""
    taken: dict[str, str] = {}
    for entry_id in document:
        entry = _entry(entry_id, document)
        name = "" if entry.provider is None else entry.provider.provider_id
        if name in taken:
            yield Entry(entry_id=entry_id, provider=None, missing=(f"name: {taken[name]} is called {name}, too",))
            continue
        if name:
            taken[name] = entry_id
        yield entry


def _entry(entry_id: str, document: Mapping[str, Any]) -> Entry:
    try:
        said = Said(_inherited(entry_id, document))
        return _translated(entry_id, said)
    except Refused as refused:
        return Entry(entry_id=entry_id, provider=None, missing=(str(refused),))
    except sdk.InvalidProvider as error:
        return Entry(entry_id=entry_id, provider=None, missing=(f"invalid: {explained(error)}",))


def _inherited(entry_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with what it takes from the one that it is an alias of."""
    found: dict[str, Any] = {}
    for _ in range(_MOST_ALIASES):
        said = document.get(entry_id)
        if said is not None and not isinstance(said, dict):
            raise Refused(f"entry: {entry_id[:60]!r} is no mapping")
        if said is None:
            raise Refused(f"alias: there is no entry {entry_id[:60]!r}")
        entry = cast("dict[str, Any]", said)
        found = {**entry, **found}
        alias = found.pop("alias", None)
        if alias is None:
            return found
        entry_id = str(alias)
    raise Refused("alias: it leads through too many others")


def _translated(entry_id: str, said: Said) -> Entry:
    mode = said.text("auth_mode")
    if mode not in nango_grants.MODES:
        raise Refused(f"mode: {mode or 'none is said'}: {_REASONS.get(mode, 'it is not known')}")
    name, title = provider_name(entry_id), said.text("display_name", entry_id)
    categories = [str(each) for each in said.items("categories")]
    declared = {section: _specs(said.mapping(section)) for section in ("connection_config", "credentials")}
    scopes = [str(each) for each in said.items("default_scopes")]
    granted = {"accessToken": "access_token", "random": "random"} if nango_grants.MODES[mode].granted else {}
    given = Given(declared, granted)
    proxy = Said(said.any("proxy") or {}, "proxy")
    grant = nango_grants.MODES[mode].make(said, given)
    base_url = nango_requests.base_url(proxy, given)
    facts = nango_requests.facts(proxy, given, default=nango_grants.MODES[mode].shown)
    probe = nango_requests.probe(proxy, given)
    if said.peek("auth") == {"response_type": "code"}:  # what the standard says anyway
        said.drop("auth")
    for script in _CODE:
        if said.has(script):
            given.lack(f"{script}: code of its own")
    said.drop(*_BESIDE, *_CODE)
    for key in (*said.left, *(f"proxy.{each}" for each in proxy.left)):
        given.lack(f"{key}: it is not taken over")
    profile: dict[str, Any] = {
        "profile_id": mode.lower() if mode != "OAUTH2_CC" else "client_credentials",
        "base_url": base_url,
        "fields": list(given.fields.values()),
        "derive": given.derive,
        "apply": facts.apply,
        "grant": grant,
        "scopes_offered": scopes,
        **({} if probe is None else {"probe": probe}),
    }
    raw: dict[str, Any] = {
        "contract": sdk.PROVIDER_CONTRACT,
        "provider_id": name[:54],
        "display_name": title,
        "categories": categories,
        "auth": [profile],
        "headers": facts.headers,
        "errors": facts.errors,
        **({} if facts.paging is None else {"paging": facts.paging}),
    }
    provider = sdk.read_provider(raw, source=entry_id)
    return Entry(entry_id=entry_id, provider=provider, missing=tuple(given.missing), open_host=given.open_host)


def _specs(declared: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: cast("Mapping[str, Any]", spec) if isinstance(spec, dict) else {} for name, spec in declared.items()}
