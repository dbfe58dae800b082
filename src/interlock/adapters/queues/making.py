"""Which queue a store gets."""

from collections.abc import Callable

from sqlalchemy import Connection

from interlock import dispatch
from interlock.adapters.queues.in_process import InProcessQueue
from interlock.adapters.queues.stored import Timing
from interlock.kernel import Clock, IdSource, Store, Tx


def make_queue(
    url: str,
    store: Store,
    connection: Callable[[Tx], Connection],
    *,
    clock: Clock,
    ids: IdSource,
    timing: Timing | None = None,
) -> dispatch.Queue:
    """The queue in the store at that address. `connection` opens the store's transactions (`sql.connection`)."""
    timing = timing or Timing()
    if not url.startswith(("postgresql://", "postgres://")):
        return InProcessQueue(store, connection, clock=clock, ids=ids, timing=timing)
    from interlock.adapters.queues.pgqueuer import PgQueuerQueue  # the engine is an extra

    return PgQueuerQueue(store, connection, url, clock=clock, ids=ids, timing=timing)
