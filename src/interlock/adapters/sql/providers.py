"""Imported providers in SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, Select, select

from interlock import catalog, sdk
from interlock.adapters.sql.rows import pack, unpack
from interlock.adapters.sql.tables import providers as table
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import upsert
from interlock.kernel import Tx


class ProviderRecords:
    """Implements `catalog.ProviderRecords`."""

    def save(self, tx: Tx, kept: Sequence[catalog.KeptProvider]) -> None:
        if not kept:
            return
        statement = upsert(tx, table)
        taken = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        place = [table.c.tenant_id, table.c.provider_id]
        session(tx).execute(
            statement.on_conflict_do_update(index_elements=place, set_=taken), [_row(each) for each in kept]
        )

    def find(self, tx: Tx, tenant_id: str, provider_id: str) -> catalog.KeptProvider | None:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.provider_id == provider_id)
        return next(iter(_all(tx, query)), None)

    def list_providers(
        self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int
    ) -> Sequence[catalog.KeptProvider]:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.provider_id > (cursor or ""))
        return _all(tx, query.order_by(table.c.provider_id).limit(limit))

    def list_names(self, tx: Tx, tenant_id: str) -> Sequence[str]:
        query = select(table.c.provider_id).where(table.c.tenant_id == tenant_id).order_by(table.c.provider_id)
        return session(tx).execute(query).scalars().all()


def _row(kept: catalog.KeptProvider) -> dict[str, Any]:
    return {column.name: getattr(kept, column.name, None) for column in table.columns} | {
        "provider_json": pack(kept.provider.to_json()),
        "digest": kept.provider.digest,
        "missing": pack(list(kept.missing)),
    }


def _all(tx: Tx, query: Select[Any]) -> list[catalog.KeptProvider]:
    return [_kept(record) for record in session(tx).execute(query).mappings()]


def _kept(record: RowMapping) -> catalog.KeptProvider:
    facts: dict[str, Any] = dict(record)
    del facts["digest"], facts["provider_id"]
    provider, missing = sdk.Provider.model_validate_json(facts.pop("provider_json")), unpack(facts.pop("missing"))
    return catalog.KeptProvider(provider=provider, missing=tuple(missing), **facts)
