"""The keys of an installation, for whoever operates it: over all its tenants, and beside what works with it."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.app import roots
from interlock.app.settings import Settings
from interlock.kernel import PLATFORM_TENANT, Clock, ConfigurationError, IdSource, SystemClock, Tx, Uuid7Ids

if TYPE_CHECKING:
    from interlock.adapters import keys, sql


class KeyState(StrEnum):
    """`active`: taken for what is new. `retiring`: something is sealed under it still. `retired`: nothing is; or a signing key
    that signs no more, whose signatures verify."""

    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of the store, and how many secrets are sealed under it."""

    key_id: str
    tenant_id: str
    purpose: str
    state: KeyState
    sealed: int
    root_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The change of a tenant's data key, and how far it has come; `unopened` secrets do not open and stay as they are."""

    rotation_id: str
    tenant_id: str
    to_key_id: str
    total: int
    resealed: int
    unopened: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A root key that was found, and where."""

    root_id: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """How keys stand. `needed` is the root key that the store is wrapped under, None for a store without keys; `root` the one
    that was found, `problem` why there is none, `former` what INTERLOCK_KEY_PREVIOUS names."""

    needed: str | None
    root: Root | None
    former: Sequence[Root]
    problem: ConfigurationError | None
    keys: Sequence[Key]
    rotations: Sequence[Rotation]

    @property
    def refusal(self) -> ConfigurationError | None:
        """Why the store's keys cannot be used; None if they can be."""
        from interlock.adapters import keys

        here = {each.root_id: each for each in (*self.former, *([] if self.root is None else [self.root]))}
        if self.problem is not None or self.needed is None or self.needed in here:
            return self.problem
        return keys.wrong_key(self.needed, list(here.values()))


class Keychain:
    """The keys of one store. What only looks needs no root key. Its methods raise StoreError, and those that change something
    WrongKey and as `roots.load_root`."""

    def __init__(self, settings: Settings, store: "sql.SqlStore", clock: Clock, ids: IdSource) -> None:
        from interlock.adapters import sql

        self._settings = settings
        self._store = store
        self._clock = clock
        self._ids = ids
        self._records = sql.KeyRecords()

    async def list(self, *, tenant: str | None = None) -> Sequence[Key]:
        """All keys, or a tenant's, newest first."""
        return await self._store.read(lambda tx: self._keys(tx, tenant))

    async def status(self, *, tenant: str | None = None) -> KeyStatus:
        """How keys stand; a root key that is missing is part of the answer."""
        root, former, problem = self._roots()

        def look(tx: Tx) -> KeyStatus:
            return KeyStatus(
                needed=self._records.find_root(tx),
                root=root,
                former=former,
                problem=problem,
                keys=self._keys(tx, tenant),
                rotations=[
                    _rotation(each) for each in self._records.list_rotations(tx) if tenant in {None, each.tenant_id}
                ],
            )

        return await self._store.read(look)

    async def rotate(self, *, tenant: str | None = None) -> AsyncGenerator[Rotation]:
        """A new data key for each tenant that has one, or for that one, and everything sealed anew under it; after each batch,
        how far it has come. If rotations were interrupted, it goes on with those, and begins none."""
        from interlock.adapters import keys, sql

        self._writable()
        rotating = keys.Rotating(
            self._ring(), self._records, sql.HOLDINGS, self._store, clock=self._clock, ids=self._ids
        )
        for rotation in await rotating.begin(*await self._tenants(tenant)):
            async for step in rotating.follow(rotation):
                yield _rotation(step)

    async def rotate_signing(self) -> str:
        """A new signing key, whose id is returned. What older ones signed verifies as before."""
        self._writable()
        return await self._ring().renew_signing()

    async def rotate_root(self) -> int:
        """Wrap all keys under the root key that is set, in one transaction. How many were wrapped under another."""
        self._writable()
        return await self._ring().rewrap()

    def _writable(self) -> None:
        if self._store.refusal is not None:
            raise self._store.refusal

    def _ring(self) -> "keys.Keyring":
        from interlock.adapters import keys

        root, former = roots.load_root(self._settings, create=False), roots.load_former(self._settings)
        return keys.Keyring(root, self._records, self._store, clock=self._clock, ids=self._ids, former=former)

    def _roots(self) -> tuple[Root | None, Sequence[Root], ConfigurationError | None]:
        former: Sequence[Root] = []
        try:
            former = [_root(each) for each in roots.load_former(self._settings)]
            return _root(roots.load_root(self._settings, create=False)), former, None
        except ConfigurationError as error:
            return None, former, error

    async def _tenants(self, tenant: str | None) -> Sequence[str]:
        """Those whose rotation was interrupted; else all that have a data key."""

        def look(tx: Tx) -> set[str]:
            interrupted = {each.tenant_id for each in self._records.list_rotations(tx)}
            return interrupted or {key.tenant_id for key in self._records.list_all(tx)} - {PLATFORM_TENANT}

        return sorted(each for each in await self._store.read(look) if tenant in {None, each})

    def _keys(self, tx: Tx, tenant: str | None) -> Sequence[Key]:
        found = [key for key in self._records.list_all(tx) if tenant in {None, key.tenant_id}]
        sealed = _sealed(tx, tenant)
        return [_key(each, sealed[each.key_id]) for each in found]


@asynccontextmanager
async def open_keychain(
    settings: Settings, *, clock: Clock | None = None, ids: IdSource | None = None
) -> AsyncGenerator[Keychain]:
    """The keys of the store that the settings name. Raises StoreError and InvalidStoreUrl."""
    from interlock.adapters import sql

    clock = clock or SystemClock()
    store = sql.open_store(settings.store_url)
    try:
        yield Keychain(settings, store, clock, ids or Uuid7Ids(clock))
    finally:
        store.close()


def make_root_key(path: Path | None) -> tuple[Root, bool]:
    """A new root key in that file, else the one of this machine. The second says whether it was made: the machine's stands if it
    is there. Raises KeyPresent, KeyMissing, KeyInvalid, KeyExposed."""
    from interlock.adapters import keys

    place = path or keys.generated_path()
    try:
        return _root(keys.make_key(place)), True
    except keys.KeyPresent:
        if path is not None:
            raise
        return _root(keys.load_root(environ={})), False


def _sealed(tx: Tx, tenant: str | None) -> Counter[str]:
    """How many secrets are sealed under each key, of all tenants or of that one."""
    from interlock.adapters import sql

    sealed = Counter[str]()
    for holding in sql.HOLDINGS:
        for (_, key_id), rows in holding.count(tx, tenant).items():
            sealed[key_id] += rows
    return sealed


def _key(stored: "keys.StoredKey", sealed: int) -> Key:
    older = KeyState.RETIRING if sealed else KeyState.RETIRED
    return Key(
        key_id=stored.key_id,
        tenant_id=stored.tenant_id,
        purpose=stored.purpose,
        state=KeyState.ACTIVE if stored.active else older,
        sealed=sealed,
        root_id=stored.root_id,
        created_at=stored.created_at,
    )


def _rotation(stored: "keys.StoredRotation") -> Rotation:
    return Rotation(
        rotation_id=stored.rotation_id,
        tenant_id=stored.tenant_id,
        to_key_id=stored.to_key_id,
        total=stored.total,
        resealed=stored.resealed,
        unopened=stored.unopened,
        started_at=stored.started_at,
        finished_at=stored.finished_at,
    )


def _root(root: "keys.RootCipher") -> Root:
    return Root(root_id=root.root_id, source=root.source)
