"""A proven delivery becomes work: one piece for each trigger that it is for, in the transaction that takes it for new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from interlock.kernel import JSON, Caller, InvalidJson, Store, Tx, check_json, to_rfc3339
from interlock.triggers.webhooks import evidence, signals
from interlock.triggers.webhooks.incoming import Incoming
from interlock.triggers.webhooks.known import Known
from interlock.triggers.webhooks.model import Delivery, DeliveryState, Route, RouteState, Trigger
from interlock.triggers.webhooks.records import Records
from interlock.triggers.webhooks.verifying import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A signal for one trigger's handler, about to be admitted."""

    trigger: str
    handler: str
    connection_id: str | None
    priority: int
    payload: dict[str, JSON]


Admit = Callable[[Tx, Caller, Event], str]
"""Admits the work of an event in the caller's transaction, and returns the id of its run."""


class Moved(Exception):
    """The route is not what it was when the request was judged."""


def caller_of(route: Route) -> Caller:
    """As whom the work of a route is done."""
    return Caller(tenant_id=route.tenant_id, actor=f"route:{route.route_id}")


def read(known: Known, request: Incoming) -> JSON | InvalidJson:
    """The body as data, without secrets that stand in it."""
    value = request.value
    return value if isinstance(value, InvalidJson) else known.redactor.json(value)


def make_events(
    triggers: Sequence[tuple[Trigger, signals.Declared]],
    request: Incoming,
    value: JSON,
    *,
    source: str,
    delivery_id: str,
    event_id: str,
    at: datetime,
) -> tuple[list[Event], dict[str, JSON]]:
    """What is to be admitted, and why some of it cannot be: an event that its connector declares otherwise is kept, and may be
    replayed when the connector knows better."""
    found: list[Event] = []
    unfit: list[JSON] = []
    for trigger, declared in triggers:
        if not signals.fits(declared.trigger, trigger, request, value):
            continue
        signal: dict[str, JSON] = {
            "type": trigger.name,
            "source": source,
            "id": event_id,
            "at": to_rfc3339(at),
        }
        try:
            payload: dict[str, JSON] = {
                "signal": {**signal, "data": signals.data_of(declared, request, value)},
                "trigger": trigger.name,
                "delivery_id": delivery_id,
            }
            check_json(payload, what="event")
        except (signals.Unfit, InvalidJson) as error:
            unfit.append({"trigger": trigger.name, "why": str(error)[:500]})
            continue
        event = Event(
            trigger=trigger.name,
            handler=trigger.handler,
            connection_id=trigger.connection_id,
            priority=trigger.priority,
            payload=payload,
        )
        found.append(event)
    return found, {"unfit": unfit} if unfit else {}


class Admitting:
    """Takes deliveries for new, once each. Raises StoreError."""

    def __init__(self, store: Store, records: Records, admit: Admit) -> None:
        self._store = store
        self._records = records
        self._admit = admit

    async def take(
        self, way: Sequence[Known], request: Incoming, value: JSON, found: Verified, *, delivery_id: str, now: datetime
    ) -> str | None:
        """Admit a delivery's work: None, or the id of the delivery that it repeats. `way`: the route that it came to, and the one
        that it is for. Raises Moved."""
        install = way[-1]
        work, unfit = make_events(
            install.triggers,
            request,
            value,
            source=install.source,
            delivery_id=delivery_id,
            event_id=install.redactor.text(found.delivery_id or delivery_id),
            at=found.signed_at or now,
        )
        ends = now + timedelta(seconds=install.route.dedupe_seconds)

        def admit(tx: Tx) -> str | None:
            for each in way:
                if self._records.stand(tx, each.route.route_id) != (each.route.revision, RouteState.ACTIVE):
                    raise Moved
            holder = self._records.claim(
                tx,
                tenant_id=install.route.tenant_id,
                route_id=install.route.route_id,
                key=found.dedupe_key,
                delivery_id=delivery_id,
                now=now,
                expires_at=ends,
            )
            if holder is None:
                delivery = evidence.drawn(
                    install,
                    request,
                    delivery_id=delivery_id,
                    at=now,
                    state=DeliveryState.ACCEPTED,
                    external_id=found.delivery_id,
                    digest=found.digest,
                    facts={"runs": self._hand_on(tx, install, work), **unfit},
                )
                self._records.add_delivery(tx, delivery)
            return holder

        return await self._store.write(admit)

    async def replay(self, install: Known, delivery: Delivery, request: Incoming, *, now: datetime) -> Delivery:
        """Admit the work of an accepted delivery anew, as its route's triggers stand now."""
        value = request.value
        assert not isinstance(value, InvalidJson)
        work, unfit = make_events(
            install.triggers,
            request,
            value,
            source=install.source,
            delivery_id=delivery.delivery_id,
            event_id=delivery.external_id or delivery.delivery_id,
            at=delivery.received_at,
        )

        def admit(tx: Tx) -> Delivery:
            held = self._records.find_delivery(tx, delivery.tenant_id, delivery.delivery_id)
            assert held is not None
            before = cast("Sequence[JSON]", held.facts.get("replays", ()))
            done: dict[str, JSON] = {"at": to_rfc3339(now), "runs": self._hand_on(tx, install, work), **unfit}
            return self._records.save_facts(tx, held, {**held.facts, "replays": [*before, done]})

        return await self._store.write(admit)

    def _hand_on(self, tx: Tx, install: Known, work: Sequence[Event]) -> list[JSON]:
        caller = caller_of(install.route)
        return [{"trigger": each.trigger, "run_id": self._admit(tx, caller, each)} for each in work]
