"""The stored form of a key, as this room sees it, and where it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from interlock import connections
from interlock.kernel import JSON, Tx, canonical


class Purpose(StrEnum):
    """What a key is for. One key never serves two purposes."""

    DATA = "data"
    SIGNING = "signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """A key that only its root cipher opens."""

    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


class RootCipher(Protocol):
    """The top key: what every other key of a store is wrapped under. It may lie with another service."""

    @property
    def root_id(self) -> str:
        """Which key it is, in at most 200 characters that give nothing away: it stands beside each key that it wraps."""
        ...

    @property
    def source(self) -> str:
        """Where it was found, for people."""
        ...

    async def wrap(self, raw: bytes, *, aad: bytes) -> Wrapped:
        """Encrypt; `aad` must be given again to open."""
        ...

    async def unwrap(self, wrapped: Wrapped, *, aad: bytes) -> bytes | None:
        """Decrypt. None: ciphertext or `aad` are not those that this key wrapped."""
        ...


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
    @property
    def created_at(self) -> datetime: ...


class StoredRotation(Protocol):
    """A change of a tenant's data key, and how far it has come.

    It walks through the holdings, in order: those before `holding` are done, and of that one the rows up to `cursor`. `total`
    were to be sealed anew when it began, `unopened` did not open and were left as they are. `step` grows with each batch.
    """

    @property
    def rotation_id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def to_key_id(self) -> str: ...
    @property
    def holding(self) -> str: ...
    @property
    def cursor(self) -> str: ...
    @property
    def total(self) -> int: ...
    @property
    def resealed(self) -> int: ...
    @property
    def unopened(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def finished_at(self) -> datetime | None: ...


class Holding(Protocol):
    """A table of sealed secrets. Every method runs in the caller's transaction.

    Every table that names a key has one: what none of them knows stays under its old key.
    """

    @property
    def name(self) -> str:
        """What it is called in a rotation's record."""
        ...

    def list_sealed(
        self, tx: Tx, tenant_id: str, *, but: str, after: str, limit: int
    ) -> Sequence[connections.SealedRow]:
        """A tenant's rows that are not sealed under the key `but`, by row id, from the first after `after`."""
        ...

    def replace(self, tx: Tx, rows: Sequence[tuple[connections.SealedRow, connections.Sealed]]) -> int:
        """Give each row its new seal, unless it holds something else by now. How many it was done to."""
        ...

    def count(self, tx: Tx, tenant_id: str | None) -> Mapping[tuple[str, str], int]:
        """How many rows of each tenant, or of that one, are sealed under each key, by tenant and key; what seals none is left
        out."""
        ...


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

    def list_all(self, tx: Tx) -> Sequence[StoredKey]:
        """Every key of every tenant, newest first."""
        ...

    def rewrap(self, tx: Tx, key_id: str, *, root_id: str, wrapped: Wrapped) -> None:
        """Give a key another wrapping."""
        ...

    def lock(self, tx: Tx) -> None:
        """Wait until no other transaction makes, retires or wraps keys, and keep others out until this one ends."""
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

    def find_rotation(self, tx: Tx, tenant_id: str) -> StoredRotation | None:
        """The tenant's rotation that is under way: there is one at most."""
        ...

    def list_rotations(self, tx: Tx) -> Sequence[StoredRotation]:
        """Every tenant's rotation that is under way, oldest first."""
        ...

    def fetch_rotation(self, tx: Tx, rotation_id: str) -> StoredRotation:
        """A rotation that is there."""
        ...

    def add_rotation(
        self,
        tx: Tx,
        *,
        rotation_id: str,
        tenant_id: str,
        to_key_id: str,
        holding: str,
        total: int,
        started_at: datetime,
    ) -> None:
        """Insert a rotation that has done nothing yet."""
        ...

    def advance(
        self,
        tx: Tx,
        rotation_id: str,
        *,
        step: int,
        holding: str,
        cursor: str,
        resealed: int,
        unopened: int,
        finished_at: datetime | None,
    ) -> None:
        """Say how far it has come after `step` steps."""
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


def binding_of(stored: StoredKey) -> bytes:
    """The associated data of a stored key."""
    return binding(key_id=stored.key_id, tenant_id=stored.tenant_id, purpose=stored.purpose, public=stored.public)
