"""The values of the room: connection, credential version, lease, and what a call resolves to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from interlock.kernel import JSON, to_rfc3339

MAX_LEASE = timedelta(seconds=300)
"""No lease lives longer."""


MAX_SECRET_LENGTH: Final = 16_384


class State(StrEnum):
    """Where a connection stands; `transitions.ALLOWED` draws the machine."""

    CONNECTED = "connected"
    DEGRADED = "degraded"
    REAUTH_REQUIRED = "reauth_required"
    REVOKED = "revoked"


class ManagementMode(StrEnum):
    """Who looks after the credential: a person who pastes it, Interlock by its own tokens, a secret manager, the operator's
    app at the provider, or the provider's own tool on this machine."""

    MANUAL = "manual"
    HOSTED = "hosted"
    EXTERNAL = "external_secret"
    PROVIDER_APP = "provider_app"
    PROVIDER_NATIVE = "provider_native"


class SourceKind(StrEnum):
    """Where a connection's secret is: sealed in the store, or read from its own place when it is needed."""

    STORED = "stored"
    ENV = "env"
    FILE = "file"
    COMMAND = "command"
    KEYRING = "keyring"
    VAULT = "vault"
    AWS = "aws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """Where a connection's refresh stands.

    `due_at`: when to renew ahead of the end. `owner_id` refreshes until `until`, with the credential version `credential_id`,
    and both were committed before its request left: whoever finds them later knows that it may have arrived. `fence` counts
    such claims, `failures` those in a row that came to nothing.
    """

    due_at: datetime | None = None
    fence: int = 0
    owner_id: str | None = None
    until: datetime | None = None
    credential_id: str | None = None
    failures: int = 0

    def record(self) -> dict[str, JSON]:
        """As JSON."""
        return {
            "due_at": _moment(self.due_at),
            "fence": self.fence,
            "owner_id": self.owner_id,
            "until": _moment(self.until),
            "credential_id": self.credential_id,
            "failures": self.failures,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A tenant's account at one service, through one connector. It holds no secret.

    `base_url` is where the service lives when that is not the profile's own address (a GitHub Enterprise host, a test
    server); `subject` is who the credential belongs to at the service (a login); `revision` fences changes.
    `credential_expires_at` is when the current credential ends (None: nobody has said); it belongs to that credential.
    `params` are the profile's fields that are no secrets. A `secret_source` other than `stored` is read when a lease is
    redeemed, from where `source` says; that names places and holds no secret. `head_seq` and `head_hash` are the head of the
    chain of what happened to it (`history`).
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
    management_mode: ManagementMode = ManagementMode.MANUAL
    secret_source: SourceKind = SourceKind.STORED
    source: Mapping[str, JSON] | None = None
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    refresh: Refresh = Refresh()
    refreshed_at: datetime | None = None
    broken_at: datetime | None = None
    head_seq: int = 0
    head_hash: str | None = None

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
            "credential_expires_at": _moment(self.credential_expires_at),
            "revision": self.revision,
            "created_by": self.created_by,
            "created_at": to_rfc3339(self.created_at),
            "updated_at": to_rfc3339(self.updated_at),
            "management_mode": self.management_mode.value,
            "secret_source": self.secret_source.value,
            "source": self.source,
            "params": self.params,
            "refresh": self.refresh.record(),
            "refreshed_at": _moment(self.refreshed_at),
            "broken_at": _moment(self.broken_at),
            "head_seq": self.head_seq,
            "head_hash": self.head_hash,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A ciphertext with what is needed to open it, beside the key and the associated data."""

    key_id: str
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One version of a connection's secret, sealed.

    `fields` names what is inside; nonce and ciphertext are empty once it is erased. A version that was superseded serves the
    leases it has until `overlap_until`. `grant` is what the service said about it (scopes, the token's type), no secret.
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
    superseded_at: datetime | None = None
    overlap_until: datetime | None = None
    grant: Mapping[str, JSON] | None = None


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
            "revoked_at": _moment(self.revoked_at),
        }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else to_rfc3339(at)
