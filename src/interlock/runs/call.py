"""One call with all that was looked up for it, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, cast

import orjson

from interlock import approvals, budgets, catalog, connections, plane, policy, sdk
from interlock.kernel import JSON, Caller, InvalidJson, JsonLimits, Redactor, canonical, check_json, digest_bytes
from interlock.runs.errors import InputHoldsSecret
from interlock.runs.request import Request
from interlock.runs.revalidation import Revalidation

MOST_BYTES = JsonLimits().max_bytes
"""How large an input may be, in the form in which it is kept."""


class Given(NamedTuple):
    """An input that fits its capability: its canonical text, its digest, and what is recorded and sent, which is that text
    read back (canonical JSON has one spelling: 1.0 is 1)."""

    value: Mapping[str, JSON]
    text: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who asks for what, over which connection. `resolved` is None for services that need no credential."""

    caller: Caller
    request: Request
    capability: catalog.Capability
    resolved: connections.Resolved | None
    redactor: Redactor
    given: Given
    revalidation: Revalidation | None = None
    sandbox: str = "none"
    """The level that its targets have to enforce; `confined` sets it, from the verdict."""
    connection_id: str | None = field(init=False)
    """The connection, if one is needed."""
    subject: str | None = field(init=False)
    """Whom the credential belongs to at the service."""
    profile: sdk.AuthProfile = field(init=False)
    """How the connection authenticates."""
    base_url: str = field(init=False)
    """Where the service lives, in normal form, without a slash at the end."""
    host: str = field(init=False)
    """`host:port` of the service."""
    budget_call: budgets.Call = field(init=False)
    """What budgets count."""

    def __post_init__(self) -> None:
        connection = None if self.resolved is None else self.resolved.connection
        profile = profile_of(self.capability, connection)
        service = plane.parse_base((connection and connection.base_url) or profile.base_url)
        put = object.__setattr__
        put(self, "connection_id", connection and connection.connection_id)
        put(self, "subject", connection and connection.subject)
        put(self, "profile", profile)
        put(self, "base_url", service.text)
        put(self, "host", service.host_port)
        counted = budgets.Call(
            tenant_id=self.caller.tenant_id,
            capability_id=self.capability.capability_id,
            connector_id=self.capability.connector_id,
            connection_id=self.connection_id,
            effect=self.operation.effect.value,
            environment=self.request.environment,
        )
        put(self, "budget_call", counted)

    @property
    def operation(self) -> sdk.Operation:
        """What is to be done."""
        return self.capability.operation

    @property
    def value(self) -> Mapping[str, JSON]:
        """The input."""
        return self.given.value

    @property
    def input_json(self) -> str:
        """The input's canonical text."""
        return self.given.text

    @property
    def input_digest(self) -> str:
        """The input's digest."""
        return self.given.digest

    def facts(self, *, started_at: datetime, idempotency_key: str) -> sdk.Facts:
        """What a program knows besides its input. The key that goes to the service stays the same over all attempts."""
        return sdk.Facts(
            subject=self.subject,
            started_at=started_at,
            connection_id=self.connection_id,
            idempotency_key=idempotency_key,
        )

    def policy_facts(self, pressure: Mapping[str, float]) -> policy.Facts:
        """What policy judges."""
        connection = None if self.resolved is None else self.resolved.connection
        return policy.Facts(
            capability_id=self.capability.capability_id,
            connector_id=self.capability.connector_id,
            effect=self.operation.effect.value,
            runtime_class=self.operation.runtime_class.value,
            tenant_id=self.caller.tenant_id,
            actor=self.caller.actor,
            roles=self.caller.roles,
            environment=self.request.environment,
            origin=self.request.origin.value,
            connection_id=self.connection_id,
            connection_name=None if connection is None else connection.name,
            connection_tenant_id=None if connection is None else connection.tenant_id,
            required_scopes=frozenset(self.operation.scopes),
            granted_scopes=frozenset() if connection is None else connection.scopes,
            sandbox=self.request.sandbox,
            sandbox_floor=self.operation.sandbox,
            proxied=self.capability.is_proxy,
            allowed_operations=self.caller.narrowed(self.request.allowed_operations),
            pressure=pressure,
        )

    def binding(self, *, role: str) -> approvals.Binding:
        """What an approval by that role is bound to: change any of it and the approval does not fit."""
        return approvals.Binding(
            tenant_id=self.caller.tenant_id,
            actor=self.caller.actor,
            capability_id=self.capability.capability_id,
            manifest_digest=self.capability.manifest_digest,
            connection_id=self.connection_id,
            service=self.base_url,
            subject=self.subject,
            environment=self.request.environment,
            targets=self.request.targets,
            sandbox=self.sandbox,
            input_digest=self.input_digest,
            role=role,
        )


def check_input(capability: catalog.Capability, value: Mapping[str, JSON]) -> Given:
    """The input, if it may be asked for. Raises InvalidJson and catalog.InvalidInput."""
    asked = cast("JSON", value)
    # Within limits first: a schema may not have any.
    check_json(asked)
    raw = canonical(asked)
    if len(raw) > MOST_BYTES:
        raise InvalidJson(f"the input has {len(raw)} bytes as canonical JSON; the limit is {MOST_BYTES}")
    # As it is read back: then a text is a text, and not an enumeration's member.
    given = cast("Mapping[str, JSON]", orjson.loads(raw))
    capability.validate_input(cast("JSON", given))
    return Given(given, raw.decode(), digest_bytes(raw))


def refuse_secrets(caller: Caller, request: Request, given: Given, redactor: Redactor) -> None:
    """Raises InputHoldsSecret if what is recorded of the request would bring one of the redactor's secrets into the ledger."""
    recorded = {
        "actor": caller.actor,
        "roles": "\n".join(caller.roles),
        "input": given.text,
        "idempotency_key": request.idempotency_key or "",
        "trace_id": request.trace_id or "",
        "environment": request.environment,
        "allowed_operations": "\n".join(request.allowed_operations or ()),
    }
    refuse_words(request.capability, recorded, redactor)


def refuse_words(capability: str, recorded: Mapping[str, str], redactor: Redactor) -> None:
    """Raises InputHoldsSecret if one of the texts, by what they are, holds one of the redactor's secrets."""
    for name, text in recorded.items():
        if redactor.finds(text.encode()):
            raise InputHoldsSecret(
                f"the {name} of {capability} holds the connection's own credential; it would be kept in the ledger"
            )


def profile_of(capability: catalog.Capability, connection: connections.Connection | None) -> sdk.AuthProfile:
    """How the connection authenticates."""
    profiles = capability.manifest.auth
    if connection is None:
        return profiles[0]
    return next((profile for profile in profiles if profile.profile_id == connection.profile_id), profiles[0])
