"""The keys of a store: made when first needed, wrapped under the root key, kept unwrapped in memory only."""

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock import connections
from interlock.adapters.keys.errors import KeyDamaged, KeyNotFound, WrongKey
from interlock.adapters.keys.model import Purpose, Records, StoredKey, binding
from interlock.adapters.keys.root import RootKey
from interlock.adapters.keys.signer import Signer
from interlock.kernel import PLATFORM_TENANT, Clock, IdSource, Store, Tx

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_OPENED: Final = 4096


@dataclass(frozen=True, slots=True)
class _DataKey:
    """A tenant's key, ready for use; the library's object shows nothing of it."""

    tenant_id: str
    cipher: AESGCM


class Keyring:
    """Envelope encryption per tenant (AES-256-GCM), and the store's signing keys (Ed25519).

    It is a `connections.Cipher`. Its methods raise WrongKey, KeyNotFound, KeyDamaged and StoreError.
    """

    def __init__(
        self,
        root: RootKey,
        records: Records,
        store: Store,
        *,
        clock: Clock,
        ids: IdSource,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._root = root
        self._wrapper = AESGCM(root.reveal())
        self._records = records
        self._store = store
        self._clock = clock
        self._ids = ids
        self._random_bytes = random_bytes
        self._opened: dict[str, _DataKey] = {}

    @property
    def random_bytes(self) -> Callable[[int], bytes]:
        """Chance that nobody can foresee, for tokens."""
        return self._random_bytes

    async def check(self) -> None:
        """Raises WrongKey if the store's keys are wrapped under another root key."""
        await self._store.read(self._check_root)

    async def seal(self, tenant_id: str, plaintext: bytes, *, aad: bytes) -> connections.Sealed:
        """Encrypt under the tenant's active key, which is made if there is none."""
        key_id, key = await self._active(tenant_id)
        return self._encrypt(key_id, key, plaintext, aad)

    async def open(self, tenant_id: str, sealed: connections.Sealed, *, aad: bytes) -> bytes:
        """Decrypt under the key that sealed, active or retired. Raises connections.CredentialDamaged."""
        key = self._opened.get(sealed.key_id) or await self._load(sealed.key_id)
        if key.tenant_id == tenant_id:
            try:
                return key.cipher.decrypt(sealed.nonce, sealed.ciphertext, aad)
            except (InvalidTag, ValueError):  # ValueError: the nonce has no length that a nonce may have
                pass
        raise connections.CredentialDamaged(
            f"a secret sealed under {sealed.key_id} does not open: it was altered or moved"
        )

    async def signer(self) -> Signer:
        """The active signing key, which is made if there is none."""
        stored = await self._ensure(PLATFORM_TENANT, Purpose.SIGNING)
        return Signer(stored.key_id, Ed25519PrivateKey.from_private_bytes(self._unwrap(stored)))

    async def public_keys(self) -> dict[str, str]:
        """The public halves of all signing keys that were ever active, by key id, as base64 of the 32 raw bytes."""
        stored = await self._list(PLATFORM_TENANT, Purpose.SIGNING)
        # From the private halves: a row's own word for its public one might have been altered.
        return {key.key_id: base64.b64encode(_public_half(self._unwrap(key))).decode() for key in stored}

    async def renew_signing(self) -> str:
        """Retire the active signing key and make a new one, whose id is returned. What the old one signed still verifies."""
        write = self.draft(PLATFORM_TENANT, Purpose.SIGNING)

        def renew(tx: Tx) -> StoredKey:
            self._records.lock(tx, PLATFORM_TENANT, Purpose.SIGNING)
            return write(tx)

        return (await self._store.write(renew)).key_id

    async def reseal(self, row: connections.SealedRow, *, under: str) -> connections.Sealed:
        """What the row holds, sealed under that key of its tenant. Raises as `open`."""
        plaintext = await self.open(row.tenant_id, row.sealed, aad=row.aad)
        key = self._opened.get(under) or await self._load(under)
        if key.tenant_id != row.tenant_id:
            raise KeyDamaged(f"the key {under} is not one of the tenant whose secret it was to seal")
        return self._encrypt(under, key, plaintext, row.aad)

    async def require(self, key_id: str) -> None:
        """Raises KeyNotFound, KeyDamaged and WrongKey unless that data key can be used."""
        if key_id not in self._opened:
            await self._load(key_id)

    def draft(self, tenant_id: str, purpose: Purpose) -> Callable[[Tx], StoredKey]:
        """A new key, as the function that writes it as the active one, under the lock of its tenant and purpose. The function
        raises WrongKey."""
        raw, nonce, key_id = self._random_bytes(_KEY_BYTES), self._random_bytes(_NONCE_BYTES), self._ids.new("key")
        public = _public_half(raw) if purpose is Purpose.SIGNING else None
        aad = binding(key_id=key_id, tenant_id=tenant_id, purpose=purpose, public=public)
        wrapped = self._wrapper.encrypt(nonce, raw, aad)
        created_at = self._clock.now()

        def write(tx: Tx) -> StoredKey:
            self._check_root(tx)
            self._records.add(
                tx,
                key_id=key_id,
                tenant_id=tenant_id,
                purpose=purpose,
                root_id=self._root.root_id,
                nonce=nonce,
                wrapped=wrapped,
                public=public,
                created_at=created_at,
            )
            stored = self._records.find(tx, key_id)
            assert stored is not None
            return stored

        return write

    def _encrypt(self, key_id: str, key: _DataKey, plaintext: bytes, aad: bytes) -> connections.Sealed:
        nonce = self._random_bytes(_NONCE_BYTES)
        return connections.Sealed(key_id=key_id, nonce=nonce, ciphertext=key.cipher.encrypt(nonce, plaintext, aad))

    async def _active(self, tenant_id: str) -> tuple[str, _DataKey]:
        # Read each time: another process may have rotated, and sealing is rare.
        stored = await self._ensure(tenant_id, Purpose.DATA)
        return stored.key_id, self._opened.get(stored.key_id) or self._keep(stored)

    async def _load(self, key_id: str) -> _DataKey:
        stored = await self._store.read(lambda tx: self._records.find(tx, key_id))
        if stored is None or stored.purpose != Purpose.DATA:
            raise KeyNotFound(f"the store has no data key {key_id[:60]!r}")
        return self._keep(stored)

    def _keep(self, stored: StoredKey) -> _DataKey:
        key = _DataKey(stored.tenant_id, AESGCM(self._unwrap(stored)))
        if len(self._opened) >= _MAX_OPENED:
            del self._opened[next(iter(self._opened))]
        self._opened[stored.key_id] = key
        return key

    async def _ensure(self, tenant_id: str, purpose: Purpose) -> StoredKey:
        found = next((key for key in await self._list(tenant_id, purpose) if key.active), None)
        return found or await self._make(tenant_id, purpose)

    async def _list(self, tenant_id: str, purpose: Purpose) -> Sequence[StoredKey]:
        return await self._store.read(lambda tx: self._records.list_keys(tx, tenant_id, purpose))

    async def _make(self, tenant_id: str, purpose: Purpose) -> StoredKey:
        write = self.draft(tenant_id, purpose)

        def make(tx: Tx) -> StoredKey:
            self._records.lock(tx, tenant_id, purpose)
            active = (key for key in self._records.list_keys(tx, tenant_id, purpose) if key.active)
            return next(active, None) or write(tx)  # another process may have been quicker

        return await self._store.write(make)

    def _check_root(self, tx: Tx) -> None:
        found = self._records.find_root(tx)
        if found is not None:
            self._require_root(found)

    def _require_root(self, root_id: str) -> None:
        if root_id != self._root.root_id:
            raise WrongKey(
                f"this store was sealed under the root key {root_id}, "
                f"and the one from {self._root.source} is {self._root.root_id}"
            )

    def _unwrap(self, stored: StoredKey) -> bytes:
        self._require_root(stored.root_id)
        aad = binding(key_id=stored.key_id, tenant_id=stored.tenant_id, purpose=stored.purpose, public=stored.public)
        try:
            return self._wrapper.decrypt(stored.nonce, stored.wrapped, aad)
        except (InvalidTag, ValueError):
            raise KeyDamaged(f"the key {stored.key_id} does not open: its row was altered or moved") from None


def _public_half(raw: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
