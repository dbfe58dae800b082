"""What this room asks of others: where its records are kept, and who seals its secrets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from interlock.connections.model import Connection, Credential, Lease
from interlock.kernel import Tx

Standing: TypeAlias = tuple[Connection, Credential | None]
"""A connection as stored, with its current credential version if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A ciphertext with what is needed to open it, beside the key and the associated data."""

    key_id: str
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


class Cipher(Protocol):
    """Authenticated encryption under a tenant's own key."""

    async def seal(self, tenant_id: str, plaintext: bytes, *, aad: bytes) -> Sealed:
        """Encrypt; `aad` must be given again to open."""
        ...

    async def open(self, tenant_id: str, sealed: Sealed, *, aad: bytes) -> bytes:
        """Decrypt. Raises CredentialDamaged if ciphertext, key, tenant or `aad` are not those that were sealed."""
        ...


class Records(Protocol):
    """Where connections, credential versions and leases are kept. Every method runs in the caller's transaction."""

    def find(self, tx: Tx, tenant_id: str, ref: str) -> Standing | None:
        """The tenant's connection with that id (if `ref` has an id's shape) or that name."""
        ...

    def list_candidates(self, tx: Tx, tenant_id: str, connector_id: str, *, limit: int) -> Sequence[Standing]:
        """The tenant's connections of a connector: those in a usable state first, then the latest changed."""
        ...

    def list_connections(
        self, tx: Tx, tenant_id: str, *, connector_id: str | None, cursor: str | None, limit: int
    ) -> Sequence[Connection]:
        """The tenant's connections, newest first, after the connection id `cursor`."""
        ...

    def find_lease(self, tx: Tx, tenant_id: str, lease_id: str) -> tuple[Lease, Connection, Credential] | None:
        """The tenant's lease, with its connection and the credential version that it names."""
        ...

    def save(self, tx: Tx, connection: Connection, *, before: int | None) -> bool:
        """Insert a connection (`before` None), or replace the one that has the revision `before`.

        False, and nothing written, if the name is taken or the revision is another by now.
        """
        ...

    def add_credential(self, tx: Tx, credential: Credential) -> None:
        """Insert a credential version."""
        ...

    def wipe(self, tx: Tx, connection_id: str, *, at: datetime) -> None:
        """Erase the secret of every credential version of a connection, revoke every lease on it, and forget the answers
        that were kept for it."""
        ...
