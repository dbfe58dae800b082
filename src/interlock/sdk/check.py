"""The invariants of a manifest. Every function returns problems; nothing stops at the first."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from interlock.sdk import template
from interlock.sdk.check_operation import operation_problems, surface_problems
from interlock.sdk.check_schema import header_problems, pointer_problems, schema_problems
from interlock.sdk.errors import Problem
from interlock.sdk.manifest import AuthProfile, Operation, Trigger
from interlock.sdk.wire import check_path, is_header_value

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>/[^?]*[^?/])?"
)
# A credential's header may be Authorization, which connectors themselves never set.
_CREDENTIAL_HEADER: Final = "authorization"
_MAX_FIELD: Final = 40
_MAX_TEMPLATE: Final = 200


def manifest_problems(
    *, auth: Sequence[AuthProfile], operations: Sequence[Operation], triggers: Sequence[Trigger]
) -> Iterator[Problem]:
    """All that contradicts itself in the parts of a manifest that are well formed."""
    parts = (*operations, *triggers)
    ids = [*(each.operation_id for each in operations), *(each.trigger_id for each in triggers)]
    yield from _repeated("auth", [profile.profile_id for profile in auth])
    yield from _repeated("operations", ids)
    yield from _repeated("surface.normalized_id", [each.surface.normalized_id for each in parts])
    yield from _repeated("surface.action_name", [each.surface.action_name for each in parts])
    for profile in auth:
        yield from _profile_problems(f"auth[{profile.profile_id}]", profile)
    for operation in operations:
        yield from operation_problems(operation)
        yield from _scope_problems(f"operations[{operation.operation_id}]", operation.scopes, auth)
        for secret in () if operation.command is None else operation.command.secrets:
            if not any(secret.field in profile.secret_fields for profile in auth):
                path = f"operations[{operation.operation_id}].command.secrets"
                yield Problem(path=path, problem=f"no auth profile has the secret field {secret.field!r}")
    for trigger in triggers:
        yield from _trigger_problems(f"triggers[{trigger.trigger_id}]", trigger, auth)
        yield from _scope_problems(f"triggers[{trigger.trigger_id}]", trigger.scopes, auth)


def _repeated(path: str, names: Sequence[str | None]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if name is not None and count > 1:
            yield Problem(path=path, problem=f"{name!r} stands here {count} times")


def _address_problems(path: str, base_url: str) -> Iterator[Problem]:
    """A profile's address is in the form in which services are named everywhere else."""
    match = _ADDRESS.fullmatch(base_url)
    if match is None or int(match["port"] or 1) > 65535:
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


def _profile_problems(path: str, profile: AuthProfile) -> Iterator[Problem]:
    yield from _address_problems(f"{path}.base_url", profile.base_url)
    if profile.type == "none":
        if profile.secret_fields or profile.header or profile.template or profile.scopes_offered:
            yield Problem(path=path, problem="type none has no secret_fields, header, template or scopes")
    elif profile.header is None or profile.template is None or not profile.secret_fields:
        yield Problem(path=path, problem="type token needs secret_fields, header and template")
    else:
        if profile.header.lower() != _CREDENTIAL_HEADER:
            yield from header_problems(f"{path}.header", {profile.header: ""})
        yield from _credential_problems(path, profile.secret_fields, profile.template)
    if profile.probe is not None:
        yield from pointer_problems(f"{path}.probe.subject", profile.probe.subject)
        try:
            check_path(profile.probe.path)
        except ValueError as error:
            yield Problem(path=f"{path}.probe.path", problem=str(error))


def _credential_problems(path: str, fields: Sequence[str], text: str) -> Iterator[Problem]:
    """Whether the plane can put the secret into the header when the call comes."""
    if len(fields) > 1:
        yield Problem(
            path=f"{path}.secret_fields",
            problem=f"a credential has one secret field, not {len(fields)}",
            suggestion="let one field hold the whole text",
        )
    elif len(fields[0]) > _MAX_FIELD:
        problem = f"{fields[0]!r} has {len(fields[0])} characters; the limit is {_MAX_FIELD}"
        yield Problem(path=f"{path}.secret_fields", problem=problem)
    if sorted(template.holes(text)) != sorted(fields):
        yield Problem(path=f"{path}.template", problem="it must name each secret field once, and nothing else")
    if len(text) > _MAX_TEMPLATE:
        problem = f"it has {len(text)} characters; the limit is {_MAX_TEMPLATE}"
        yield Problem(path=f"{path}.template", problem=problem)
    elif not is_header_value(text):
        yield Problem(path=f"{path}.template", problem="it has characters that cannot stand in a header")


def _scope_problems(path: str, scopes: Sequence[str], auth: Sequence[AuthProfile]) -> Iterator[Problem]:
    if scopes and not any(set(scopes) <= set(profile.scopes_offered) for profile in auth):
        yield Problem(path=f"{path}.scopes", problem=f"no auth profile offers all of {', '.join(scopes)}")


def _trigger_problems(path: str, trigger: Trigger, auth: Sequence[AuthProfile]) -> Iterator[Problem]:
    yield from surface_problems(f"{path}.surface", trigger.surface)
    yield from schema_problems(f"{path}.config_schema", trigger.config_schema, "defined", closed=True)
    yield from schema_problems(f"{path}.signal_schema", trigger.signal_schema, "defined", closed=False)
    polling, verification = trigger.polling, trigger.verification
    if (trigger.delivery == "poll") != (polling is not None):
        yield Problem(path=f"{path}.polling", problem="poll triggers have it, webhooks do not")
    if polling is not None and polling.min_seconds > polling.default_seconds:
        yield Problem(path=f"{path}.polling", problem="min_seconds is larger than default_seconds")
    if (trigger.delivery == "webhook") != (verification is not None):
        yield Problem(path=f"{path}.verification", problem="webhooks have it, poll triggers do not")
    if verification is None:
        return
    if verification.algorithm == "unsigned":
        if verification.justification is None:
            yield Problem(path=f"{path}.verification", problem="an unsigned webhook needs a justification")
    elif verification.header is None or verification.secret_field is None:
        yield Problem(path=f"{path}.verification", problem="a signed webhook needs header and secret_field")
    elif all(verification.secret_field not in profile.secret_fields for profile in auth):
        yield Problem(path=f"{path}.verification.secret_field", problem="no auth profile has this secret field")
