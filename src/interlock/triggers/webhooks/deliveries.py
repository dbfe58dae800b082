"""Deliveries are looked up, and handed on once more."""

from collections.abc import Mapping, Sequence
from typing import cast

import anyio.to_thread

from interlock.kernel import JSON, Caller, Clock, InvalidJson, Store
from interlock.triggers.webhooks import signals
from interlock.triggers.webhooks.admitting import Admitting, Works, make_events
from interlock.triggers.webhooks.errors import DeliveryNotFound, NotReplayable
from interlock.triggers.webhooks.incoming import Incoming
from interlock.triggers.webhooks.known import Book
from interlock.triggers.webhooks.model import Delivery, DeliveryState
from interlock.triggers.webhooks.records import Records
from interlock.triggers.webhooks.routes import Manifests, Routes, check_limit


class Deliveries:
    """Everything raises StoreError besides what it names."""

    def __init__(
        self, store: Store, records: Records, routes: Routes, *, works: Works, manifests: Manifests, clock: Clock
    ) -> None:
        self._store = store
        self._records = records
        self._routes = routes
        self._clock = clock
        self._book = Book(store, records, routes, manifests, clock)
        self._admitting = Admitting(store, records, works)

    async def fetch(self, caller: Caller, delivery_id: str) -> Delivery:
        """One delivery. Raises DeliveryNotFound."""
        found = await self._store.read(lambda tx: self._records.find_delivery(tx, caller.tenant_id, delivery_id))
        if found is None:
            raise DeliveryNotFound(f"no delivery {delivery_id[:60]!r} in this tenant")
        return found

    async def list_deliveries(
        self,
        caller: Caller,
        *,
        route_id: str | None = None,
        states: Sequence[DeliveryState] = (),
        cursor: str | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Newest first, without their bodies; go on with `cursor` = the last delivery id. Raises RequestError."""
        check_limit(limit)
        return await self._store.read(
            lambda tx: self._records.list_deliveries(
                tx, caller.tenant_id, route_id=route_id, states=states, cursor=cursor, limit=limit
            )
        )

    async def replay(self, caller: Caller, delivery_id: str) -> Delivery:
        """Have an accepted delivery handled once more, in new runs, by the triggers of its route as they stand now. Raises
        DeliveryNotFound, NotReplayable, RouteNotFound."""
        found = await self.fetch(caller, delivery_id)
        if found.state is not DeliveryState.ACCEPTED or found.body is None:
            raise NotReplayable(f"the delivery {delivery_id} is {found.state.value}, and its body is not kept")
        route = await self._routes.fetch(caller, found.route_id)
        request = Incoming(method="POST", url="", headers=tuple(found.headers.items()), body=found.body)
        if isinstance(request.value, InvalidJson):
            raise NotReplayable(f"the body of {delivery_id} is not kept as it came")
        return await self._admitting.replay(await self._book.read_proven(route), found, request, now=self._clock.now())

    async def unpack(self, tenant_id: str, payload: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """What a handler was to get, with the data that only the delivery holds. Raises DeliveryNotFound, as the catalogue, and
        NotReplayable for what its connector declares otherwise by now."""
        signal, name = payload.get("signal"), str(payload.get("trigger"))
        if not isinstance(signal, Mapping) or not isinstance(ref := signal.get("dataref"), str):
            return payload
        delivery = await self.fetch(Caller(tenant_id=tenant_id, actor="interlock"), ref)
        declared = (await self._book.declared(tenant_id, delivery.connector_id)).get(name.partition(".")[2])
        request = Incoming(method="POST", url="", headers=tuple(delivery.headers.items()), body=delivery.body or b"")
        value = await anyio.to_thread.run_sync(lambda: request.value)
        if declared is None or isinstance(value, InvalidJson):
            raise NotReplayable(f"{ref} is no {name} any more")
        try:
            data = signals.data_of(declared, request, value)
        except signals.Unfit as error:
            raise NotReplayable(f"{ref} is no {name} any more: {error}") from error
        return {**payload, "signal": {**signal, "data": data}}

    async def try_out(
        self, caller: Caller, trigger_id: str, body: bytes, *, headers: Mapping[str, str]
    ) -> Mapping[str, JSON]:
        """What a trigger would make of a delivery: `fits`, and either the `payload` that its handler would get, or `why` there
        is none. Nothing is proven and nothing is kept. Raises TriggerNotFound, and as the catalogue."""
        trigger = await self._routes.fetch_trigger(caller, trigger_id)
        declared = await self._book.declared(caller.tenant_id, trigger.connector_id)
        lowered = tuple((name.lower(), value) for name, value in headers.items())
        request = Incoming(method="POST", url="", headers=lowered, body=body)
        value = request.value
        if isinstance(value, InvalidJson):
            return {"fits": False, "why": value.message}
        if trigger.declared not in declared:
            return {"fits": False, "why": f"{trigger.connector_id} does not declare {trigger.declared} any more"}
        found, unfit = make_events(
            [(trigger, declared[trigger.declared])],
            request,
            value,
            source="interlock://route/test",
            delivery_id="dlv_test",
            event_id="test",
            at=self._clock.now(),
        )
        if found:
            if not trigger.enabled:
                return {"fits": True, "why": "the trigger is disabled: what comes is kept, and nothing is started"}
            return {"fits": True, "payload": found[0].payload}
        if "unfit" in unfit:
            return {"fits": True, "why": cast("Sequence[Mapping[str, JSON]]", unfit["unfit"])[0]["why"]}
        is_event = signals.is_event(declared[trigger.declared].trigger, request, value)
        return {"fits": False, "why": "its config leaves the event out" if is_event else "the event is not for it"}
