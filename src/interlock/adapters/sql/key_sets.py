"""Sets of issuers' keys."""

from datetime import datetime

from sqlalchemy import or_, select

from interlock import triggers
from interlock.adapters.sql.transaction import connection, upsert
from interlock.adapters.sql.webhook_tables import key_sets as table
from interlock.kernel import Tx, digest_bytes


class KeySetRecords:
    """Implements `triggers.webhooks.KeySetRecords`."""

    def find(self, tx: Tx, tenant_id: str, url: str) -> triggers.webhooks.KeptSet | None:
        """The set that was fetched from there last."""
        query = select(table.c.keys_text, table.c.fetched_at).where(
            table.c.tenant_id == tenant_id, table.c.url_digest == digest_bytes(url.encode())
        )
        found = connection(tx).execute(query).first()
        return None if found is None else triggers.webhooks.KeptSet(found.keys_text, found.fetched_at)

    def save(self, tx: Tx, tenant_id: str, url: str, kept: triggers.webhooks.KeptSet, *, latest: datetime) -> None:
        """Keep it, instead of an older one, or of one that was fetched after `latest`."""
        values = {"keys_text": kept.text, "fetched_at": kept.fetched_at}
        statement = upsert(tx, table).values(tenant_id=tenant_id, url_digest=digest_bytes(url.encode()), **values)
        place = [table.c.tenant_id, table.c.url_digest]
        older = or_(table.c.fetched_at <= kept.fetched_at, table.c.fetched_at > latest)
        connection(tx).execute(statement.on_conflict_do_update(index_elements=place, set_=values, where=older))
