"""A new data key for a tenant, and everything that older ones sealed sealed anew under it: in batches, while it is used.

Before each batch and after it every row opens, under one key or the other; a row changes its key and its ciphertext in one
statement. How far it has come is committed with the batch, so that any process goes on where one was killed. Two at once do
no harm: of each batch one of them is committed, and the other begins with the next.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from interlock import connections
from interlock.adapters.keys.errors import KeyDamaged, KeyNotFound
from interlock.adapters.keys.keyring import Keyring
from interlock.adapters.keys.model import Holding, Purpose, Records, StoredKey, StoredRotation
from interlock.kernel import Clock, IdSource, Store, Tx

BATCH: Final = 500
"""Rows in one transaction."""


class Rotating:
    """Rotates data keys. Its methods raise WrongKey and StoreError."""

    def __init__(
        self,
        ring: Keyring,
        records: Records,
        holdings: Sequence[Holding],
        store: Store,
        *,
        clock: Clock,
        ids: IdSource,
        batch: int = BATCH,
    ) -> None:
        self._ring = ring
        self._records = records
        self._holdings = holdings
        self._store = store
        self._clock = clock
        self._ids = ids
        self._batch = batch

    async def follow(self, rotation: StoredRotation) -> AsyncGenerator[StoredRotation]:
        """Carry a rotation on to its end; after each batch, how far it has come."""
        while rotation.finished_at is None:
            rotation = await self._step(rotation)
            yield rotation

    async def begin(self, *tenant_ids: str) -> Sequence[StoredRotation]:
        """These tenants' rotations that are under way, or else new ones, each with a new active key. They begin in one
        transaction: who is killed has begun all of them, or none."""
        now, named = self._clock.now(), {each: self._ids.new("krt") for each in tenant_ids}

        def begin(tx: Tx, new: Callable[[str], StoredKey]) -> Sequence[StoredRotation]:
            sealed = self._count(tx, tenant_ids[0] if len(tenant_ids) == 1 else None)
            return [
                self._records.find_rotation(tx, tenant_id)
                or self._new(tx, rotation_id, new(tenant_id), total=sealed[tenant_id].total(), started_at=now)
                for tenant_id, rotation_id in named.items()
            ]

        return await self._ring.add(tenant_ids, Purpose.DATA, begin)

    def _new(self, tx: Tx, rotation_id: str, to_key: StoredKey, *, total: int, started_at: datetime) -> StoredRotation:
        self._records.add_rotation(
            tx,
            rotation_id=rotation_id,
            tenant_id=to_key.tenant_id,
            to_key_id=to_key.key_id,
            holding=self._holdings[0].name,
            total=total,
            started_at=started_at,
        )
        return self._records.fetch_rotation(tx, rotation_id)

    async def _step(self, rotation: StoredRotation) -> StoredRotation:
        holding = next(each for each in self._holdings if each.name == rotation.holding)
        tenant_id, to_key_id, cursor = rotation.tenant_id, rotation.to_key_id, rotation.cursor
        await self._ring.require(to_key_id)
        rows = await self._store.read(
            lambda tx: holding.list_sealed(tx, tenant_id, but=to_key_id, after=cursor, limit=self._batch)
        )
        # Outside of any transaction: for a key, another service may have to be asked.
        renewed = [(row, sealed) for row in rows if (sealed := await self._reseal(row, to_key_id)) is not None]
        now = self._clock.now()

        def write(tx: Tx) -> StoredRotation:
            self._records.lock(tx)
            stored = self._records.fetch_rotation(tx, rotation.rotation_id)
            if stored.step != rotation.step:
                return stored  # another process has taken this step
            if rows:
                resealed = rotation.resealed + holding.replace(tx, renewed)
                unopened = rotation.unopened + len(rows) - len(renewed)
                self._advance(tx, rotation, (holding.name, rows[-1].row_id), resealed=resealed, unopened=unopened)
            else:
                self._turn(tx, rotation, now)
            return self._records.fetch_rotation(tx, rotation.rotation_id)

        return await self._store.write(write)

    async def _reseal(self, row: connections.SealedRow, to_key_id: str) -> connections.Sealed | None:
        """None for what does not open: it stays as it is, and the rest does not wait for it."""
        try:
            return await self._ring.reseal(row, under=to_key_id)
        except (connections.CredentialDamaged, KeyDamaged, KeyNotFound):
            return None

    def _turn(self, tx: Tx, rotation: StoredRotation, now: datetime) -> None:
        """One holding is done: go on with the next, or end. A process that had looked up its key before the rotation began may
        have sealed something since; then all holdings are walked through again."""
        names = [holding.name for holding in self._holdings]
        following = names[names.index(rotation.holding) + 1 :]
        if following:
            self._advance(tx, rotation, (following[0], ""))
        elif self._count_left(tx, rotation.tenant_id, rotation.to_key_id) > rotation.unopened:
            self._advance(tx, rotation, (names[0], ""), unopened=0)
        else:
            self._advance(tx, rotation, (rotation.holding, rotation.cursor), finished_at=now)

    def _advance(
        self,
        tx: Tx,
        rotation: StoredRotation,
        place: tuple[str, str],
        *,
        resealed: int | None = None,
        unopened: int | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        self._records.advance(
            tx,
            rotation.rotation_id,
            step=rotation.step + 1,
            holding=place[0],
            cursor=place[1],
            resealed=rotation.resealed if resealed is None else resealed,
            unopened=rotation.unopened if unopened is None else unopened,
            finished_at=finished_at,
        )

    def _count_left(self, tx: Tx, tenant_id: str, to_key_id: str) -> int:
        """How many secrets of the tenant are sealed under other keys."""
        sealed = self._count(tx, tenant_id)[tenant_id]
        return sealed.total() - sealed[to_key_id]

    def _count(self, tx: Tx, tenant_id: str | None) -> Mapping[str, Counter[str]]:
        """How many secrets of each tenant, or of that one, are sealed under each key."""
        sealed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for holding in self._holdings:
            for (whose, key_id), rows in holding.count(tx, tenant_id).items():
                sealed[whose][key_id] += rows
        return sealed
