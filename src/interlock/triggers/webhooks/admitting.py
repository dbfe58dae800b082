"""A proven delivery becomes work: one piece for each trigger that it is for, in the transaction that takes it for new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from interlock import runs, sdk
from interlock.kernel import JSON, Caller, InvalidJson, Store, Tx, check_json, to_rfc3339
from interlock.triggers.webhooks import evidence, signals
from interlock.triggers.webhooks.incoming import LIMITS, Incoming
from interlock.triggers.webhooks.known import Known
from interlock.triggers.webhooks.model import Delivery, DeliveryState, Trigger
from interlock.triggers.webhooks.records import Claim, Need, Records
from interlock.triggers.webhooks.verifying import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A signal for one trigger's handler, about to be admitted."""

    trigger: str
    handler: str
    connection_id: str | None
    priority: int
    retry: sdk.Retries
    payload: dict[str, JSON]
    refers: bool = False
    """Whether its data lies with the delivery."""


class Works(Protocol):
    """The port to whom work is handed on. What it draws is nobody else's concern."""

    def draw(self, caller: Caller, event: Event) -> object:
        """The work of an event, as it is to be admitted. Raises RequestError, InvalidJson."""
        ...

    def admit(self, tx: Tx, drawn: Sequence[Any]) -> Sequence[str]:
        """Admit it in the caller's transaction; the ids of its runs, in order."""
        ...


class _Work(NamedTuple):
    """What is drawn for a delivery: for each event the work, by trigger."""

    tenant_id: str
    delivery_id: str
    pieces: Sequence[tuple[Event, object]]


class Moved(Exception):
    """The route is not what it was when the request was judged."""


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
    """What is to be admitted, and why some of it cannot be (`unfit`: an event that its connector declares otherwise is kept, and
    may be replayed when the connector knows better), or why nothing is (`why`)."""
    found: list[Event] = []
    unfit: list[JSON] = []
    left_out: list[str] = []
    for trigger, declared in triggers:
        if not signals.is_event(declared.trigger, request, value):
            continue
        if not signals.is_wanted(declared.trigger, trigger, value):
            left_out.append(trigger.name)
            continue
        signal: dict[str, JSON] = {
            "type": trigger.name,
            "source": source,
            "id": event_id,
            "at": to_rfc3339(at),
        }
        try:
            data = signals.data_of(declared, request, value)
            payload, refers = _payload(signal, data, trigger=trigger.name, delivery_id=delivery_id)
        except (signals.Unfit, InvalidJson) as error:
            unfit.append({"trigger": trigger.name, "why": str(error)[:500]})
            continue
        event = Event(
            trigger=trigger.name,
            handler=trigger.handler,
            connection_id=trigger.connection_id,
            priority=trigger.priority,
            retry=trigger.retry,
            payload=payload,
            refers=refers,
        )
        found.append(event)
    if found or unfit:
        return found, {"unfit": unfit} if unfit else {}
    if left_out:
        return found, {"why": f"the config of {', '.join(sorted(set(left_out)))[:200]} leaves it out"}
    return found, {
        "why": "the event is not for a trigger of the route" if triggers else "the route has no trigger that is enabled"
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A proven delivery with its work, drawn. `way`: the route that it came to, and the one that it is for."""

    way: Sequence[Known]
    request: Incoming
    found: Verified
    delivery_id: str
    at: datetime
    work: _Work
    unfit: Mapping[str, JSON]

    @property
    def claim(self) -> Claim:
        """That it is new."""
        route = self.way[-1].route
        return Claim(
            tenant_id=route.tenant_id,
            route_id=route.route_id,
            key=self.found.dedupe_key,
            delivery_id=self.delivery_id,
            expires_at=self.at + timedelta(seconds=route.dedupe_seconds),
            way={each.route.route_id: each.route.revision for each in self.way},
        )

    def delivery(self, runs: JSON) -> Delivery:
        """The delivery, accepted."""
        return evidence.drawn(
            self.way[-1],
            self.request,
            delivery_id=self.delivery_id,
            at=self.at,
            state=DeliveryState.ACCEPTED,
            external_id=self.found.delivery_id,
            digest=self.found.digest,
            facts={"runs": runs, **self.unfit},
        )


def _payload(signal: dict[str, JSON], data: JSON, *, trigger: str, delivery_id: str) -> tuple[dict[str, JSON], bool]:
    """What the handler gets, and whether its data is not in it. Data that a run cannot hold stays with the delivery, and the
    signal says where (`dataref`)."""
    rest: dict[str, JSON] = {"trigger": trigger, "delivery_id": delivery_id}
    whole: dict[str, JSON] = {"signal": {**signal, "data": data}, **rest}
    try:
        check_json(whole, limits=runs.TASK_LIMITS, what="event")
    except InvalidJson:
        check_json(data, limits=LIMITS, what="event")
        return {"signal": {**signal, "dataref": delivery_id}, **rest}, True
    return whole, False


class Admitting:
    """Takes deliveries for new, once each. Raises StoreError."""

    def __init__(self, store: Store, records: Records, works: Works) -> None:
        self._store = store
        self._records = records
        self._works = works

    async def take(
        self, way: Sequence[Known], request: Incoming, value: JSON, found: Verified, *, delivery_id: str, now: datetime
    ) -> str | None:
        """Admit a delivery's work: None, or the id of the delivery that it repeats. `way`: the route that it came to, and the one
        that it is for. Raises Moved."""
        install = way[-1]
        events, unfit = make_events(
            install.triggers,
            request,
            value,
            source=install.source,
            delivery_id=delivery_id,
            event_id=install.redactor.text(found.delivery_id or delivery_id),
            at=found.signed_at or now,
        )
        offer = _Offer(
            way=way,
            request=request,
            found=found,
            delivery_id=delivery_id,
            at=now,
            work=self._draw(install, delivery_id, events),
            unfit=unfit,
        )
        holder = await self._store.write_together(self._admit, offer)
        if holder is None:
            raise Moved
        return None if holder == delivery_id else holder

    def _admit(self, tx: Tx, offers: Sequence[_Offer]) -> Sequence[str | None]:
        """All that wait, in one statement for each table: for each as `Records.claim`."""
        holders = self._records.claim(tx, [offer.claim for offer in offers], now=min(offer.at for offer in offers))
        fresh = [offer for offer, holder in zip(offers, holders, strict=True) if holder == offer.delivery_id]
        told = self._hand_on(tx, [offer.work for offer in fresh])
        self._records.add_deliveries(tx, [offer.delivery(runs) for offer, runs in zip(fresh, told, strict=True)])
        return holders

    async def replay(self, install: Known, delivery: Delivery, request: Incoming, *, now: datetime) -> Delivery:
        """Admit the work of an accepted delivery anew, as its route's triggers stand now."""
        value = request.value
        assert not isinstance(value, InvalidJson)
        events, unfit = make_events(
            install.triggers,
            request,
            value,
            source=install.source,
            delivery_id=delivery.delivery_id,
            event_id=delivery.external_id or delivery.delivery_id,
            at=delivery.received_at,
        )
        work = self._draw(install, delivery.delivery_id, events)

        def admit(tx: Tx) -> Delivery:
            done: dict[str, JSON] = {"at": to_rfc3339(now), "runs": self._hand_on(tx, [work])[0], **unfit}
            return self._records.note_replay(tx, delivery, done)

        return await self._store.write(admit)

    def _draw(self, install: Known, delivery_id: str, events: Sequence[Event]) -> _Work:
        caller = install.caller
        pieces = [(event, self._works.draw(caller, event)) for event in events]
        return _Work(caller.tenant_id, delivery_id, pieces)

    def _hand_on(self, tx: Tx, works: Sequence[_Work]) -> list[JSON]:
        """Admit the work of each; which runs do it."""
        run_ids = iter(self._works.admit(tx, [drawn for work in works for _, drawn in work.pieces]))
        done = [(work, [(event, next(run_ids)) for event, _ in work.pieces]) for work in works]
        needs = [
            Need(work.tenant_id, work.delivery_id, run_id)
            for work, runs in done
            for event, run_id in runs
            if event.refers
        ]
        self._records.need(tx, needs)
        return [[{"trigger": event.trigger, "run_id": run_id} for event, run_id in runs] for _, runs in done]
