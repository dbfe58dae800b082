"""The tables in which secrets lie sealed, as a rotation of keys walks through them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import RowMapping, Table, bindparam, func, select, update

from interlock import connections, triggers
from interlock import subscriptions as room
from interlock.adapters.sql.connections import credential_from
from interlock.adapters.sql.installs import client_from, install_from
from interlock.adapters.sql.tables import SEALED, credentials, installs, oauth_clients, routes, subscriptions
from interlock.adapters.sql.transaction import connection
from interlock.adapters.sql.webhooks import route_from
from interlock.kernel import Tx


class SealedTable:
    """The rows of a table that hold a secret now. `binding` gives the associated data that ties the secret to its row."""

    def __init__(self, table: Table, binding: Callable[[RowMapping], bytes]) -> None:
        self.name = table.name
        self._table = table
        self._binding = binding
        (self._row_id,) = table.primary_key
        self._reseal = (
            update(table)
            .where(
                self._row_id == bindparam("row_id"),
                table.c.key_id == bindparam("old_key_id"),
                table.c.nonce == bindparam("old_nonce"),  # a row that was erased meanwhile has none
            )
            .values(
                key_id=bindparam("new_key_id"), nonce=bindparam("new_nonce"), ciphertext=bindparam("new_ciphertext")
            )
        )

    def list_sealed(
        self, tx: Tx, tenant_id: str, *, but: str, after: str, limit: int
    ) -> Sequence[connections.SealedRow]:
        table = self._table
        query = (
            select(table)
            .where(table.c.tenant_id == tenant_id, self._row_id > after, table.c.key_id != but, SEALED)
            .order_by(self._row_id)
            .limit(limit)
        )
        return [self._sealed(row) for row in connection(tx).execute(query).mappings()]

    def replace(self, tx: Tx, rows: Sequence[tuple[connections.SealedRow, connections.Sealed]]) -> int:
        values = [
            {
                "row_id": row.row_id,
                "old_key_id": row.sealed.key_id,
                "old_nonce": row.sealed.nonce,
                "new_key_id": sealed.key_id,
                "new_nonce": sealed.nonce,
                "new_ciphertext": sealed.ciphertext,
            }
            for row, sealed in rows
        ]
        return connection(tx).execute(self._reseal, values).rowcount if values else 0

    def count(self, tx: Tx, tenant_id: str | None) -> Mapping[tuple[str, str], int]:
        tenant, key = self._table.c.tenant_id, self._table.c.key_id
        query = select(tenant, key, func.count()).where(SEALED).group_by(tenant, key)
        if tenant_id is not None:
            query = query.where(tenant == tenant_id)
        return {(row[0], row[1]): row[2] for row in connection(tx).execute(query)}

    def _sealed(self, row: RowMapping) -> connections.SealedRow:
        return connections.SealedRow(
            row_id=row[self._row_id],
            tenant_id=row["tenant_id"],
            sealed=connections.Sealed(key_id=row["key_id"], nonce=row["nonce"], ciphertext=row["ciphertext"]),
            aad=self._binding(row),
        )


HOLDINGS: Final = (
    SealedTable(credentials, lambda row: connections.credential_binding(credential_from(tuple(row.values())))),
    SealedTable(installs, lambda row: connections.install_binding(install_from(row))),
    SealedTable(oauth_clients, lambda row: connections.client_binding(client_from(row))),
    SealedTable(subscriptions, lambda row: room.binding(row["subscription_id"], row["tenant_id"])),
    SealedTable(routes, lambda row: triggers.webhooks.route_binding(route_from(row))),
)
"""Every table in which a secret lies sealed: a test compares it with the tables that name a key."""
