"""The guards: denials that no rule can switch off. Each answers None when it has nothing against the call."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from interlock.policy.model import SANDBOXES, Effect, Facts, Reason


def check(facts: Facts) -> list[Reason]:
    """Every guard's objection. This is the hot path: the tests that nearly always pass stand in line here."""
    reasons: list[Reason] = []
    if facts.allowed_operations is not None and not _is_allowed(facts.capability_id, facts.allowed_operations):
        reasons.append(_deny("operation", f"the request is not allowed to use {facts.capability_id}"))
    if facts.connection_tenant_id is not None and facts.connection_tenant_id != facts.tenant_id:
        reasons.append(_deny("tenant", "the connection belongs to another tenant"))
    if not facts.required_scopes <= facts.granted_scopes:
        missing = ", ".join(sorted(facts.required_scopes - facts.granted_scopes))
        reasons.append(_deny("scopes", f"the connection lacks these scopes: {missing}"))
    if facts.sandbox is not None and facts.sandbox != facts.sandbox_floor and (text := _weakness(facts)):
        reasons.append(_deny("sandbox", text))
    return reasons


def sandbox_level(facts: Facts, demanded: Sequence[str]) -> str:
    """The level to run at: the strictest of what is requested, what the operation demands, and what rules demand."""
    requested, floor = facts.sandbox, facts.sandbox_floor
    level = floor if requested is None or requested == floor or _weakness(facts) else requested
    return max((level, *demanded), key=SANDBOXES.index) if demanded and level in SANDBOXES else level


def _deny(name: str, text: str) -> Reason:
    return Reason(rule_id=f"guard:{name}", effect=Effect.DENY, text=text)


def _is_allowed(capability_id: str, allowed: tuple[str, ...]) -> bool:
    return capability_id in allowed or any(fnmatchcase(capability_id, pattern) for pattern in allowed)


def _weakness(facts: Facts) -> str | None:
    requested, floor = facts.sandbox, facts.sandbox_floor
    for level in (requested, floor):
        if level not in SANDBOXES:
            return f"{level!r} is not a sandbox level; there are {', '.join(SANDBOXES)}"
    if SANDBOXES.index(requested or floor) < SANDBOXES.index(floor):
        return f"the request asks for sandbox level {requested!r}, the operation demands at least {floor!r}"
    return None
