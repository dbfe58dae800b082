"""Short declarations of auth profiles, as plain data. Each takes for granted what is usual; `AuthProfile` and the grants say
what else there is, and a mapping `{**sdk.oauth2(...), ...}` can say it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from interlock.sdk.drafts import Draft, given


class Usual(TypedDict, total=False):
    """What every profile may say. `scopes` are those that may be granted; `fields` are given besides those that the
    declaration brings; `apply` replaces how a request shows the credential."""

    display_name: str
    base_url: str
    scopes: Sequence[str]
    probe: Draft
    fields: Sequence[Draft]
    derive: Mapping[str, str]
    apply: Sequence[Draft]


def field(name: str, *, secret: bool | None = None, choices: Sequence[str] | None = None, **said: Any) -> Draft:
    """Something that a person or the operator gives (`Field` tells what the keywords mean)."""
    return given(name=name, secret=secret, choices=None if choices is None else list(choices), **said)


def in_header(template: str = "Bearer {token}", *, name: str = "Authorization") -> Draft:
    """A request shows the credential in a header."""
    return {"place": "header", "name": name, "template": template}


def in_query(name: str, template: str = "{token}") -> Draft:
    """A request shows the credential in a parameter of its query."""
    return {"place": "query", "name": name, "template": template}


def by_certificate(chain_field: str = "certificate", key_field: str = "private_key") -> Draft:
    """A request shows the credential by a client certificate."""
    return {"place": "certificate", "chain_field": chain_field, "key_field": key_field}


def exchange(url: str, *, answer: Draft | None = None, **said: Any) -> Draft:
    """One request that is answered with tokens (`Exchange` and `TokenAnswer` tell what the keywords mean)."""
    return given(url=url, answer=answer, **said)


def no_auth(profile_id: str = "none") -> Draft:
    """A service that asks for no credential."""
    return {"profile_id": profile_id, "grant": {"type": "none"}}


def token_profile(
    profile_id: str = "token",
    *,
    header: str = "Authorization",
    template: str = "Bearer {token}",
    secret_fields: Sequence[str] = ("token",),
    **usual: Unpack[Usual],
) -> Draft:
    """A secret that a person enters, shown in a header."""
    secrets = [field(name, secret=True) for name in secret_fields]
    return _profile(profile_id, {"type": "manual"}, secrets, [in_header(template, name=header)], usual)


def api_key(
    profile_id: str = "api_key", *, header: str | None = None, query: str | None = None, **usual: Unpack[Usual]
) -> Draft:
    """A key that a person enters, shown as it is in a header (X-Api-Key, unless said otherwise) or in a parameter of the
    query."""
    place = in_query(query, "{api_key}") if query else in_header("{api_key}", name=header or "X-Api-Key")
    return _profile(profile_id, {"type": "manual"}, [field("api_key", secret=True)], [place], usual)


def basic(
    profile_id: str = "basic", *, username: str = "username", password: str = "password", **usual: Unpack[Usual]
) -> Draft:
    """A user's name and password, or what a service takes for them (RFC 7617)."""
    said: Usual = {**usual, "derive": {"basic": f"base64({{{username}}}:{{{password}}})", **usual.get("derive", {})}}
    fields = [field(username), field(password, secret=True)]
    return _profile(profile_id, {"type": "manual"}, fields, [in_header("Basic {basic}")], said)


def mutual_tls(profile_id: str = "mutual_tls", **usual: Unpack[Usual]) -> Draft:
    """A client certificate with its key (PEM)."""
    fields = [field("certificate", secret=True), field("private_key", secret=True)]
    return _profile(profile_id, {"type": "manual"}, fields, [by_certificate()], usual)


def oauth2(
    profile_id: str = "oauth2",
    *,
    authorize_url: str,
    token_url: str,
    params: Mapping[str, str | None] | None = None,
    authorize_params: Mapping[str, str | None] | None = None,
    client_auth: str | None = None,
    answer: Draft | None = None,
    pkce: str | None = None,
    issuer: str | None = None,
    iss_required: bool | None = None,
    scope_separator: str | None = None,
    refresh: Draft | None = None,
    revoke: Draft | None = None,
    **usual: Unpack[Usual],
) -> Draft:
    """OAuth 2 in a browser, with PKCE. `params`, `client_auth` and `answer` are of the request for tokens."""
    grant = given(
        type="authorization_code",
        authorize_url=authorize_url,
        authorize_params=authorize_params and dict(authorize_params),
        pkce=pkce,
        issuer=issuer,
        iss_required=iss_required,
        scope_separator=scope_separator,
        token=exchange(token_url, params=params and dict(params), client_auth=client_auth, answer=answer),
        refresh=refresh,
        revoke=revoke,
    )
    return _profile(profile_id, grant, [], [_SHOWN], usual)


def client_credentials(
    profile_id: str = "client_credentials",
    *,
    token_url: str,
    params: Mapping[str, str | None] | None = None,
    client_auth: str | None = None,
    answer: Draft | None = None,
    scope_separator: str | None = None,
    revoke: Draft | None = None,
    **usual: Unpack[Usual],
) -> Draft:
    """A client that acts for itself: its id and secret are given, tokens are fetched with them."""
    asked = exchange(token_url, params=params and dict(params), client_auth=client_auth, answer=answer)
    grant = given(type="client_credentials", token=asked, scope_separator=scope_separator, revoke=revoke)
    return _profile(profile_id, grant, _CLIENT, [_SHOWN], usual)


def device(
    profile_id: str = "device",
    *,
    device_url: str,
    token_url: str,
    client_auth: str = "none",
    answer: Draft | None = None,
    refresh: Draft | None = None,
    revoke: Draft | None = None,
    **usual: Unpack[Usual],
) -> Draft:
    """A code that a person types on another device."""
    grant = given(
        type="device",
        start=exchange(device_url, client_auth=client_auth),
        token=exchange(token_url, client_auth=client_auth, answer=answer),
        refresh=refresh,
        revoke=revoke,
    )
    return _profile(profile_id, grant, [], [_SHOWN], usual)


def jwt_bearer(
    profile_id: str = "jwt_bearer",
    *,
    token_url: str | None,
    issuer: str = "{client_id}",
    assertion: Draft | None = None,
    answer: Draft | None = None,
    client_auth: str = "none",
    **usual: Unpack[Usual],
) -> Draft:
    """A key that signs for itself: the assertion becomes a token, or without a token_url is one. `client_id` and
    `private_key` are given; `assertion` says more of it (`Assertion`)."""
    token = None if token_url is None else exchange(token_url, client_auth=client_auth, answer=answer)
    grant = given(type="jwt_bearer", assertion={"issuer": issuer, **(assertion or {})}, token=token)
    return _profile(profile_id, grant, [field("client_id"), field("private_key", secret=True)], [_SHOWN], usual)


def github_app(
    profile_id: str = "github_app",
    *,
    install_url: str | None = None,
    token_url: str = "/app/installations/{installation_id}/access_tokens",
    user_token_url: str = "https://github.com/login/oauth/access_token",
    **usual: Unpack[Usual],
) -> Draft:
    """An installation of a GitHub App: the operator has the app's client id and key. With `install_url` a person installs it,
    and shows by a token of their own, for which the client's secret is needed, that the installation is theirs; without, the
    id of an installation is given."""
    token = exchange(
        token_url,
        body_format="none",
        client_auth="none",
        headers={"Authorization": "Bearer {assertion}", "Accept": "application/vnd.github+json"},
        answer={"access_token": "/token", "expires_at": "/expires_at"},
    )
    confirm = [
        exchange(
            user_token_url,
            client_auth="post",
            params={"code": "{code}"},
            answer={"error_codes": {"bad_verification_code": "invalid_grant",
                                    "incorrect_client_credentials": "invalid_client"}},
        ),
        exchange(
            "/user/installations/{installation_id}/repositories",
            method="GET",
            body_format="query",
            params={"per_page": "1"},
            client_auth="none",
            headers={"Authorization": "Bearer {step1.access_token}", "Accept": "application/vnd.github+json"},
            answer={"error_codes": {"404": "access_denied"}},
        ),
    ]  # fmt: skip
    brought = None if install_url is None else True
    fields = [field("installation_id", pattern="[0-9]{1,20}", example="12345678", optional=brought)]
    grant = given(type="github_app", install_url=install_url, confirm=confirm if brought else None, token=token)
    return _profile(profile_id, grant, fields, [_SHOWN], usual)


def token_exchange(profile_id: str = "exchange", *, steps: Sequence[Draft], **usual: Unpack[Usual]) -> Draft:
    """Requests in a row (`exchange`), of which the last gives the token; `fields` says what is given."""
    return _profile(profile_id, {"type": "exchange", "steps": list(steps)}, [], [_SHOWN], usual)


def session_token(
    profile_id: str = "session",
    *,
    login: Draft,
    logout: Draft | None = None,
    idle_seconds: int | None = None,
    **usual: Unpack[Usual],
) -> Draft:
    """A login (`exchange`) that gives a session; `fields` says what is given, a username and a password if left out."""
    grant = given(type="session", login=login, logout=logout, idle_seconds=idle_seconds)
    login_fields = [] if "fields" in usual else [field("username"), field("password", secret=True)]
    return _profile(profile_id, grant, login_fields, [_SHOWN], usual)


def native_cli(
    profile_id: str = "native_cli", *, argv: Sequence[str], answer: Draft | None = None, **usual: Unpack[Usual]
) -> Draft:
    """A program on this machine that says the token: as text, or as JSON that `answer` reads."""
    output = None if answer is None else "json"
    return _profile(
        profile_id, given(type="native_cli", argv=list(argv), output=output, answer=answer), [], [_SHOWN], usual
    )


def mcp_oauth(
    profile_id: str = "mcp",
    *,
    resource: str | None = None,
    registration: str | None = None,
    client_metadata_url: str | None = None,
    **usual: Unpack[Usual],
) -> Draft:
    """What the MCP authorization standard does (`McpOAuth` tells what the keywords mean)."""
    grant = given(type="mcp", resource=resource, registration=registration, client_metadata_url=client_metadata_url)
    return _profile(profile_id, grant, [], [_SHOWN], usual)


_SHOWN: Draft = in_header("Bearer {access_token}")
_CLIENT: Sequence[Draft] = (field("client_id"), field("client_secret", secret=True))


def _profile(profile_id: str, grant: Draft, fields: Sequence[Draft], apply: Sequence[Draft], usual: Usual) -> Draft:
    derive = usual.get("derive")
    return given(
        profile_id=profile_id,
        display_name=usual.get("display_name"),
        base_url=usual.get("base_url"),
        fields=[*fields, *usual.get("fields", ())],
        derive=None if derive is None else dict(derive),
        apply=list(usual.get("apply", apply)),
        grant=grant,
        scopes_offered=list(usual.get("scopes", ())),
        probe=usual.get("probe"),
    )
