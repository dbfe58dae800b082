"""What this room asks of others: where its records are kept, and who seals its secrets."""

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from interlock import sdk
from interlock.connections.clients import OAuthClient
from interlock.connections.history import ConnectionEvent
from interlock.connections.installs import Install
from interlock.connections.model import Connection, Credential, Lease, Sealed
from interlock.kernel import Caller, Secret, Tx

Standing: TypeAlias = tuple[Connection, Credential | None]
"""A connection as stored, with its current credential version if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRow:
    """A stored secret as whoever renews its seal sees it: the row's id, what it holds, and the associated data that ties the
    two together."""

    row_id: str
    tenant_id: str
    sealed: Sealed
    aad: bytes = field(repr=False)


class Cipher(Protocol):
    """Authenticated encryption under a tenant's own key."""

    async def seal(self, tenant_id: str, plaintext: bytes, *, aad: bytes) -> Sealed:
        """Encrypt; `aad` must be given again to open."""
        ...

    async def open(self, tenant_id: str, sealed: Sealed, *, aad: bytes) -> bytes:
        """Decrypt. Raises CredentialDamaged if ciphertext, key, tenant or `aad` are not those that were sealed."""
        ...


class SecretSource(Protocol):
    """Reads secrets that Interlock does not keep."""

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        """The secret at that place, as it is now, within ten seconds or so. Raises SecretUnavailable, SecretExposed; no message
        holds a part of it."""
        ...


class Renewer(Protocol):
    """Gives a connection a new credential when the present one is to end, or was refused."""

    async def fresh(self, caller: Caller, standing: Standing) -> Standing:
        """The connection for a call: renewed first if that is due."""
        ...

    async def reject(self, caller: Caller, standing: Standing) -> Connection | None:
        """The service refused this credential: the connection with the next one, or as it is while one may still be had. None
        if only a person can help."""
        ...


Profiles: TypeAlias = Callable[[str, str, str], Awaitable[sdk.AuthProfile]]
"""Finds an auth profile by the tenant, its connector's id and its own. Raises as the catalogue, and RequestError."""


class Records(Protocol):
    """Where connections, credential versions and leases are kept. Every method runs in the caller's transaction."""

    def find(self, tx: Tx, tenant_id: str, ref: str) -> Standing | None:
        """The tenant's connection with that id (if `ref` has an id's shape) or that name."""
        ...

    def list_candidates(self, tx: Tx, tenant_id: str, connector_id: str, *, limit: int) -> Sequence[Standing]:
        """The tenant's connections of a connector: those in a usable state first, then the latest changed."""
        ...

    def list_connections(
        self,
        tx: Tx,
        tenant_id: str,
        *,
        connector_id: str | None,
        cursor: str | None,
        limit: int,
        only: AbstractSet[str] | None,
    ) -> Sequence[Connection]:
        """The tenant's connections, newest first, after the connection id `cursor`; `only` those of these ids."""
        ...

    def find_lease(self, tx: Tx, tenant_id: str, lease_id: str) -> tuple[Lease, Connection, Credential] | None:
        """The tenant's lease, with its connection and the credential version that it names."""
        ...

    def add_lease(self, tx: Tx, lease: Lease) -> None:
        """Insert a lease."""
        ...

    def end_lease(self, tx: Tx, tenant_id: str, lease_id: str, *, at: datetime) -> bool:
        """Revoke the tenant's lease; False if it is revoked already, or not there."""
        ...

    def list_leases(
        self, tx: Tx, tenant_id: str, connection_id: str, *, now: datetime, cursor: str | None, limit: int
    ) -> Sequence[Lease]:
        """The tenant's leases on a connection that are neither revoked nor over, newest first, after the lease id
        `cursor`."""
        ...

    def save(
        self, tx: Tx, connection: Connection, *, before: int | None, events: Sequence[ConnectionEvent] = ()
    ) -> bool:
        """Insert a connection (`before` None), or replace the one that has the revision `before`; with the events that tell
        of it, up to its head.

        False, and nothing written, if the name is taken or the revision is another by now.
        """
        ...

    def list_events(
        self, tx: Tx, tenant_id: str, connection_id: str, *, after_seq: int, limit: int
    ) -> Sequence[ConnectionEvent]:
        """What happened to the tenant's connection, in order, after the event `after_seq`."""
        ...

    def add_credential(self, tx: Tx, credential: Credential) -> None:
        """Insert a credential version."""
        ...

    def end_sooner(self, tx: Tx, credential_id: str, ends: datetime) -> None:
        """Have a credential version end at that moment."""
        ...

    def supersede(self, tx: Tx, connection_id: str, *, at: datetime, overlap_until: datetime) -> None:
        """Let the present credential version serve the leases that it has until then, and no new ones; erase those that were
        superseded before."""
        ...

    def list_superseded(
        self, tx: Tx, now: datetime, *, limit: int
    ) -> Sequence[tuple[Connection, Credential, Credential | None]]:
        """Credential versions of any tenant that serve no lease any more and are not erased, the longest over first: each
        after its connection, and before the connection's current version."""
        ...

    def erase(self, tx: Tx, credential_id: str, *, at: datetime) -> bool:
        """Erase the secret of a credential version; False if it was erased before."""
        ...

    def list_held(self, tx: Tx, connection_id: str) -> Sequence[Credential]:
        """The credential versions of a connection that are not erased, oldest first."""
        ...

    def list_due(self, tx: Tx, now: datetime, *, after: Connection | None = None, limit: int) -> Sequence[Connection]:
        """Connections of any tenant that serve calls and whose refresh is due, the longest due first; those after `after`."""
        ...

    def wipe(self, tx: Tx, connection_id: str, *, at: datetime) -> None:
        """Erase the secret of every credential version of a connection, revoke every lease on it, and forget the answers
        that were kept for it."""
        ...


class InstallRecords(Protocol):
    """Where installs are kept. Every method runs in the caller's transaction."""

    def insert(self, tx: Tx, install: Install) -> None:
        """Add an install."""
        ...

    def replace(self, tx: Tx, before: Install, after: Install) -> bool:
        """Change an install that still is `before`: its revision, and the key that it is sealed under. False, and nothing
        written, if it is not."""
        ...

    def find(self, tx: Tx, tenant_id: str, install_id: str) -> Install | None:
        """The tenant's install."""
        ...

    def find_by_link(self, tx: Tx, link_digest: str) -> Install | None:
        """The install that the link leads to, of whatever tenant: who holds the link is told."""
        ...

    def find_by_state(self, tx: Tx, state_digest: str) -> Install | None:
        """The install that the state token belongs to, of whatever tenant."""
        ...

    def find_by_browser(self, tx: Tx, install_id: str, browser_digest: str) -> Install | None:
        """The install, of whatever tenant, if it was begun in that browser."""
        ...

    def list_installs(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[Install]:
        """The tenant's installs, newest first, after the install id `cursor`."""
        ...

    def find_last_of_client(self, tx: Tx, tenant_id: str, oauth_client_id: str, *, now: datetime) -> Install | None:
        """The tenant's install that was begun with the client and changed last, without those whose callback may yet come."""
        ...

    def list_over(self, tx: Tx, now: datetime, *, limit: int) -> Sequence[Install]:
        """Installs of any tenant that have not ended and whose time is over."""
        ...


class ClientRecords(Protocol):
    """Where the OAuth clients are kept that we registered ourselves. Every method runs in the caller's transaction."""

    def save(self, tx: Tx, client: OAuthClient) -> None:
        """Keep a client, in the place of the one that the tenant's connector had at that issuer."""
        ...

    def find(self, tx: Tx, tenant_id: str, *, connector_id: str, issuer: str) -> OAuthClient | None:
        """The client of the tenant's connector at that issuer."""
        ...

    def find_client(self, tx: Tx, tenant_id: str, oauth_client_id: str) -> OAuthClient | None:
        """The tenant's client of that id."""
        ...

    def forget(self, tx: Tx, tenant_id: str, oauth_client_id: str) -> None:
        """Keep the tenant's client of that id no more."""
        ...
