"""The evidence sink of a host that has a store: a row for each execution that is no run's."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, select, tuple_

from interlock import plane
from interlock.adapters.sql.store import SqlStore
from interlock.adapters.sql.tables import evidence as table
from interlock.adapters.sql.transaction import connection, upsert
from interlock.kernel import Tx

_MOST: Final = 1000


class LedgerSink:
    """`plane.EvidenceSink` in the ledger's own store, and the reading of what it keeps. What a run sends needs it not: there
    the receipt is part of the run."""

    def __init__(self, store: SqlStore, *, name: str = "ledger") -> None:
        """The store stays its owner's, who closes it."""
        self._store = store
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def emit(self, record: plane.EvidenceRecord) -> None:
        def keep(tx: Tx) -> None:
            row = upsert(tx, table).values(
                tenant_id=record.tenant_id,
                finished_at=record.receipt.finished_at,
                digest=record.digest,
                record_json=record.canonical,
            )
            connection(tx).execute(row.on_conflict_do_nothing())

        await self._store.write(keep)

    async def flush(self) -> None:
        # A deletion of nothing takes a writer's place, and so finds out whether there is one.
        await self._store.write(lambda tx: connection(tx).execute(delete(table).where(table.c.tenant_id == "")).close())

    async def aclose(self) -> None:
        """The store is its owner's."""

    def list_records(
        self, tx: Tx, tenant_id: str, *, cursor: str | None = None, limit: int = 50
    ) -> Sequence[plane.EvidenceRecord]:
        """A tenant's records, newest first, at most 1000 at once; go on with `cursor` = the digest of the last one."""
        order = (table.c.finished_at.desc(), table.c.digest.desc())
        mine = table.c.tenant_id == tenant_id
        query = select(table.c.record_json).where(mine).order_by(*order).limit(min(limit, _MOST))
        if cursor is not None:
            last = select(table.c.finished_at, table.c.digest).where(mine, table.c.digest == cursor)
            query = query.where(tuple_(table.c.finished_at, table.c.digest) < last.scalar_subquery())
        return [plane.EvidenceRecord.model_validate_json(text) for text in connection(tx).execute(query).scalars()]
