"""Wrapped keys in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import insert, select, update

from interlock.adapters.sql.tables import UNFINISHED, key_rotations
from interlock.adapters.sql.tables import keys as table
from interlock.adapters.sql.transaction import connection, lock
from interlock.kernel import Tx

_ACTIVE: Final = "active"
_RETIRED: Final = "retired"


class _Wrapped(Protocol):
    @property
    def nonce(self) -> bytes: ...
    @property
    def ciphertext(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key as it is stored: wrapped, so that the row alone opens nothing."""

    key_id: str
    tenant_id: str
    purpose: str
    state: str
    root_id: str
    nonce: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)
    public: bytes | None
    created_at: datetime

    @property
    def active(self) -> bool:
        """Whether it is used for what is new."""
        return self.state == _ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRow:
    """A rotation as it is stored."""

    rotation_id: str
    tenant_id: str
    to_key_id: str
    holding: str
    cursor: str
    total: int
    resealed: int
    unopened: int
    step: int
    started_at: datetime
    finished_at: datetime | None


class KeyRecords:
    """Where the keyring keeps its keys."""

    def find(self, tx: Tx, key_id: str) -> KeyRow | None:
        row = connection(tx).execute(select(table).where(table.c.key_id == key_id)).mappings().one_or_none()
        return None if row is None else _key(row)

    def list_keys(self, tx: Tx, tenant_id: str, purpose: str) -> Sequence[KeyRow]:
        query = (
            select(table)
            .where(table.c.tenant_id == tenant_id, table.c.purpose == str(purpose))
            .order_by(table.c.created_at.desc(), table.c.key_id.desc())
        )
        return [_key(row) for row in connection(tx).execute(query).mappings()]

    def find_root(self, tx: Tx) -> str | None:
        return connection(tx).execute(select(table.c.root_id).limit(1)).scalar_one_or_none()

    def list_all(self, tx: Tx) -> Sequence[KeyRow]:
        query = select(table).order_by(table.c.created_at.desc(), table.c.key_id.desc())
        return [_key(row) for row in connection(tx).execute(query).mappings()]

    def rewrap(self, tx: Tx, key_id: str, *, root_id: str, wrapped: _Wrapped) -> None:
        statement = update(table).where(table.c.key_id == key_id)
        connection(tx).execute(statement.values(root_id=root_id, nonce=wrapped.nonce, wrapped=wrapped.ciphertext))

    def lock(self, tx: Tx) -> None:
        lock(tx, "keys")

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
        connection(tx).execute(
            update(table)
            .where(table.c.tenant_id == tenant_id, table.c.purpose == str(purpose), table.c.state == _ACTIVE)
            .values(state=_RETIRED)
        )
        connection(tx).execute(
            insert(table).values(
                key_id=key_id,
                tenant_id=tenant_id,
                purpose=str(purpose),
                state=_ACTIVE,
                root_id=root_id,
                nonce=nonce,
                wrapped=wrapped,
                public=public,
                created_at=created_at,
            )
        )

    def find_rotation(self, tx: Tx, tenant_id: str) -> RotationRow | None:
        query = select(key_rotations).where(key_rotations.c.tenant_id == tenant_id, UNFINISHED)
        row = connection(tx).execute(query).mappings().one_or_none()
        return None if row is None else _rotation(row)

    def fetch_rotation(self, tx: Tx, rotation_id: str) -> RotationRow:
        query = select(key_rotations).where(key_rotations.c.rotation_id == rotation_id)
        return _rotation(connection(tx).execute(query).mappings().one())

    def list_rotations(self, tx: Tx) -> Sequence[RotationRow]:
        query = select(key_rotations).where(UNFINISHED).order_by(key_rotations.c.rotation_id)
        return [_rotation(row) for row in connection(tx).execute(query).mappings()]

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
        connection(tx).execute(
            insert(key_rotations).values(
                rotation_id=rotation_id,
                tenant_id=tenant_id,
                to_key_id=to_key_id,
                holding=holding,
                cursor="",
                total=total,
                resealed=0,
                unopened=0,
                step=0,
                started_at=started_at,
            )
        )

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
        statement = (
            update(key_rotations)
            .where(key_rotations.c.rotation_id == rotation_id)
            .values(
                step=step,
                holding=holding,
                cursor=cursor,
                resealed=resealed,
                unopened=unopened,
                finished_at=finished_at,
            )
        )
        connection(tx).execute(statement)


def _key(row: Mapping[Any, Any]) -> KeyRow:
    return KeyRow(**row)


def _rotation(row: Mapping[Any, Any]) -> RotationRow:
    return RotationRow(**row)
