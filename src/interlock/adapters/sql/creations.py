"""What callers have made under idempotency keys, beside the keys of runs."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select

from interlock.adapters.sql.tables import idempotency_keys as keys
from interlock.adapters.sql.transaction import connection, upsert
from interlock.kernel import Tx

_DIGEST: Final = 40
"""Of a digest's digits, which stand where other keys have an id."""


class Claimed(NamedTuple):
    """What was made under a key before, and whether the same was asked for then."""

    made_id: str
    same: bool


def claim_creation(
    tx: Tx, tenant_id: str, kind: str, key: str, made_id: str, *, asked: str, now: datetime, until: datetime
) -> Claimed | None:
    """Note what is made under a key, and the digest (`sha256:…`) of what was `asked`: None, or what was made under it before."""
    of = asked.removeprefix("sha256:")[:_DIGEST]
    before = _claim(tx, tenant_id, f"create:{kind}", key, made_id, now=now, until=until)
    # A key that is older than its digest was claimed by a version that kept none.
    other = _claim(tx, tenant_id, f"asked:{kind}", key, of, now=now, until=until)
    return None if before is None else Claimed(before, same=other in {None, of})


def _claim(
    tx: Tx, tenant_id: str, capability: str, key: str, value: str, *, now: datetime, until: datetime
) -> str | None:
    """Have that value stand under a key: None, or the one that stands there."""
    place = {"tenant_id": tenant_id, "capability": capability, "key": key}
    offered = upsert(tx, keys).values(**place, run_id=value, expires_at=until)
    changed = {name: offered.excluded[name] for name in ("run_id", "expires_at")}
    statement = offered.on_conflict_do_update(index_elements=[*place], set_=changed, where=keys.c.expires_at <= now)
    if connection(tx).execute(statement.returning(keys.c.run_id)).first() is not None:
        return None
    mine = [keys.c[name] == held for name, held in place.items()]
    return connection(tx).execute(select(keys.c.run_id).where(*mine)).scalar_one()
