"""One call with all that was looked up for it, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from interlock import approvals, budgets, catalog, connections, plane, policy, sdk
from interlock.kernel import JSON, Caller, Redactor, canonical, check_json, digest_bytes
from interlock.runs.errors import InputHoldsSecret
from interlock.runs.request import Request
from interlock.runs.revalidation import Revalidation


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who asks for what, over which connection. `resolved` is None for services that need no credential."""

    caller: Caller
    request: Request
    capability: catalog.Capability
    resolved: connections.Resolved | None
    redactor: Redactor
    input_json: str
    input_digest: str
    revalidation: Revalidation | None = None

    @property
    def operation(self) -> sdk.Operation:
        """What is to be done."""
        return self.capability.operation

    @property
    def value(self) -> Mapping[str, JSON]:
        """The input."""
        return self.request.input

    @property
    def connection_id(self) -> str | None:
        """The connection, if one is needed."""
        return None if self.resolved is None else self.resolved.connection.connection_id

    @property
    def subject(self) -> str | None:
        """Whom the credential belongs to at the service."""
        return None if self.resolved is None else self.resolved.connection.subject

    @property
    def profile(self) -> sdk.AuthProfile:
        """How the connection authenticates."""
        profiles = self.capability.manifest.auth
        if self.resolved is None:
            return profiles[0]
        wanted = self.resolved.connection.profile_id
        return next((profile for profile in profiles if profile.profile_id == wanted), profiles[0])

    @property
    def base_url(self) -> str:
        """Where the service lives, in normal form, without a slash at the end."""
        return self._service.text

    @property
    def host(self) -> str:
        """`host:port` of the service."""
        return self._service.host_port

    @property
    def _service(self) -> plane.Url:
        own = None if self.resolved is None else self.resolved.connection.base_url
        return plane.parse_base(own or self.profile.base_url)

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
        allowed = self.request.allowed_operations
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
            allowed_operations=None if allowed is None else tuple(sorted(allowed)),
            pressure=pressure,
        )

    def budget_call(self) -> budgets.Call:
        """What budgets count."""
        return budgets.Call(
            tenant_id=self.caller.tenant_id,
            capability_id=self.capability.capability_id,
            connector_id=self.capability.connector_id,
            connection_id=self.connection_id,
            effect=self.operation.effect.value,
            environment=self.request.environment,
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
            input_digest=self.input_digest,
            role=role,
        )


def check_input(capability: catalog.Capability, value: Mapping[str, JSON], redactor: Redactor) -> tuple[str, str]:
    """The input's canonical text and digest. Raises InvalidJson, catalog.InvalidInput and InputHoldsSecret."""
    given = cast("JSON", value)
    # Within limits first: a schema may not have any.
    check_json(given)
    capability.validate_input(given)
    raw = canonical(given)
    if redactor.finds(raw):
        raise InputHoldsSecret(
            f"the input of {capability.capability_id} holds the connection's own credential; it would be kept in the ledger"
        )
    return raw.decode(), digest_bytes(raw)
