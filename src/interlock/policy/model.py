"""What is judged, and what the judgement says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from interlock.kernel import JSON

EFFECTS = ("read", "create", "update", "delete", "execute")
"""What an operation does to the outside world."""

RUNTIME_CLASSES = ("direct", "session", "stream", "inference")
"""How an operation is carried out."""

ORIGINS = ("call", "trigger", "schedule", "submission", "script", "agent")
"""Why a call exists; `script` is an action that a script asks for, `agent` what an agent's turn does."""

SANDBOXES = ("none", "standard", "strict")
"""Levels of isolation, weakest first; `plane.SANDBOX_LEVELS` says what each of them means."""

PRESSURES = ("queue_age_s", "budget_left", "store_latency_ms")
"""Readings that other rooms feed: seconds, a fraction from 0 to 1, milliseconds."""


class Effect(StrEnum):
    """What becomes of a call, weakest first; the strongest that any reason names wins."""

    ALLOW = "allow"
    ASK = "ask"
    SHED = "shed"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a decision may depend on, as its caller established it.

    `effect`, `runtime_class`, `origin` and the sandbox levels are words from the tuples above. `sandbox` is the level
    that the request asks for (None: whatever the operation demands), `sandbox_floor` the least that the operation
    demands. `proxied` says that the caller makes up the request. `allowed_operations` are the capability ids or globs
    that the request is limited to (None: no limit). `model` is the model that is asked, as provider:name. A pressure that
    nobody feeds is absent, and matches no rule.
    """

    capability_id: str
    connector_id: str
    effect: str
    runtime_class: str
    tenant_id: str
    actor: str
    environment: str
    roles: frozenset[str] = frozenset()
    origin: str = "call"
    connection_id: str | None = None
    connection_name: str | None = None
    connection_tenant_id: str | None = None
    required_scopes: frozenset[str] = frozenset()
    granted_scopes: frozenset[str] = frozenset()
    sandbox: str | None = None
    sandbox_floor: str = "none"
    proxied: bool = False
    allowed_operations: tuple[str, ...] | None = None
    model: str | None = None
    pressure: Mapping[str, float] = field(default_factory=dict[str, float])

    def to_json(self) -> dict[str, JSON]:
        """The facts as they are recorded beside the decision."""
        allowed = self.allowed_operations
        return {
            "capability_id": self.capability_id,
            "connector_id": self.connector_id,
            "effect": self.effect,
            "runtime_class": self.runtime_class,
            "tenant_id": self.tenant_id,
            "actor": self.actor,
            "environment": self.environment,
            "roles": sorted(self.roles),
            "origin": self.origin,
            "connection_id": self.connection_id,
            "connection_name": self.connection_name,
            "connection_tenant_id": self.connection_tenant_id,
            "required_scopes": sorted(self.required_scopes),
            "granted_scopes": sorted(self.granted_scopes),
            "sandbox": self.sandbox,
            "sandbox_floor": self.sandbox_floor,
            "proxied": self.proxied,
            "allowed_operations": None if allowed is None else list(allowed),
            "pressure": dict(self.pressure),
            **({} if self.model is None else {"model": self.model}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One voice in a decision: a rule by its id, a guard (`guard:<name>`), or `default`."""

    rule_id: str
    effect: Effect
    text: str

    def to_json(self) -> dict[str, JSON]:
        """The reason as it is recorded."""
        return {"rule_id": self.rule_id, "effect": self.effect.value, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a call and why.

    When the effect is `ask`, `role` is whom to ask and `expires_after` how long the answer may take (None: the usual
    time). `sandbox` is the level to run at: the strictest of what was requested, what the operation demands, and what the
    rules that match demand.
    """

    effect: Effect
    reasons: tuple[Reason, ...]
    role: str | None
    expires_after: timedelta | None
    sandbox: str
    policy_digest: str

    def reasons_json(self) -> list[JSON]:
        """All reasons as they are recorded."""
        return [reason.to_json() for reason in self.reasons]

    def to_json(self) -> dict[str, JSON]:
        """The whole decision."""
        return {
            "effect": self.effect.value,
            "reasons": self.reasons_json(),
            "role": self.role,
            "expires_after_s": None if self.expires_after is None else int(self.expires_after.total_seconds()),
            "sandbox": self.sandbox,
            "policy_digest": self.policy_digest,
        }
