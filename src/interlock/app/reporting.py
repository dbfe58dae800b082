"""Webhooks, wired: their work is admitted by `dispatch`, in the transaction that takes a delivery for new."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from interlock import connections, dispatch, runs, triggers
from interlock.adapters import keys, sql
from interlock.kernel import Caller, Clock, ProviderError, Tx

KEYS_WITHIN: Final = timedelta(seconds=5)
"""So long an issuer may take to show its keys: the service whose delivery they are to prove waits for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """What there is of them."""

    routes: triggers.webhooks.Routes
    intake: triggers.webhooks.Intake
    deliveries: triggers.webhooks.Deliveries


def wire(
    store: sql.SqlStore,
    wiring: runs.Wiring,
    ring: keys.Keyring,
    work: dispatch.Dispatch,
    errands: connections.Errands,
    *,
    keys_from: Sequence[str],
) -> Webhooks:
    """Routes of one Interlock. `keys_from`: the hosts, as `host:port`, from which keys of issuers are fetched."""

    async def fetch(tenant_id: str, url: str) -> bytes:
        headers = (("accept", "application/json"),)
        answer = await errands.ask(
            "GET", url, show=lambda _: (), secrets={}, tenant_id=tenant_id, headers=headers, limit=KEYS_WITHIN
        )
        if answer.status != 200:
            raise ProviderError(f"it answers with the status {answer.status}")
        return answer.body

    records, manifests, clock, ids = sql.WebhookRecords(), wiring.catalog.fetch_connector_for, wiring.clock, wiring.ids
    key_sets = triggers.webhooks.KeySets(fetch, store, sql.KeySetRecords(), hosts=frozenset(keys_from), clock=clock)
    routes = triggers.webhooks.Routes(
        store,
        records,
        triggers.webhooks.RouteSecrets(ring, clock=clock, random_bytes=ring.random_bytes, key_sets=key_sets),
        manifests=manifests,
        clock=clock,
        ids=ids,
        random_bytes=ring.random_bytes,
    )
    works = _Works(work, clock)
    return Webhooks(
        routes=routes,
        intake=triggers.webhooks.Intake(store, records, routes, works=works, manifests=manifests, clock=clock, ids=ids),
        deliveries=triggers.webhooks.Deliveries(store, records, routes, works=works, manifests=manifests, clock=clock),
    )


class _Works:
    """Implements `triggers.webhooks.Works`."""

    def __init__(self, work: dispatch.Dispatch, clock: Clock) -> None:
        self._work = work
        self._clock = clock

    def draw(self, caller: Caller, event: triggers.webhooks.Event) -> dispatch.Drawn:
        asked = dispatch.Work(
            handler=event.handler,
            payload=event.payload,
            origin=runs.Origin.TRIGGER,
            connection_id=event.connection_id,
            priority=dispatch.Priority(event.priority),
            retry=triggers.retrying.policy(event.retry),
            deadline_at=triggers.retrying.deadline(event.retry, self._clock.now()),
        )
        return self._work.draw(caller, asked)

    def admit(self, tx: Tx, drawn: Sequence[dispatch.Drawn]) -> Sequence[str]:
        return [admitted.run_id for admitted, _ in self._work.admit_all_in(tx, drawn)]
