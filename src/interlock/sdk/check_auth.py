"""What must hold for auth profiles. Every function returns problems; nothing stops at the first."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from ipaddress import IPv6Address
from typing import Final

from pydantic_core import SchemaError

from interlock.sdk import fill
from interlock.sdk.auth import (
    AuthProfile,
    CertificatePlace,
    Field,
    HeaderPlace,
    Placement,
    QueryPlace,
    fits,
    pattern_of,
    placed,
)
from interlock.sdk.check_grant import grant_problems
from interlock.sdk.check_schema import header_problems, pointer_problems
from interlock.sdk.errors import Problem
from interlock.sdk.grants import Manual, NoGrant
from interlock.sdk.partial import where_known
from interlock.sdk.wire import check_path, check_target, is_header_value

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>/[^?]*[^?/])?"
)
# A credential's header may be Authorization, which connectors themselves never set.
_CREDENTIAL_HEADER: Final = "authorization"
_ALWAYS: Final = frozenset({"accept", "content-type", "user-agent"})
"""Headers of every request, or of every one with a body."""
_PARAMETER: Final = re.compile(r"[A-Za-z0-9._~\[\]-]{1,100}")
_MAX_FIELD: Final = 40
_MAX_FIELDS: Final = 30
_MAX_TEMPLATE: Final = 200


def profile_problems(path: str, profile: AuthProfile, *, shown: Callable[[], AbstractSet[str]]) -> Iterator[Problem]:
    """All that contradicts itself in a profile. `shown`: the secret fields that commands and webhooks use."""
    yield from where_known(
        lambda: _service_problems(f"{path}.base_url", profile),
        lambda: _credential_problems(path, profile, shown),
        lambda: _probe_problems(f"{path}.probe", profile),
    )


def _credential_problems(path: str, profile: AuthProfile, shown: Callable[[], AbstractSet[str]]) -> Iterator[Problem]:
    if not isinstance(profile.grant, NoGrant):
        yield from where_known(
            lambda: _fields_problems(f"{path}.fields", profile),
            lambda: _derive_problems(f"{path}.derive", profile),
            lambda: _apply_problems(f"{path}.apply", profile, shown()),
            lambda: grant_problems(f"{path}.grant", profile),
        )
    elif profile.fields or profile.derive or profile.apply or profile.scopes_offered:
        yield Problem(path=path, problem="a profile without a grant has no fields, derive, apply or scopes")


def _probe_problems(path: str, profile: AuthProfile) -> Iterator[Problem]:
    if profile.probe is None:
        return
    yield from pointer_problems(f"{path}.subject", profile.probe.subject or "")
    try:
        check_target(profile.probe.path)
    except ValueError as error:
        yield Problem(path=f"{path}.path", problem=str(error))


def _service_problems(path: str, profile: AuthProfile) -> Iterator[Problem]:
    """Fields that are no secrets may stand in a service's address; what it becomes is checked again when it is filled."""
    public = {each.name for each in profile.fields if not (each.secret or each.optional)}
    if (problem := fill.problem_with(profile.base_url, public)) is not None:
        yield Problem(path=path, problem=problem)
    else:
        yield from _address_problems(path, str(fill.fill(profile.base_url, dict.fromkeys(public, "1"))))


def _address_problems(path: str, base_url: str) -> Iterator[Problem]:
    """A profile's address is in the form in which services are named everywhere else."""
    match = _ADDRESS.fullmatch(base_url)
    if match is None or int(match["port"] or 1) > 65535 or not _is_host(match["host"]):
        yield Problem(
            path=path,
            problem="an https address is expected: a lower-case host, perhaps a port and a path; it holds no credential "
            "and no query, and ends without a slash",
        )
        return
    if match["scheme"] == "http" and match["host"] not in _LOOPBACK:
        yield Problem(path=path, problem="an https address is expected; http only leads to this machine")
    try:
        check_path(match["path"] or "/")
    except ValueError as error:
        yield Problem(path=path, problem=str(error))


def _is_host(text: str) -> bool:
    """Whether what stands in brackets is an address; names are as the pattern has them."""
    try:
        return not text.startswith("[") or bool(IPv6Address(text[1:-1]))
    except ValueError:
        return False


def _fields_problems(path: str, profile: AuthProfile) -> Iterator[Problem]:
    names = [each.name for each in profile.fields]
    if isinstance(profile.grant, Manual) and not profile.secret_fields:
        yield Problem(path=path, problem="there is no secret field", suggestion="or say grant: {type: none}")
    if len(names) > _MAX_FIELDS:
        yield Problem(path=path, problem=f"there are {len(names)}; the limit is {_MAX_FIELDS}")
    for name, count in Counter([*names, *profile.derive, *profile.granted_fields]).items():
        if count > 1:
            yield Problem(path=path, problem=f"{name!r} is the name of {count} values")
    for field in profile.fields:
        yield from _field_problems(f"{path}[{field.name}]", field)


def _field_problems(path: str, field: Field) -> Iterator[Problem]:
    if len(field.name) > _MAX_FIELD:
        problem = f"{field.name!r} has {len(field.name)} characters; the limit is {_MAX_FIELD}"
        yield Problem(path=path, problem=problem)
    if field.secret and (field.default is not None or field.choices):
        yield Problem(path=path, problem="a secret has no default and no choices")
    if field.choices and field.default is not None and field.default not in field.choices:
        yield Problem(path=f"{path}.default", problem="it is none of the choices")
    if field.pattern is None:
        return
    try:
        pattern_of(field.pattern)
    except SchemaError as error:
        reason = str(error).strip().rpartition("\n")[2].removeprefix("error: ")
        yield Problem(path=f"{path}.pattern", problem=f"this is no pattern: {reason}")
        return
    for label, text in (("default", field.default), ("example", field.example)):
        if text is not None and not fits(field.pattern, text):
            yield Problem(path=f"{path}.{label}", problem="it does not fit the pattern")


def _derive_problems(path: str, profile: AuthProfile) -> Iterator[Problem]:
    known = {each.name for each in profile.fields} | set(profile.granted_fields)
    known |= set() if isinstance(profile.grant, Manual) else {"client_id", "client_secret"}
    for name, formula in profile.derive.items():
        if len(name) > _MAX_FIELD:
            yield Problem(path=f"{path}.{name}", problem=f"the name is longer than {_MAX_FIELD} characters")
        problem = fill.formula_problem(formula, known)
        if problem is None and (not fill.holes(formula) or "?}" in formula):
            problem = "it names nothing, or what may be left out"
        if problem is not None:
            yield Problem(path=f"{path}.{name}", problem=problem)


def _apply_problems(path: str, profile: AuthProfile, shown: AbstractSet[str]) -> Iterator[Problem]:
    """Whether the plane can show the secrets when the call comes."""
    known = {*profile.secret_fields, *profile.granted_fields, *profile.derive} - {"refresh_token"}
    if not profile.apply and not shown:
        yield Problem(path=path, problem="no request shows the credential")
    places = Counter((each.place, _called(each).lower()) for each in profile.apply)
    for (place, called), count in places.items():
        if count > 1:
            yield Problem(path=path, problem=f"{count} placements are in the {place} {called}".rstrip())
    for name in sorted({each.name for each in profile.fields if each.optional} & set(profile.shown_fields)):
        yield Problem(path=path, problem=f"{name!r} is optional, and requests show it")
    for index, each in enumerate(profile.apply):
        yield from _placement_problems(f"{path}[{index}]", each, known)
    if isinstance(profile.grant, Manual):
        named = {name for each in profile.apply for name in placed(each)}
        named |= {name for formula in profile.derive.values() for name in fill.holes(formula)} | shown
        for name in sorted(set(profile.secret_fields) - named):
            yield Problem(path=f"{path}", problem=f"no request shows the secret field {name!r}")
        for name in sorted(set(profile.derive) - named):
            yield Problem(path=f"{path}", problem=f"no request shows what is derived as {name!r}")


def _called(placement: Placement) -> str:
    return "" if isinstance(placement, CertificatePlace) else placement.name


def _placement_problems(path: str, placement: Placement, known: AbstractSet[str]) -> Iterator[Problem]:
    if isinstance(placement, CertificatePlace):
        for name in placed(placement):
            if name not in known:
                yield Problem(path=path, problem=f"{name!r} is no secret of this profile")
        return
    text = placement.template
    problem = fill.problem_with(text, known)
    if problem is None and len(fill.holes(text)) != 1:
        problem = "it must name exactly one secret"
    if problem is None and "?}" in text:
        problem = "it cannot be left out"
    if problem is not None:
        suggestion = "what needs several is a formula in derive"
        yield Problem(path=f"{path}.template", problem=problem, suggestion=suggestion)
    if len(text) > _MAX_TEMPLATE:
        problem = f"it has {len(text)} characters; the limit is {_MAX_TEMPLATE}"
        yield Problem(path=f"{path}.template", problem=problem)
    elif not is_header_value(text):
        yield Problem(path=f"{path}.template", problem=f"it has characters that cannot stand in a {placement.place}")
    yield from _name_problems(f"{path}.name", placement)


def _name_problems(path: str, placement: HeaderPlace | QueryPlace) -> Iterator[Problem]:
    if not isinstance(placement, HeaderPlace):
        if not _PARAMETER.fullmatch(placement.name):
            yield Problem(path=path, problem=f"{placement.name[:50]!r} is no name of a parameter")
    elif placement.name.lower() in _ALWAYS:
        yield Problem(path=path, problem=f"requests say {placement.name!r} themselves")
    elif placement.name.lower() != _CREDENTIAL_HEADER:
        yield from header_problems(path, {placement.name: ""})
