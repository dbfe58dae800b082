"""The values of the room: connection, credential version, lease, and what a call resolves to."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from interlock.kernel import JSON, to_rfc3339

MAX_LEASE = timedelta(seconds=300)
"""No lease lives longer."""


class State(StrEnum):
    """Where a connection stands; `transitions.ALLOWED` draws the machine."""

    INSTALLING = "installing"
    CONNECTED = "connected"
    DEGRADED = "degraded"
    REAUTH_REQUIRED = "reauth_required"
    REVOKED = "revoked"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A tenant's account at one service, through one connector. It holds no secret.

    `base_url` is where the service lives when that is not the profile's own address (a GitHub Enterprise host, a test
    server); `subject` is who the credential belongs to at the service (a login); `revision` fences changes.
    `credential_expires_at` is when the current credential ends (None: nobody has said); it belongs to that credential.
    """

    connection_id: str
    tenant_id: str
    connector_id: str
    profile_id: str
    name: str
    subject: str | None
    state: State
    reason: str | None
    base_url: str | None
    scopes: frozenset[str]
    current_credential_id: str | None
    revision: int
    created_by: str
    created_at: datetime
    updated_at: datetime
    credential_expires_at: datetime | None = None

    def record(self) -> dict[str, JSON]:
        """The connection as JSON, for people, packets and APIs."""
        return {
            "connection_id": self.connection_id,
            "tenant_id": self.tenant_id,
            "connector_id": self.connector_id,
            "profile_id": self.profile_id,
            "name": self.name,
            "subject": self.subject,
            "state": self.state.value,
            "reason": self.reason,
            "base_url": self.base_url,
            "scopes": sorted(self.scopes),
            "current_credential_id": self.current_credential_id,
            "credential_expires_at": None
            if self.credential_expires_at is None
            else to_rfc3339(self.credential_expires_at),
            "revision": self.revision,
            "created_by": self.created_by,
            "created_at": to_rfc3339(self.created_at),
            "updated_at": to_rfc3339(self.updated_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One version of a connection's secret, sealed.

    `fields` names what is inside; nonce and ciphertext are empty once it is erased.
    """

    credential_id: str
    connection_id: str
    tenant_id: str
    version: int
    key_id: str
    nonce: bytes | None = field(repr=False)
    ciphertext: bytes | None = field(repr=False)
    fields: tuple[str, ...]
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a call will use: a connection that can serve, and its current credential version, still sealed."""

    connection: Connection
    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Permission to use one credential version for a short time, for some scopes, towards some hosts (`host:port`).

    It names the secret and never holds it.
    """

    lease_id: str
    tenant_id: str
    connection_id: str
    credential_id: str
    run_id: str | None
    scopes: frozenset[str]
    hosts: frozenset[str]
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def record(self) -> dict[str, JSON]:
        """The lease as JSON, for people, packets and APIs."""
        return {
            "lease_id": self.lease_id,
            "tenant_id": self.tenant_id,
            "connection_id": self.connection_id,
            "credential_id": self.credential_id,
            "run_id": self.run_id,
            "scopes": sorted(self.scopes),
            "hosts": sorted(self.hosts),
            "issued_at": to_rfc3339(self.issued_at),
            "expires_at": to_rfc3339(self.expires_at),
            "revoked_at": None if self.revoked_at is None else to_rfc3339(self.revoked_at),
        }
