"""What is made for a caller under an idempotency key is made once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from interlock.kernel import Caller, ConflictError, RequestError, Tx

if TYPE_CHECKING:
    from interlock.app.assembly import Parts

MAX_KEY: Final = 200


class AlreadyMade(ConflictError):
    """Something was made under this key before; `details` has its `id`."""

    code = "already_made"
    next_step = (
        "Look at what `details` names. If its secret was lost on the way, rotate it; or revoke it, and make another one under "
        "another key."
    )


def once(parts: "Parts", caller: Caller, kind: str, key: str | None) -> Callable[[Tx, str], None] | None:
    """What notes the id of what is made, in the transaction that makes it; None without a key. It raises AlreadyMade. Raises
    RequestError for a key that is none."""
    from interlock import runs
    from interlock.adapters import sql

    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise RequestError(f"idempotency_key must be 1 to {MAX_KEY} printable characters")
    clock = parts.wiring.clock

    def claim(tx: Tx, made_id: str) -> None:
        now = clock.now()
        before = sql.claim_creation(tx, caller.tenant_id, kind, key, made_id, now=now, until=now + runs.KEY_LIFE)
        if before is not None:
            raise AlreadyMade(f"under this key {before} was made before", details={"id": before})

    return claim
