"""What callers have made under idempotency keys, beside the keys of runs."""

from datetime import datetime

from sqlalchemy import select

from interlock.adapters.sql.tables import idempotency_keys as keys
from interlock.adapters.sql.transaction import connection, upsert
from interlock.kernel import Tx


def claim_creation(
    tx: Tx, tenant_id: str, kind: str, key: str, made_id: str, *, now: datetime, until: datetime
) -> str | None:
    """Note what is made under a key: None, or the id of what was made under it before."""
    place = {"tenant_id": tenant_id, "capability": f"create:{kind}", "key": key}
    offered = upsert(tx, keys).values(**place, run_id=made_id, expires_at=until)
    changed = {name: offered.excluded[name] for name in ("run_id", "expires_at")}
    statement = offered.on_conflict_do_update(index_elements=[*place], set_=changed, where=keys.c.expires_at <= now)
    if connection(tx).execute(statement.returning(keys.c.run_id)).first() is not None:
        return None
    mine = [keys.c[name] == value for name, value in place.items()]
    return connection(tx).execute(select(keys.c.run_id).where(*mine)).scalar_one()
