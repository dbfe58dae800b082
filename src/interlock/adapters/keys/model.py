"""The stored form of a key, as this room sees it, and where it is kept."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from interlock.kernel import JSON, Tx, canonical


class Purpose(StrEnum):
    """What a key is for. One key never serves two purposes."""

    DATA = "data"
    SIGNING = "signing"


class StoredKey(Protocol):
    """A key, wrapped under the root key whose fingerprint is `root_id`. `public` is set on signing keys.

    One that is not active any more seals and signs nothing more; it still opens and verifies.
    """

    @property
    def key_id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def active(self) -> bool: ...
    @property
    def root_id(self) -> str: ...
    @property
    def nonce(self) -> bytes: ...
    @property
    def wrapped(self) -> bytes: ...
    @property
    def public(self) -> bytes | None: ...


class Records(Protocol):
    """Where wrapped keys are kept. Every method runs in the caller's transaction."""

    def find(self, tx: Tx, key_id: str) -> StoredKey | None:
        """The key."""
        ...

    def list_keys(self, tx: Tx, tenant_id: str, purpose: str) -> Sequence[StoredKey]:
        """A tenant's keys for a purpose, active and retired, newest first."""
        ...

    def find_root(self, tx: Tx) -> str | None:
        """The fingerprint of the root key under which the store's keys are wrapped, if there are any."""
        ...

    def lock(self, tx: Tx, tenant_id: str, purpose: str) -> None:
        """Wait until no other transaction makes or retires such keys, and keep others out until this one ends."""
        ...

    def add(
        self,
        tx: Tx,
        *,
        key_id: str,
        tenant_id: str,
        purpose: str,
        root_id: str,
        nonce: bytes,
        wrapped: bytes,
        public: bytes | None,
        created_at: datetime,
    ) -> None:
        """Insert an active key, and retire the one that was active."""
        ...


def binding(*, key_id: str, tenant_id: str, purpose: str, public: bytes | None) -> bytes:
    """The associated data that ties a wrapped key to its row. State is not in it: a key retires without rewrapping."""
    facts: dict[str, JSON] = {
        "contract": "interlock.key/v1",
        "key_id": key_id,
        "tenant_id": tenant_id,
        "purpose": purpose,
        "public": None if public is None else public.hex(),
    }
    return canonical(facts)
