"""Imported providers in SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, delete, exists, func, select, union

from interlock import catalog, sdk
from interlock.adapters.sql.connection_tables import SEALED
from interlock.adapters.sql.installs import under_way
from interlock.adapters.sql.rows import pack, unpack
from interlock.adapters.sql.tables import connections as accounts
from interlock.adapters.sql.tables import credentials, installs
from interlock.adapters.sql.tables import providers as table
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import lock_providers, upsert, use_providers
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

    def digests(self, tx: Tx, tenant_id: str) -> Mapping[str, str]:
        query = select(table.c.provider_id, table.c.digest).where(table.c.tenant_id == tenant_id)
        return {record.provider_id: record.digest for record in session(tx).execute(query)}

    def hold(self, tx: Tx, tenant_id: str, provider_id: str) -> catalog.KeptProvider | None:
        use_providers(tx, tenant_id)
        return self.find(tx, tenant_id, provider_id)

    def remove(self, tx: Tx, tenant_id: str, provider_id: str) -> None:
        session(tx).execute(delete(table).where(table.c.tenant_id == tenant_id, table.c.provider_id == provider_id))

    def list_uses(
        self, tx: Tx, tenant_id: str, provider_ids: Collection[str], *, now: datetime
    ) -> Sequence[catalog.ProviderUse]:
        lock_providers(tx, tenant_id)
        connector_ids = [f"{sdk.PROVIDER_PREFIX}{each}" for each in provider_ids]
        connected = select(accounts.c.connector_id, accounts.c.profile_id, accounts.c.name).where(
            accounts.c.tenant_id == tenant_id,
            accounts.c.connector_id.in_(connector_ids),
            exists().where(credentials.c.connection_id == accounts.c.connection_id, SEALED),
        )
        begun = select(installs.c.connector_id, installs.c.profile_id, installs.c.connection_name).where(
            installs.c.tenant_id == tenant_id,
            installs.c.connector_id.in_(connector_ids),
            under_way(now),
        )
        # A connection that is connected anew counts once.
        uses = union(connected, begun).subquery()
        place = (uses.c.connector_id, uses.c.profile_id)
        query = select(*place, func.count(), func.min(uses.c.name)).group_by(*place).order_by(*place)
        return [
            catalog.ProviderUse(
                provider_id=connector_id.removeprefix(sdk.PROVIDER_PREFIX),
                profile_id=profile_id,
                connections=count,
                one=name,
            )
            for connector_id, profile_id, count, name in session(tx).execute(query)
        ]


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
