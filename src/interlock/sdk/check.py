"""The invariants of a manifest. Every function returns problems; nothing stops at the first."""

from collections import Counter
from collections.abc import Iterator, Sequence

from interlock.sdk.auth import AuthProfile
from interlock.sdk.check_auth import profile_problems
from interlock.sdk.check_operation import operation_problems, surface_problems
from interlock.sdk.check_places import place_problems
from interlock.sdk.check_schema import schema_problems
from interlock.sdk.errors import Problem
from interlock.sdk.manifest import Operation, Trigger


def manifest_problems(
    *, auth: Sequence[AuthProfile], operations: Sequence[Operation], triggers: Sequence[Trigger]
) -> Iterator[Problem]:
    """All that contradicts itself in the parts of a manifest that are well formed."""
    parts = (*operations, *triggers)
    yield from repeated("auth", [profile.profile_id for profile in auth])
    yield from repeated("surface.normalized_id", [each.surface.normalized_id for each in parts])
    yield from repeated("surface.action_name", [each.surface.action_name for each in parts])
    for profile in auth:
        yield from profile_problems(
            f"auth[{profile.profile_id}]", profile, shown=_shown_otherwise(operations, triggers)
        )
    for operation in operations:
        yield from operation_problems(operation)
        yield from place_problems(operation, auth)
        yield from _scope_problems(f"operations[{operation.operation_id}]", operation.scopes, auth)
        for secret in () if operation.command is None else operation.command.secrets:
            if not any(secret.field in profile.lease_fields for profile in auth):
                path = f"operations[{operation.operation_id}].command.secrets"
                yield Problem(path=path, problem=f"no auth profile has the secret field {secret.field!r}")
    for trigger in triggers:
        yield from _trigger_problems(f"triggers[{trigger.trigger_id}]", trigger, auth)
        yield from _scope_problems(f"triggers[{trigger.trigger_id}]", trigger.scopes, auth)


def _shown_otherwise(operations: Sequence[Operation], triggers: Sequence[Trigger]) -> frozenset[str]:
    """The secret fields that commands are handed and that webhooks are verified with."""
    handed = {each.field for operation in operations if operation.command for each in operation.command.secrets}
    verified = {trigger.verification.secret_field for trigger in triggers if trigger.verification}
    return frozenset(handed | {name for name in verified if name is not None})


def repeated(path: str, names: Sequence[str | None]) -> Iterator[Problem]:
    """Names that stand more than once."""
    for name, count in Counter(names).items():
        if name is not None and count > 1:
            yield Problem(path=path, problem=f"{name!r} stands here {count} times")


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
