"""What must hold for grants: each text of each request can be filled, and each answer can be read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from interlock.sdk import fill, grants
from interlock.sdk.auth import AuthProfile
from interlock.sdk.check_schema import header_problems, pointer_problems
from interlock.sdk.errors import Problem
from interlock.sdk.grants import Assertion, Exchange, TokenAnswer

_ADDRESS: Final = re.compile(
    r"https://[^\s/?#@\\]+(?:/[^\s?#\\]*)?|http://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?(?:/[^\s?#\\]*)?"
)
_BELOW: Final = re.compile(r"/(?!/)[^\s?#\\]*")
_PARAMETER: Final = re.compile(r"[^\x00-\x20\x7f]{1,200}")

_ALWAYS: Final = frozenset({"client_id", "client_secret", "now", "epoch", "random", "base_url"})
_STEPS: Final[Mapping[str, AbstractSet[str]]] = {
    "authorize": frozenset({"redirect_uri", "scope", "state", "code_challenge", "resource", "issuer"}),
    "start": frozenset({"scope"}),
    "token": frozenset({"code", "code_verifier", "redirect_uri", "scope", "device_code", "assertion", "resource"}),
    "refresh": frozenset({"refresh_token", "access_token", "scope", "assertion", "resource"}),
    "revoke": frozenset({"refresh_token", "access_token", "assertion"}),
}
"""What a step knows besides what it always does, the fields, and what is derived."""

RESERVED: Final = frozenset[str]().union(*_STEPS.values()) | (_ALWAYS - {"client_id", "client_secret"})
"""Names that no field may have where tokens are asked for."""


def grant_problems(path: str, profile: AuthProfile) -> Iterator[Problem]:
    """All that contradicts itself in a profile's grant."""
    grant = profile.grant
    if isinstance(grant, grants.Manual):
        return
    for name in sorted(RESERVED & {each.name for each in profile.fields}):
        yield Problem(path=f"{path.rpartition('.')[0]}.fields", problem=f"{name!r} is a value that a grant makes")
    given = {each.name for each in profile.fields} | _ALWAYS | set(profile.derive)
    public = {each.name for each in profile.fields if not each.secret} | {"base_url", "client_id"}
    if isinstance(grant, grants.AuthorizationCode):
        yield from _url_problems(f"{path}.authorize_url", grant.authorize_url, public)
        params = grants.authorize_params(grant)
        yield from _texts(f"{path}.authorize_params", params, (public | _STEPS["authorize"] | {"random"}))
    if isinstance(grant, grants.GithubApp) and grant.install_url is not None:
        yield from _url_problems(f"{path}.install_url", grant.install_url, public)
        yield from _confirm_problems(f"{path}.confirm", grant.confirm, given, public)
    if isinstance(grant, grants.JwtBearer | grants.GithubApp):
        yield from _assertion_problems(f"{path}.assertion", grant.assertion, profile, given)
    if isinstance(grant, grants.Device):
        yield from _device_problems(path, grant)
    if isinstance(grant, grants.NativeCli):
        yield from _answer_problems(f"{path}.answer", grant.answer)
    if isinstance(grant, grants.McpOAuth):
        yield from _mcp_problems(path, grant)
    if isinstance(grant, grants.TokenExchange):
        yield from _steps_problems(f"{path}.steps", grant.steps, given | {"scope"}, public)
    kept = set(profile.granted_fields) - {"access_token", "refresh_token"}
    asked_as_before = (
        isinstance(grant, grants.OAuthGrant) and grant.refresh is not None and grant.refresh.exchange is None
    )
    for step, exchange in grants.exchanges(grant).items():
        if step == "refresh" and asked_as_before:
            continue  # its texts are the token's
        known = given | _STEPS[step] | (kept if step in ("refresh", "revoke") else set[str]())
        place = "login" if isinstance(grant, grants.Session) and step == "token" else step
        yield from _exchange_problems(f"{path}.{place}", exchange, known, public)


def _confirm_problems(
    path: str, steps: Sequence[Exchange], given: AbstractSet[str], public: AbstractSet[str]
) -> Iterator[Problem]:
    texts = [text for each in steps[:1] for text in (*each.params.values(), *each.headers.values()) if text is not None]
    if not any("code" in fill.holes(text) for text in texts):
        problem = "an installation's id that a browser brings proves nothing: the first request is to show {code}"
        yield Problem(path=path, problem=problem)
    yield from _steps_problems(path, steps, given | {"code", "redirect_uri"}, public)


def _steps_problems(
    path: str, steps: Sequence[Exchange], given: AbstractSet[str], public: AbstractSet[str]
) -> Iterator[Problem]:
    known = set(given)
    for number, exchange in enumerate(steps, start=1):
        yield from _exchange_problems(f"{path}[{number - 1}]", exchange, known, public)
        known |= {f"step{number}.{name}" for name in (*exchange.answer.extra, "access_token")}


def _exchange_problems(
    path: str, exchange: Exchange, known: AbstractSet[str], public: AbstractSet[str]
) -> Iterator[Problem]:
    yield from _url_problems(f"{path}.url", exchange.url, public)
    yield from _texts(f"{path}.params", exchange.params, known)
    yield from _texts(f"{path}.headers", exchange.headers, known)
    for name, text in exchange.headers.items():
        if name.lower() != "authorization":
            yield from header_problems(f"{path}.headers", {name: re.sub(r"\{[^{}]*\}", "x", text)})
        elif exchange.client_auth == "basic":
            yield Problem(path=f"{path}.headers.{name}", problem="client_auth basic writes it", suggestion="say none")
    for name in exchange.params:
        if not _PARAMETER.fullmatch(name):
            yield Problem(path=f"{path}.params", problem=f"{name[:50]!r} is no name of a parameter")
    if exchange.method == "GET" and exchange.body_format in ("form", "json"):
        yield Problem(path=f"{path}.body_format", problem="a GET has no body", suggestion="say query or none")
    in_body = exchange.client_auth in ("post", "private_key_jwt")
    if in_body and exchange.body_format == "none":
        problem = f"client_auth {exchange.client_auth} needs parameters"
        yield Problem(path=f"{path}.body_format", problem=problem)
    yield from _answer_problems(f"{path}.answer", exchange.answer)


def _url_problems(path: str, url: str, public: AbstractSet[str]) -> Iterator[Problem]:
    """An address in which only what is no secret may stand. What it becomes is checked again when it is filled."""
    problem = fill.problem_with(url, public)
    if problem is not None:
        yield Problem(path=path, problem=problem, suggestion="an address holds no secret")
    elif not _ADDRESS.fullmatch(url) and not _BELOW.fullmatch(url):
        problem = "an https address is expected, or a path below the service's, without a query; http only leads to this machine"
        yield Problem(path=path, problem=problem)


def _texts(path: str, texts: Mapping[str, str | None], known: AbstractSet[str]) -> Iterator[Problem]:
    for name, text in texts.items():
        problem = None if text is None else fill.problem_with(text, known)
        if problem is not None:
            yield Problem(path=f"{path}.{name}", problem=problem)


def _answer_problems(path: str, answer: TokenAnswer) -> Iterator[Problem]:
    named = ("access_token", "refresh_token", "expires_in", "expires_at", "scope", "token_type", "error")
    for name in named:
        place: str | None = getattr(answer, name)
        if place is not None:
            yield from pointer_problems(f"{path}.{name}", place)
    for name, place in answer.extra.items():
        if name in RESERVED:
            yield Problem(path=f"{path}.extra", problem=f"{name!r} is a value that a grant makes")
        yield from pointer_problems(f"{path}.extra.{name}", place)


def _assertion_problems(
    path: str, assertion: Assertion, profile: AuthProfile, known: AbstractSet[str]
) -> Iterator[Problem]:
    texts = {name: getattr(assertion, name) for name in ("key_id", "issuer", "subject", "audience")}
    yield from _texts(path, texts, known)
    yield from _texts(f"{path}.claims", assertion.claims, set(known) | {"scope"})
    field = next((each for each in profile.fields if each.name == assertion.key), None)
    if field is not None and not field.secret:
        yield Problem(path=f"{path}.key", problem=f"the field {assertion.key!r} is no secret")
    elif field is None and assertion.key not in ("private_key", "client_secret"):
        yield Problem(path=f"{path}.key", problem=f"there is no field {assertion.key!r}")
    if assertion.key_encoding != "text" and assertion.algorithm != "HS256":
        yield Problem(path=f"{path}.key_encoding", problem=f"a key of {assertion.algorithm} is PEM")


def _device_problems(path: str, grant: grants.Device) -> Iterator[Problem]:
    for name in ("device_code", "user_code", "verification_uri", "verification_uri_complete", "interval"):
        place: str | None = getattr(grant, name)
        if place is not None:
            yield from pointer_problems(f"{path}.{name}", place)


def _mcp_problems(path: str, grant: grants.McpOAuth) -> Iterator[Problem]:
    if grant.resource is not None:
        yield from _url_problems(f"{path}.resource", grant.resource, frozenset())
    if (grant.registration == "metadata") != (grant.client_metadata_url is not None):
        problem = "registration by metadata has it, and no other"
        yield Problem(path=f"{path}.client_metadata_url", problem=problem)
