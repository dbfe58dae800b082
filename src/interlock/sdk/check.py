"""The invariants of a manifest. Every function returns problems; nothing stops at the first."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from interlock.sdk.auth import AuthProfile
from interlock.sdk.check_auth import profile_problems
from interlock.sdk.check_operation import operation_problems, rule_problems, surface_problems
from interlock.sdk.check_places import place_problems
from interlock.sdk.check_polling import polling_problems
from interlock.sdk.check_schema import schema_problems
from interlock.sdk.check_webhook import webhook_problems
from interlock.sdk.errors import Problem
from interlock.sdk.manifest import Operation, Trigger
from interlock.sdk.partial import known, where_known
from interlock.sdk.rules import ErrorRule


def manifest_problems(
    *,
    auth: Sequence[AuthProfile],
    operations: Sequence[Operation],
    triggers: Sequence[Trigger],
    errors: Sequence[ErrorRule] = (),
) -> Iterator[Problem]:
    """All that contradicts itself in the parts of a manifest. Parts that are wrong in places (`partial`) are checked as far
    as what is right in them goes."""
    parts = (*operations, *triggers)
    yield from repeated("auth", [profile.profile_id for profile in auth])
    yield from repeated("surface.normalized_id", known(parts, lambda each: each.surface.normalized_id))
    yield from repeated("surface.action_name", known(parts, lambda each: each.surface.action_name))
    yield from rule_problems("errors", errors)
    for profile in auth:
        yield from profile_problems(
            f"auth[{profile.profile_id}]", profile, shown=lambda: _shown_otherwise(operations, triggers)
        )
    for operation in operations:
        path = f"operations[{operation.operation_id}]"
        yield from operation_problems(path, operation)
        yield from where_known(
            functools.partial(place_problems, path, operation, auth),
            functools.partial(_scope_problems, path, operation, auth),
            functools.partial(_secret_problems, path, operation, auth),
        )
    for trigger in triggers:
        path = f"triggers[{trigger.trigger_id}]"
        yield from where_known(
            functools.partial(surface_problems, f"{path}.surface", trigger),
            functools.partial(_schemas_problems, path, trigger),
            functools.partial(polling_problems, path, trigger, operations),
            functools.partial(webhook_problems, path, trigger, auth),
            functools.partial(_scope_problems, path, trigger, auth),
        )


def _shown_otherwise(operations: Sequence[Operation], triggers: Sequence[Trigger]) -> frozenset[str]:
    """The secret fields that commands are handed and that webhooks are verified with."""
    handed = {each.field for operation in operations if operation.command for each in operation.command.secrets}
    verified = {trigger.verification.secret_field for trigger in triggers if trigger.verification}
    return frozenset(handed | {name for name in verified if name is not None})


def repeated(path: str, names: Iterable[str | None]) -> Iterator[Problem]:
    """Names that stand more than once."""
    for name, count in Counter(names).items():
        if name is not None and count > 1:
            yield Problem(path=path, problem=f"{name!r} stands here {count} times")


def _scope_problems(path: str, part: Operation | Trigger, auth: Sequence[AuthProfile]) -> Iterator[Problem]:
    if part.scopes and not any(set(part.scopes) <= set(profile.scopes_offered) for profile in auth):
        yield Problem(path=f"{path}.scopes", problem=f"no auth profile offers all of {', '.join(part.scopes)}")


def _secret_problems(path: str, operation: Operation, auth: Sequence[AuthProfile]) -> Iterator[Problem]:
    for secret in () if operation.command is None else operation.command.secrets:
        if not any(secret.field in profile.lease_fields for profile in auth):
            yield Problem(
                path=f"{path}.command.secrets", problem=f"no auth profile has the secret field {secret.field!r}"
            )


def _schemas_problems(path: str, trigger: Trigger) -> Iterator[Problem]:
    yield from where_known(
        lambda: schema_problems(f"{path}.config_schema", trigger.config_schema, "defined", closed=True),
        lambda: schema_problems(f"{path}.signal_schema", trigger.signal_schema, "defined", closed=False),
    )
