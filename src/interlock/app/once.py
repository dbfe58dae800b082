"""What is made for a caller under an idempotency key is made once."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from interlock.kernel import Caller, ConflictError, RequestError, Tx, digest

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


def once(
    parts: "Parts", caller: Caller, kind: str, key: str | None, asked: Mapping[str, object]
) -> Callable[[Tx, str], None] | None:
    """What notes the id of what is made, in the transaction that makes it; None without a key. `asked` is what is to be made,
    without secrets: a digest of it is kept. What is noted raises AlreadyMade, and IdempotencyConflict where something else was
    asked for under the key. Raises RequestError for a key that is none."""
    from interlock import runs
    from interlock.adapters import sql

    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise RequestError(f"idempotency_key must be 1 to {MAX_KEY} printable characters")
    clock = parts.wiring.clock

    def claim(tx: Tx, made_id: str) -> None:
        from pydantic_core import to_jsonable_python

        now = clock.now()
        of = digest(to_jsonable_python({**asked, "by": caller.actor}))
        before = sql.claim_creation(
            tx, caller.tenant_id, kind, key, made_id, asked=of, now=now, until=now + runs.KEY_LIFE
        )
        if before is None:
            return
        if not before.same:
            raise runs.IdempotencyConflict(f"the idempotency key {key!r} was used for another {kind}")
        raise AlreadyMade(f"under this key {before.made_id} was made before", details={"id": before.made_id})

    return claim
