"""What tells of events, put together."""

from dataclasses import dataclass

from interlock import connections, dispatch, runs, subscriptions
from interlock.adapters import keys, sql
from interlock.kernel import UNTRACED, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """The parts of one open Interlock that tell what happens."""

    records: subscriptions.Records
    feed: subscriptions.Feed
    courier: subscriptions.Courier
    desk: subscriptions.Subscriptions


def outgoing(
    store: sql.RingingStore,
    wiring: runs.Wiring,
    ring: keys.Keyring,
    errands: connections.Errands,
    queue: dispatch.Queue,
) -> Outgoing:
    """Messages leave as errands do: through the plane, with their evidence kept."""
    records, clock, ids = sql.SubscriptionRecords(), wiring.clock, wiring.ids
    feed = subscriptions.Feed(store, records, clock=clock, ids=ids)
    sealed = subscriptions.Keys(ring, ring.random_bytes)

    def led_to(tx: Tx, event: subscriptions.Event) -> str | None:
        run = wiring.ledger.find_run(tx, event.tenant_id, str(event.data.get("run_id")))
        return None if run is None else run.traceparent

    tracing = wiring.tracing
    courier = subscriptions.Courier(
        store,
        records,
        feed,
        sealed,
        errands,
        queue,
        clock=clock,
        ids=ids,
        next_write=store.next_write,
        counts=wiring.counts,
        tracing=tracing,
        led_to=None if tracing is UNTRACED else led_to,
    )
    desk = subscriptions.Subscriptions(store, records, sealed, courier, clock=clock, ids=ids)
    return Outgoing(records=records, feed=feed, courier=courier, desk=desk)
