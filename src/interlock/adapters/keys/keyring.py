"""The keys of a store: made when first needed, wrapped under the root key, kept unwrapped in memory only."""

import base64
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock import connections
from interlock.adapters.keys.errors import KeyDamaged, KeyNotFound, wrong_key
from interlock.adapters.keys.model import Purpose, Records, RootCipher, StoredKey, Wrapped, binding, binding_of
from interlock.adapters.keys.signer import Signer
from interlock.kernel import PLATFORM_TENANT, Clock, IdSource, InterlockError, Store, Tx

_log = logging.getLogger(__name__)

T = TypeVar("T")

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

    A store is wrapped under one root key: `root`, or until it goes over to that one (`rewrap`) one of `former`. It is a
    `connections.Cipher`. Its methods raise WrongKey, RootUnavailable, RootRefused, KeyNotFound, KeyDamaged and StoreError.
    """

    def __init__(
        self,
        root: RootCipher,
        records: Records,
        store: Store,
        *,
        clock: Clock,
        ids: IdSource,
        former: Sequence[RootCipher] = (),
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._root = root
        self._known = {each.root_id: each for each in (*former, root)}
        self._records = records
        self._store = store
        self._clock = clock
        self._ids = ids
        self._random_bytes = random_bytes
        self._opened: dict[str, _DataKey] = {}
        self._public: dict[str, str] = {}
        self._signer: Signer | None = None

    @property
    def random_bytes(self) -> Callable[[int], bytes]:
        """Chance that nobody can foresee, for tokens."""
        return self._random_bytes

    async def check(self) -> None:
        """Raises WrongKey if the store's keys are wrapped under a root key that is not here."""
        await self._standing_root()

    async def seal(self, tenant_id: str, plaintext: bytes, *, aad: bytes) -> connections.Sealed:
        """Encrypt under the tenant's active key, which is made if there is none."""
        # Read each time: another process may have rotated, and sealing is rare.
        stored = await self._ensure(tenant_id, Purpose.DATA)
        return self._encrypt(stored.key_id, await self._ready(stored.key_id, stored), plaintext, aad)

    async def open(self, tenant_id: str, sealed: connections.Sealed, *, aad: bytes) -> bytes:
        """Decrypt under the key that sealed, active or retired. Raises connections.CredentialDamaged."""
        key = await self._ready(sealed.key_id)
        if key.tenant_id == tenant_id:
            try:
                return key.cipher.decrypt(sealed.nonce, sealed.ciphertext, aad)
            except (InvalidTag, ValueError):  # ValueError: the nonce has no length that a nonce may have
                pass
        raise connections.CredentialDamaged(
            f"a secret sealed under {sealed.key_id} does not open: it was altered or moved"
        )

    async def reseal(self, row: connections.SealedRow, *, under: str) -> connections.Sealed:
        """What the row holds, sealed under that key of its tenant. Raises as `open`."""
        plaintext = await self.open(row.tenant_id, row.sealed, aad=row.aad)
        key = await self._ready(under)
        if key.tenant_id != row.tenant_id:
            raise KeyDamaged(f"the key {under} is not one of the tenant whose secret it was to seal")
        return self._encrypt(under, key, plaintext, row.aad)

    async def require(self, key_id: str) -> None:
        """Raises unless that data key can be used."""
        await self._ready(key_id)

    @property
    def current(self) -> Signer:
        """The signing key that `take_signer` found last."""
        assert self._signer is not None
        return self._signer

    async def take_signer(self) -> Signer:
        """The active signing key, which is made if there is none; from now on the `current` one."""
        stored = await self._ensure(PLATFORM_TENANT, Purpose.SIGNING)
        if self._signer is None or self._signer.key_id != stored.key_id:
            private = Ed25519PrivateKey.from_private_bytes(await self._unwrap(stored))
            self._signer = Signer(stored.key_id, private)
        return self._signer

    async def keep_signer(self, *, every: float) -> None:
        """For ever, with a pause of that many seconds, take the signing key that another process may have made."""
        while True:
            await self._clock.sleep(every)
            try:
                await self.take_signer()
            except InterlockError as error:
                _log.warning("the signing key stays %s: %s", self.current.key_id, error)

    async def public_keys(self) -> dict[str, str]:
        """The public halves of all signing keys that were ever active, by key id, as base64 of the 32 raw bytes."""
        stored = await self._list(PLATFORM_TENANT, Purpose.SIGNING)
        for key in stored:
            if key.key_id not in self._public:
                # From the private half: a row's own word for its public one might have been altered.
                self._public[key.key_id] = base64.b64encode(_public_half(await self._unwrap(key))).decode()
        return {key.key_id: self._public[key.key_id] for key in stored}

    async def renew_signing(self) -> str:
        """Retire the active signing key and make a new one, whose id is returned. What the old one signed still verifies."""
        made = await self.add([PLATFORM_TENANT], Purpose.SIGNING, lambda _, new: new(PLATFORM_TENANT))
        return made.key_id

    async def rewrap(self) -> int:
        """Have the store go over to `root`: every key is wrapped under it, in one transaction. How many were under another."""
        while True:
            found = await self._store.read(self._records.list_all)
            old = [key for key in found if key.root_id != self._root.root_id]
            renewed = [(key, await self._root.wrap(await self._unwrap(key), aad=binding_of(key))) for key in old]
            if await self._store.write(partial(self._go_over, renewed)):
                return len(old)

    def _go_over(self, renewed: Sequence[tuple[StoredKey, Wrapped]], tx: Tx) -> bool:
        """False, and nothing written, if there are other keys under other root keys by now."""
        self._records.lock(tx)
        left = {key.key_id: key.root_id for key in self._records.list_all(tx) if key.root_id != self._root.root_id}
        if left != {key.key_id: key.root_id for key, _ in renewed}:
            return False
        for key, wrapped in renewed:
            self._records.rewrap(tx, key.key_id, root_id=self._root.root_id, wrapped=wrapped)
        return True

    async def add(
        self, tenant_ids: Sequence[str], purpose: Purpose, write: Callable[[Tx, Callable[[str], StoredKey]], T]
    ) -> T:
        """Run `write` in a transaction that nobody else makes keys beside, with a function that writes a new key of one of these
        tenants as its active one, and retires the one that was."""
        while True:
            root = await self._standing_root()
            inserts = {each: await self._draft(root, each, purpose) for each in tenant_ids}
            if (done := await self._store.write(partial(self._insert, root, inserts, write))) is not None:
                return done[0]

    def _insert(
        self,
        root: RootCipher,
        inserts: Mapping[str, Callable[[Tx], StoredKey]],
        write: Callable[[Tx, Callable[[str], StoredKey]], T],
        tx: Tx,
    ) -> tuple[T] | None:
        """None if the store has gone over to another root key meanwhile."""
        self._records.lock(tx)
        if self._records.find_root(tx) not in {None, root.root_id}:
            return None
        return (write(tx, lambda tenant_id: inserts[tenant_id](tx)),)

    async def _draft(self, root: RootCipher, tenant_id: str, purpose: Purpose) -> Callable[[Tx], StoredKey]:
        """A new key, wrapped, as the function that writes it: for the root key, another service may have to be asked."""
        raw, key_id = self._random_bytes(_KEY_BYTES), self._ids.new("key")
        public = _public_half(raw) if purpose is Purpose.SIGNING else None
        aad = binding(key_id=key_id, tenant_id=tenant_id, purpose=purpose, public=public)
        wrapped = await root.wrap(raw, aad=aad)
        created_at = self._clock.now()

        def insert(tx: Tx) -> StoredKey:
            self._records.add(
                tx,
                key_id=key_id,
                tenant_id=tenant_id,
                purpose=purpose,
                root_id=root.root_id,
                nonce=wrapped.nonce,
                wrapped=wrapped.ciphertext,
                public=public,
                created_at=created_at,
            )
            stored = self._records.find(tx, key_id)
            assert stored is not None
            return stored

        return insert

    def _encrypt(self, key_id: str, key: _DataKey, plaintext: bytes, aad: bytes) -> connections.Sealed:
        nonce = self._random_bytes(_NONCE_BYTES)
        return connections.Sealed(key_id=key_id, nonce=nonce, ciphertext=key.cipher.encrypt(nonce, plaintext, aad))

    async def _ready(self, key_id: str, stored: StoredKey | None = None) -> _DataKey:
        """A data key, from memory if it was used before."""
        if (known := self._opened.get(key_id)) is not None:
            return known
        stored = stored or await self._store.read(lambda tx: self._records.find(tx, key_id))
        if stored is None or stored.purpose != Purpose.DATA:
            raise KeyNotFound(f"the store has no data key {key_id[:60]!r}")
        key = _DataKey(stored.tenant_id, AESGCM(await self._unwrap(stored)))
        if len(self._opened) >= _MAX_OPENED:
            del self._opened[next(iter(self._opened))]
        self._opened[key_id] = key
        return key

    async def _ensure(self, tenant_id: str, purpose: Purpose) -> StoredKey:
        def active(keys: Sequence[StoredKey]) -> StoredKey | None:
            return next((key for key in keys if key.active), None)

        if (found := active(await self._list(tenant_id, purpose))) is not None:
            return found
        # Another process may be quicker.
        return await self.add(
            [tenant_id],
            purpose,
            lambda tx, new: active(self._records.list_keys(tx, tenant_id, purpose)) or new(tenant_id),
        )

    async def _list(self, tenant_id: str, purpose: Purpose) -> Sequence[StoredKey]:
        return await self._store.read(lambda tx: self._records.list_keys(tx, tenant_id, purpose))

    async def _standing_root(self) -> RootCipher:
        """The root key under which the store is wrapped."""
        found = await self._store.read(self._records.find_root)
        return self._root if found is None else self._find_root(found)

    def _find_root(self, root_id: str) -> RootCipher:
        if (root := self._known.get(root_id)) is not None:
            return root
        raise wrong_key(root_id, list(self._known.values()))

    async def _unwrap(self, stored: StoredKey) -> bytes:
        wrapped = Wrapped(nonce=stored.nonce, ciphertext=stored.wrapped)
        raw = await self._find_root(stored.root_id).unwrap(wrapped, aad=binding_of(stored))
        if raw is None:
            raise KeyDamaged(f"the key {stored.key_id} does not open: its row was altered or moved")
        return raw


def _public_half(raw: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
