"""Entity tags and the answers they stand for."""

from datetime import datetime
from typing import cast

import orjson
from sqlalchemy import and_, delete, or_, select

from interlock import runs
from interlock.adapters.sql.tables import validators as table
from interlock.adapters.sql.transaction import connection, upsert
from interlock.kernel import Tx

MOST = 500
"""The most that are kept for one connection: at 256 KiB each, its share of the store stays within 128 MiB."""


class ValidatorRecords:
    """`runs.Validators` in SQL."""

    def find(self, tx: Tx, tenant_id: str, connection_id: str, request_digest: str) -> runs.Validator | None:
        """What is kept for that request."""
        row = (
            connection(tx)
            .execute(
                select(table).where(
                    table.c.tenant_id == tenant_id,
                    table.c.connection_id == connection_id,
                    table.c.request_digest == request_digest,
                )
            )
            .mappings()
            .first()
        )
        if row is None:
            return None
        return runs.Validator(
            tenant_id=row["tenant_id"],
            connection_id=row["connection_id"],
            request_digest=row["request_digest"],
            etag=row["etag"],
            headers=[(name, value) for name, value in cast("list[list[str]]", orjson.loads(row["headers"]))],
            body=bytes(row["body"]),
            updated_at=row["updated_at"],
        )

    def save(self, tx: Tx, validator: runs.Validator) -> None:
        """Keep it, instead of what was kept before."""
        values = {
            "etag": validator.etag,
            "body": validator.body,
            "headers": orjson.dumps(validator.headers).decode(),
            "updated_at": validator.updated_at,
        }
        statement = upsert(tx, table).values(
            tenant_id=validator.tenant_id,
            connection_id=validator.connection_id,
            request_digest=validator.request_digest,
            **values,
        )
        connection(tx).execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.tenant_id, table.c.connection_id, table.c.request_digest], set_=values
            )
        )

    def prune(self, tx: Tx, tenant_id: str, connection_id: str, before: datetime) -> None:
        """Drop what is older, and all but the newest MOST."""
        here = and_(table.c.tenant_id == tenant_id, table.c.connection_id == connection_id)
        beyond = (
            select(table.c.request_digest)
            .where(here)
            .order_by(table.c.updated_at.desc(), table.c.request_digest)
            .offset(MOST)
        )
        old = or_(table.c.updated_at < before, table.c.request_digest.in_(beyond))
        connection(tx).execute(delete(table).where(here, old))
