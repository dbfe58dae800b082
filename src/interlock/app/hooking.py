"""`il.routes`, `il.triggers`, `il.deliveries`: where services report, what is done about it, and what came."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from interlock.app.arguments import checked
from interlock.app.once import once
from interlock.kernel import JSON, Caller, RequestError, Secret, is_id

if TYPE_CHECKING:  # and late in the functions: a command that only looks capabilities up needs none of them
    from interlock import sdk, triggers
    from interlock.app.assembly import Parts

PATH: Final = "/hooks/"
"""Below the address of `interlock serve`."""


class Routes:
    """Routes of this tenant."""

    def __init__(self, parts: "Parts", caller: Caller, *, operator: bool) -> None:
        self._parts = parts
        self._caller = caller
        self._operator = operator

    @checked
    async def create(
        self,
        connector: str,
        *,
        on: "Sequence[triggers.webhooks.Wanted]" = (),
        connection: str | None = None,
        secret: Secret | None = None,
        verification: Mapping[str, Any] | None = None,
        unsigned: bool = False,
        dedupe_seconds: int | None = None,
        resolve: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> "triggers.webhooks.NewRoute":
        """An address for a connector's webhooks, and what is done about its events (`on`). Without a `secret` one is made, or
        awaited from the service. `verification` takes the place of the connector's own, as `{"scheme": "stripe"}`; what is
        `unsigned` anybody may send. With `resolve` it is an app's address, whose deliveries tell installs (`join`) apart by what
        stands at these places. Nothing is made twice under an `idempotency_key`,
        also with another secret. Raises AlreadyMade, IdempotencyConflict, InvalidRoute, UnreadableKey, ConnectionNotFound, and as
        the catalogue."""
        asked = {
            "connector": connector,
            "on": on,
            "connection": connection,
            "secret": secret is not None,
            "verification": verification,
            "unsigned": unsigned,
            "dedupe_seconds": dedupe_seconds,
            "resolve": resolve,
        }
        made = await self._parts.webhooks.routes.create(
            self._caller,
            connector,
            on=on,
            connection_id=await self._connection(connection, connector, self._caller),
            secret=secret,
            verification=verification,
            allow_unsigned=unsigned,
            dedupe_seconds=dedupe_seconds,
            resolve=resolve,
            beside=once(self._parts, self._caller, "route", idempotency_key, asked),
        )
        return self._told(made)

    @checked
    async def join(
        self,
        app_route: str,
        *,
        on: "Sequence[triggers.webhooks.Wanted]",
        resolution: Mapping[str, str],
        tenant: str | None = None,
        connection: str | None = None,
    ) -> "triggers.webhooks.Route":
        """An install of an app whose address this tenant has, for this tenant or another: deliveries in which these values stand
        are its own. Raises RouteNotFound, InvalidRoute, AmbiguousRoute, ConnectionNotFound, and RequestError for somebody that
        Interlock acts for."""
        if not self._operator:
            raise RequestError(
                "whose an app's deliveries are is said by whoever opened Interlock, not by somebody that it acts for",
                next_step="Open Interlock for the tenant that has the app's address: `tenant` of the settings, `--tenant`.",
            )
        whom = Caller(tenant_id=tenant or self._caller.tenant_id, actor=self._caller.actor, roles=self._caller.roles)
        app = await self._parts.webhooks.routes.fetch(self._caller, app_route)
        connection_id = await self._connection(connection, app.connector_id, whom)
        return await self._parts.webhooks.routes.join(
            whom, app, on=on, resolution=resolution, connection_id=connection_id
        )

    @checked
    async def list(
        self, *, connector: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> "Sequence[triggers.webhooks.Route]":
        """Routes, newest first; go on with `cursor` = the last route id. Raises RequestError."""
        return await self._parts.webhooks.routes.list_routes(
            self._caller, connector_id=connector, cursor=cursor, limit=limit
        )

    @checked
    async def fetch(self, route_id: str) -> "triggers.webhooks.Route":
        """One route. Raises RouteNotFound."""
        return await self._parts.webhooks.routes.fetch(self._caller, route_id)

    @checked
    async def rotate(
        self, route_id: str, *, secret: Secret | None = None, overlap: float = 86_400.0
    ) -> "triggers.webhooks.NewRoute":
        """Give a route another secret; the present one counts as well for `overlap` seconds. Raises RouteNotFound, InvalidRoute,
        UnreadableKey, RouteChanged."""
        made = await self._parts.webhooks.routes.rotate(self._caller, route_id, secret=secret, overlap_seconds=overlap)
        return self._told(made)

    @checked
    async def disable(self, route_id: str) -> "triggers.webhooks.Route":
        """Take no deliveries any more. Raises RouteNotFound, InvalidRoute, RouteChanged."""
        from interlock import triggers

        return await self._parts.webhooks.routes.set_state(
            self._caller, route_id, triggers.webhooks.RouteState.DISABLED
        )

    @checked
    async def enable(self, route_id: str) -> "triggers.webhooks.Route":
        """Take deliveries again. Raises RouteNotFound, InvalidRoute, RouteChanged."""
        from interlock import triggers

        return await self._parts.webhooks.routes.set_state(self._caller, route_id, triggers.webhooks.RouteState.ACTIVE)

    @checked
    async def revoke(self, route_id: str) -> "triggers.webhooks.Route":
        """End a route for good, and erase its secret. Raises RouteNotFound, RouteChanged."""
        from interlock import triggers

        return await self._parts.webhooks.routes.set_state(self._caller, route_id, triggers.webhooks.RouteState.REVOKED)

    async def _connection(self, ref: str | None, connector: str, caller: Caller) -> str | None:
        from interlock import triggers

        if ref is None:
            return None
        found = await self._parts.wiring.connections.fetch_connection(caller, ref)
        if found.connector_id != connector:
            raise triggers.webhooks.InvalidRoute(
                connector, [f"the connection {found.name!r} is one of {found.connector_id}"]
            )
        return found.connection_id

    def _told(self, made: "triggers.webhooks.Made") -> "triggers.webhooks.NewRoute":
        from interlock import triggers

        origin = self._parts.settings.connect.url
        address = None if made.token is None else Secret(f"{origin}{PATH}{made.token.reveal()}")
        return triggers.webhooks.NewRoute(route=made.route, address=address, secret=made.secret)


class Triggers:
    """Triggers of this tenant: what is done about events that are reported on routes, or asked for by polls."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def list(
        self, *, route_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> "Sequence[triggers.webhooks.Trigger]":
        """Triggers in the order of their ids, of one route or of all and of polls; go on with `cursor` = the last one. Raises
        RequestError."""
        found = await self._parts.webhooks.routes.list_triggers(
            self._caller, route_id=route_id, cursor=cursor, limit=limit
        )
        if route_id is not None:
            return found
        polls = await self._parts.timed.polls.list_made(self._caller, cursor=cursor, limit=limit)
        both = [*found, *map(_trigger, polls)]
        return sorted(both, key=lambda each: each.trigger_id)[:limit]

    @checked
    async def fetch(self, trigger_id: str) -> "triggers.webhooks.Trigger":
        """One trigger. Raises TriggerNotFound."""
        routes, polls = self._parts.webhooks.routes, self._parts.timed.polls
        return await self._done(trigger_id, routes.fetch_trigger(self._caller, trigger_id), polls.fetch)

    @checked
    async def enable(self, trigger_id: str, *, retry: "sdk.Retries | None" = None) -> "triggers.webhooks.Trigger":
        """Have its events handled; a poll is resumed. `retry`: their work is tried so often from now on. Raises
        TriggerNotFound, RequestError."""
        routes, polls = self._parts.webhooks.routes, self._parts.timed.polls
        to_trigger = routes.enable(self._caller, trigger_id, enabled=True, retry=retry)
        return await self._done(trigger_id, to_trigger, partial(polls.resume, retry=retry))

    @checked
    async def disable(self, trigger_id: str) -> "triggers.webhooks.Trigger":
        """Have its events handled no more; deliveries are kept all the same, and a poll is paused. Raises TriggerNotFound."""
        routes, polls = self._parts.webhooks.routes, self._parts.timed.polls
        return await self._done(trigger_id, routes.enable(self._caller, trigger_id, enabled=False), polls.pause)

    @checked
    async def test(
        self, trigger_id: str, content: bytes, *, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, JSON]:
        """What would become of a delivery with this body: whether it is for the trigger, and what its handler would get, or why
        nothing, as of a trigger that is disabled. Nothing is handed on. Raises TriggerNotFound."""
        if (await self.fetch(trigger_id)).delivery == "poll":
            return {"fits": False, "why": "it is a poll: its events are asked for, and not delivered"}
        return await self._parts.webhooks.deliveries.try_out(self._caller, trigger_id, content, headers=headers or {})

    async def _done(
        self,
        trigger_id: str,
        to_trigger: "Awaitable[triggers.webhooks.Trigger]",
        to_poll: "Callable[[Caller, str], Awaitable[triggers.polling.Poll]]",
    ) -> "triggers.webhooks.Trigger":
        """The one or the other, by which of them has the id. Raises TriggerNotFound."""
        from interlock import triggers

        try:
            return await to_trigger
        except triggers.webhooks.TriggerNotFound:
            if not is_id(trigger_id, "trg"):  # a poll is found by its name, too
                raise
            try:
                return _trigger(await to_poll(self._caller, trigger_id))
            except triggers.polling.PollNotFound:
                pass
            raise


def _trigger(poll: "triggers.polling.Poll") -> "triggers.webhooks.Trigger":
    """A poll as one of all triggers."""
    from interlock import dispatch, triggers

    return triggers.webhooks.Trigger(
        trigger_id=poll.trigger_id,
        tenant_id=poll.tenant_id,
        connector_id=poll.connector_id,
        name=poll.trigger,
        connection_id=poll.connection,
        handler=poll.handler,
        config=poll.config,
        enabled=poll.state is triggers.polling.State.ACTIVE,
        priority=dispatch.Priority[poll.priority.upper()].value,
        created_by=poll.created_by,
        created_at=poll.created_at,
        updated_at=poll.updated_at,
        retry=poll.retry,
        delivery="poll",
    )


class Deliveries:
    """Deliveries to routes of this tenant, which are kept for 30 days."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def list(
        self,
        *,
        route_id: str | None = None,
        states: "Sequence[triggers.webhooks.DeliveryState]" = (),
        cursor: str | None = None,
        limit: int = 50,
    ) -> "Sequence[triggers.webhooks.Delivery]":
        """Deliveries, newest first, without their bodies; go on with `cursor` = the last delivery id. Raises RequestError."""
        return await self._parts.webhooks.deliveries.list_deliveries(
            self._caller, route_id=route_id, states=states, cursor=cursor, limit=limit
        )

    @checked
    async def fetch(self, delivery_id: str) -> "triggers.webhooks.Delivery":
        """One delivery, with its body if it was accepted. Raises DeliveryNotFound."""
        return await self._parts.webhooks.deliveries.fetch(self._caller, delivery_id)

    @checked
    async def replay(self, delivery_id: str) -> "triggers.webhooks.Delivery":
        """Have an accepted delivery handled once more, in new runs, as its route's triggers stand now; or an item of a poll that
        did not fit its trigger, if it does by now. Raises DeliveryNotFound, NotReplayable, RouteNotFound, PollNotFound."""
        found = await self._parts.webhooks.deliveries.fetch(self._caller, delivery_id)
        if found.route_id.startswith("trg_") and found.body is not None:
            return await self._parts.timed.poller.replay(found)
        return await self._parts.webhooks.deliveries.replay(self._caller, delivery_id)
