"""Webhooks, wired: their work is admitted by `dispatch`, in the transaction that takes a delivery for new."""

from collections.abc import Callable
from dataclasses import dataclass

from interlock import dispatch, runs, triggers
from interlock.adapters import keys, sql
from interlock.kernel import Caller, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """What there is of them."""

    routes: triggers.webhooks.Routes
    intake: triggers.webhooks.Intake
    deliveries: triggers.webhooks.Deliveries


def wire(store: sql.SqlStore, wiring: runs.Wiring, ring: keys.Keyring, work: dispatch.Dispatch) -> Webhooks:
    """Routes of one Interlock."""
    records, manifests, clock, ids = sql.WebhookRecords(), wiring.catalog.fetch_connector_for, wiring.clock, wiring.ids
    routes = triggers.webhooks.Routes(
        store, records, ring, manifests=manifests, clock=clock, ids=ids, random_bytes=ring.random_bytes
    )
    admit = _admitting(work)
    return Webhooks(
        routes=routes,
        intake=triggers.webhooks.Intake(store, records, routes, admit=admit, manifests=manifests, clock=clock, ids=ids),
        deliveries=triggers.webhooks.Deliveries(store, records, routes, admit=admit, manifests=manifests, clock=clock),
    )


def _admitting(work: dispatch.Dispatch) -> Callable[[Tx, Caller, triggers.webhooks.Event], str]:
    def admit(tx: Tx, caller: Caller, event: triggers.webhooks.Event) -> str:
        asked = dispatch.Work(
            handler=event.handler,
            payload=event.payload,
            origin=runs.Origin.TRIGGER,
            connection_id=event.connection_id,
            priority=dispatch.Priority(event.priority),
        )
        return work.admit_in(tx, caller, asked).run_id

    return admit
