"""API tokens in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, insert, select, update

from interlock import tokens
from interlock.adapters.sql.rows import pack_set, read_optional, unpack
from interlock.adapters.sql.token_tables import tokens as table
from interlock.adapters.sql.transaction import connection
from interlock.kernel import Tx


class TokenRecords:
    """Implements `tokens.Records`."""

    def insert(self, tx: Tx, token: tokens.Token, digest: str) -> None:
        values = {column.name: getattr(token, column.name, None) for column in table.columns} | {
            "digest": digest,
            "roles": pack_set(token.roles),
            "capabilities": None if token.capabilities is None else pack_set(token.capabilities),
            "connections": None if token.connections is None else pack_set(token.connections),
        }
        connection(tx).execute(insert(table).values(values))

    def find_by_digest(self, tx: Tx, digest: str) -> tuple[tokens.Token, str] | None:
        record = connection(tx).execute(select(table).where(table.c.digest == digest)).mappings().first()
        return None if record is None else (_token(record), record["digest"])

    def find(self, tx: Tx, tenant_id: str, token_id: str) -> tokens.Token | None:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.token_id == token_id)
        return next(iter(_all(tx, query)), None)

    def list_tokens(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[tokens.Token]:
        query = select(table).where(table.c.tenant_id == tenant_id)
        if cursor is not None:
            query = query.where(table.c.token_id < cursor)
        return _all(tx, query.order_by(table.c.token_id.desc()).limit(limit))

    def revoke(self, tx: Tx, tenant_id: str, token_id: str, at: datetime) -> None:
        good = (table.c.tenant_id == tenant_id, table.c.token_id == token_id, table.c.revoked_at.is_(None))
        connection(tx).execute(update(table).where(*good).values(revoked_at=at))


def _all(tx: Tx, query: Select[Any]) -> list[tokens.Token]:
    return [_token(record) for record in connection(tx).execute(query).mappings()]


def _token(record: RowMapping) -> tokens.Token:
    facts: dict[str, Any] = {name: value for name, value in record.items() if name != "digest"}
    limits = {name: read_optional(facts[name]) for name in ("capabilities", "connections")}
    facts |= {name: None if limit is None else frozenset(limit) for name, limit in limits.items()}
    facts["roles"] = frozenset(unpack(facts["roles"]))
    return tokens.Token(**facts)
