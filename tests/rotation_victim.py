"""A store with many sealed secrets, and processes that replace its keys until they are killed. Imported by the tests and by the
fork server that makes the processes."""

import itertools
import resource
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

import anyio
from sqlalchemy import insert, select

from fix_connections import CONNECTION, CREDENTIAL
from interlock import connections
from interlock.adapters import keys, sql
from interlock.adapters.sql import tables
from interlock.kernel import SystemClock, Tx, Uuid7Ids, canonical

ROOT = keys.RootKey(bytes(range(32)), source="test")
OTHER = keys.RootKey(bytes(range(1, 33)), source="test")
TENANT = "t1"
_CHUNK = 2000


def keyring(store: sql.SqlStore, records: sql.KeyRecords | None = None) -> keys.Keyring:
    clock = SystemClock()
    records = records or sql.KeyRecords()
    return keys.Keyring(OTHER, records, store, clock=clock, ids=Uuid7Ids(clock), former=[ROOT])


def rotating(store: sql.SqlStore, batch: int = keys.BATCH, records: sql.KeyRecords | None = None) -> keys.Rotating:
    clock, records = SystemClock(), records or sql.KeyRecords()
    return keys.Rotating(
        keyring(store, records), records, sql.HOLDINGS, store, clock=clock, ids=Uuid7Ids(clock), batch=batch
    )


def token_of(name: str) -> str:
    return f"token-of-{name}-0123456789"


_OWN: Final = (
    (tables.connections, ("connection_id", "name", "current_credential_id")),
    (tables.credentials, ("credential_id", "connection_id", "key_id", "nonce", "ciphertext")),
)
"""What no two rows share."""


async def fill(store: sql.SqlStore, count: int) -> None:
    """That many connections of one tenant, many in a transaction."""
    clock = SystemClock()
    ids = Uuid7Ids(clock)
    ring = keys.Keyring(ROOT, sql.KeyRecords(), store, clock=clock, ids=ids)
    names = (f"n{number}" for number in range(count))
    while chunk := list(itertools.islice(names, _CHUNK)):
        await store.write(partial(_save, [await _made(ring, name, ids) for name in chunk]))


def _save(made: Sequence[tuple[connections.Connection, connections.Credential]], tx: Tx) -> None:
    """All like the first and at once: one by one it would take longer than everything else."""
    first, *others = made
    records = sql.ConnectionRecords()
    assert records.save(tx, first[0], before=None)
    records.add_credential(tx, first[1])
    for place, (table, own) in enumerate(_OWN):
        (key,) = table.primary_key
        kept = sql.connection(tx).execute(select(table).where(key == getattr(first[place], key.name))).mappings().one()
        values = [{**kept, **{name: getattr(each[place], name) for name in own}} for each in others]
        if values:
            sql.connection(tx).execute(insert(table), values)


async def _made(ring: keys.Keyring, name: str, ids: Uuid7Ids) -> tuple[connections.Connection, connections.Credential]:
    connection_id, credential_id = ids.new("con"), ids.new("crd")
    credential = replace(CREDENTIAL, credential_id=credential_id, connection_id=connection_id, tenant_id=TENANT)
    sealed = await ring.seal(
        TENANT, canonical({"token": token_of(name)}), aad=connections.credential_binding(credential)
    )
    return (
        replace(
            CONNECTION,
            connection_id=connection_id,
            tenant_id=TENANT,
            name=name,
            current_credential_id=credential_id,
        ),
        replace(credential, key_id=sealed.key_id, nonce=sealed.nonce, ciphertext=sealed.ciphertext),
    )


def rotate(url: str, batch: int, answers: Connection) -> None:
    """Replace the tenant's data key. Each step is told, and in the end how many bytes were in memory, before and at most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def main() -> None:
        store = sql.open_store(url)
        under_way = rotating(store, batch)
        (begun,) = await under_way.begin(TENANT)
        answers.send(("begun", begun.rotation_id, begun.resealed))
        async for step in under_way.follow(begun):
            answers.send(("step", step.rotation_id, step.resealed))
        store.close()

    anyio.run(main)
    answers.send(("done", 1024 * before, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


class _Telling(sql.KeyRecords):
    """Tells of each key that is wrapped anew, and of each rotation that begins."""

    def __init__(self, answers: Connection) -> None:
        self._answers = answers

    def rewrap(self, tx: Tx, key_id: str, *, root_id: str, wrapped: Any) -> None:
        super().rewrap(tx, key_id, root_id=root_id, wrapped=wrapped)
        self._answers.send(("wrapped", key_id))

    def add_rotation(self, tx: Tx, **named: Any) -> None:
        super().add_rotation(tx, **named)
        self._answers.send(("begun", named["tenant_id"]))


def rewrap(url: str, answers: Connection) -> None:
    """Have the store go over to the other root key."""

    async def main() -> None:
        store = sql.open_store(url)
        await keyring(store, _Telling(answers)).rewrap()
        store.close()
        answers.send(("done",))

    anyio.run(main)


def begin(url: str, tenants: Sequence[str], answers: Connection) -> None:
    """Begin to replace the data keys of these tenants."""

    async def main() -> None:
        store = sql.open_store(url)
        await rotating(store, records=_Telling(answers)).begin(*tenants)
        store.close()
        answers.send(("done",))

    anyio.run(main)
