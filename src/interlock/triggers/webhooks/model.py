"""Routes, triggers and deliveries. Frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from interlock import connections, sdk
from interlock.kernel import JSON, Secret, digest, to_rfc3339


class Topology(StrEnum):
    """Whose an address is: one install's, or an app's, whose deliveries say which install they are for."""

    PER_INSTALL = "per_install"
    PER_APP = "per_app"


class RouteState(StrEnum):
    """Whether deliveries are taken; what is revoked stays so."""

    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"


class DeliveryState(StrEnum):
    """What became of a delivery: work of it, nothing since it was known, or nothing since it was not proven or not readable."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An address on which a service reports.

    Of an app's address (`per_app` without `app_route_id`), `resolution` has the places of the body that tell installs apart,
    with None; an install of it is a route of its own, with the address's id, no token and no secret, and the values there.
    `former_until`: so long the secret that was replaced counts as well. `awaiting_until`: so long the service may hand one over.
    """

    route_id: str
    tenant_id: str
    connector_id: str
    topology: Topology
    app_route_id: str | None
    connection_id: str | None
    token_digest: str | None
    resolution: Mapping[str, str | None]
    verification: sdk.Verification
    sealed: connections.Sealed | None = field(repr=False)
    secret_version: int
    former_until: datetime | None
    awaiting_until: datetime | None
    dedupe_seconds: int
    state: RouteState
    revision: int
    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def resolution_digest(self) -> str | None:
        """What tells one install of an app from another; None for an address."""
        return None if self.app_route_id is None else resolution_digest(self.resolution)

    @property
    def has_address(self) -> bool:
        """Whether services report to it, and not to the app's route that it belongs to."""
        return self.app_route_id is None

    def record(self) -> dict[str, JSON]:
        """Everything that may be shown."""
        return {
            "route_id": self.route_id,
            "tenant_id": self.tenant_id,
            "connector_id": self.connector_id,
            "topology": self.topology.value,
            "app_route_id": self.app_route_id,
            "connection_id": self.connection_id,
            "resolution": dict(self.resolution),
            "verification": self.verification.model_dump(mode="json", exclude_defaults=True),
            "has_secret": self.sealed is not None,
            "former_until": _moment(self.former_until),
            "awaiting_until": _moment(self.awaiting_until),
            "dedupe_seconds": self.dedupe_seconds,
            "state": self.state.value,
            "revision": self.revision,
            "created_by": self.created_by,
            "created_at": to_rfc3339(self.created_at),
            "updated_at": to_rfc3339(self.updated_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRoute:
    """A route as it was made. `address` and `secret` (if it was made here) are not shown again."""

    route: Route
    address: Secret | None
    secret: Secret | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What is done about an event that a connector declares: `name` is `<connector_id>.<trigger_id>`. The event is reported on a
    route (`delivery`), or asked for by a poll, of which `connection_id` is the connection as it was named."""

    trigger_id: str
    tenant_id: str
    connector_id: str
    name: str
    connection_id: str | None
    handler: str
    config: Mapping[str, JSON]
    enabled: bool
    priority: int
    retry: sdk.Retries
    created_by: str
    created_at: datetime
    updated_at: datetime
    delivery: Literal["webhook", "poll"] = "webhook"

    @property
    def declared(self) -> str:
        """Its id in the manifest."""
        return self.name.partition(".")[2]

    def record(self) -> dict[str, JSON]:
        """As it is shown."""
        return {
            "trigger_id": self.trigger_id,
            "tenant_id": self.tenant_id,
            "connector_id": self.connector_id,
            "name": self.name,
            "delivery": self.delivery,
            "connection_id": self.connection_id,
            "handler": self.handler,
            "config": dict(self.config),
            "state": "enabled" if self.enabled else "disabled",
            "priority": self.priority,
            "retry": self.retry.model_dump(mode="json"),
            "created_by": self.created_by,
            "created_at": to_rfc3339(self.created_at),
            "updated_at": to_rfc3339(self.updated_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A request that came to a route. `external_id` is the service's own word; `digest` is of what was signed. `body` is kept of
    what was accepted. `facts`: the runs that were made of it, or why there are none."""

    delivery_id: str
    tenant_id: str
    route_id: str
    connector_id: str
    external_id: str | None
    digest: str | None
    state: DeliveryState
    reason: str | None
    received_at: datetime
    size: int
    body: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    facts: Mapping[str, JSON]

    def record(self) -> dict[str, JSON]:
        """As it is shown, without the body."""
        return {
            "delivery_id": self.delivery_id,
            "tenant_id": self.tenant_id,
            "route_id": self.route_id,
            "connector_id": self.connector_id,
            "external_id": self.external_id,
            "digest": self.digest,
            "state": self.state.value,
            "reason": self.reason,
            "received_at": to_rfc3339(self.received_at),
            "size": self.size,
            "headers": dict(self.headers),
            **self.facts,
        }


def resolution_digest(values: Mapping[str, str | None]) -> str:
    """Of the values that tell an install."""
    return digest({**values})


def _moment(at: datetime | None) -> str | None:
    return None if at is None else to_rfc3339(at)
