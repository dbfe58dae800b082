"""Addresses on which services report, what is done about their events, and what came. An address and a secret that are made here
are told once; a secret of the service's comes in, and never goes out."""

from base64 import b64encode
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, SecretStr, create_model
from starlette.responses import Response

from interlock import dispatch, sdk, triggers
from interlock.kernel import JSON, RequestError, Secret
from interlock.server.api.access import Operating, Whole
from interlock.server.api.answers import Cursor, Key, Limit, id_of, paged, raw, read_base64, told
from interlock.server.api.dispatch import Priority
from interlock.server.api.shapes import Moment, Table, page

router: Final = APIRouter(tags=["webhooks"])

_ROUTE: dict[str, Any] = {
    **dict.fromkeys(("route_id", "tenant_id", "connector_id", "created_by"), (str, ...)),
    **dict.fromkeys(("app_route_id", "connection_id"), (str | None, ...)),
    "topology": (triggers.webhooks.Topology, ...),
    "resolution": (dict[str, str | None], ...),
    "verification": (Table, ...),
    "has_secret": (bool, ...),
    **dict.fromkeys(("former_until", "awaiting_until"), (Moment | None, ...)),
    **dict.fromkeys(("dedupe_seconds", "revision"), (int, ...)),
    "state": (triggers.webhooks.RouteState, ...),
    **dict.fromkeys(("created_at", "updated_at"), (Moment, ...)),
}
_ONCE: Final = "Told this once."
_MADE: dict[str, Any] = {
    **_ROUTE,
    "address": (str | None, Field(description=f"For the service. {_ONCE}")),
    "secret": (str | None, Field(description=f"For the service, if it was made here. {_ONCE}")),
}
_TRIGGER: dict[str, Any] = {
    **dict.fromkeys(("trigger_id", "tenant_id", "connector_id", "name", "handler", "created_by"), (str, ...)),
    "delivery": (Literal["webhook", "poll"], ...),
    "connection_id": (str | None, ...),
    "config": (Table, ...),
    "state": (Literal["enabled", "disabled"], ...),
    "priority": (int, ...),
    "retry": (Table, Field(description="How often its work is tried.")),
    **dict.fromkeys(("created_at", "updated_at"), (Moment, ...)),
}
_DELIVERY: dict[str, Any] = {
    **dict.fromkeys(("delivery_id", "tenant_id", "route_id", "connector_id"), (str, ...)),
    **dict.fromkeys(("external_id", "digest", "reason"), (str | None, ...)),
    "state": (triggers.webhooks.DeliveryState, ...),
    "received_at": (Moment, ...),
    "size": (int, ...),
    "headers": (dict[str, str], ...),
}
_CONTENT: dict[str, Any] = {
    **_DELIVERY,
    "body": (str | None, Field(description="As text; null unless it was accepted.")),
    "base64": (str | None, Field(description="The body, where it is no text.")),
}
_TRIED: dict[str, Any] = {
    "fits": (bool, Field(description="Whether the event is for the trigger.")),
    "payload": (Any, Field(default=None, description="What its handler would get.")),
    "why": (str | None, Field(default=None, description="Why it would get nothing.")),
}
Route = create_model("Route", __doc__="An address on which a service reports.", **_ROUTE)
MadeRoute = create_model("MadeRoute", __doc__="A route, and what opens it.", **_MADE)
Trigger = create_model("Trigger", __doc__="What is done about an event that a connector declares.", **_TRIGGER)
Delivery = create_model(
    "Delivery",
    __doc__="A request that came to a route, and what became of it.",
    __config__={"extra": "allow"},
    **_DELIVERY,
)
WholeDelivery = create_model(
    "WholeDelivery", __doc__="A delivery with its body.", __config__={"extra": "allow"}, **_CONTENT
)
Tried = create_model("Tried", __doc__="What would become of a delivery.", **_TRIED)

RouteId = Annotated[str, id_of("route", "rte")]
TriggerId = Annotated[str, id_of("trigger", "trg")]
DeliveryId = Annotated[str, id_of("delivery", "dlv")]
OnRoute = Annotated[str | None, Query(max_length=200, description="Only of this route.")]


class On(BaseModel):
    """An event of the connector, and the handler that it is for."""

    model_config = ConfigDict(extra="forbid")
    name: str
    handler: str
    config: Table = {}
    priority: Priority = "normal"
    retry: sdk.Retries | None = None


class CreateRoute(BaseModel):
    """A service, and what is done about its events. Without a `secret` one is made, or awaited from the service."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"connector": "github", "on": [{"name": "issues", "handler": "triage"}]}]},
    )
    connector: str
    on: list[On] = []
    connection: str | None = None
    secret: SecretStr | None = None
    verification: Table | None = None
    unsigned: bool = False
    dedupe_seconds: int | None = None
    resolve: list[str] = []


class RotateRoute(BaseModel):
    """The service's new secret, or none to have one made; the present one counts as well for `overlap` seconds."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": 7200}]})
    secret: SecretStr | None = None
    overlap: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 86_400.0


class EnableTrigger(BaseModel):
    """How often its work is tried from now on, if not as before."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"retry": {"max_attempts": 3}}]})
    retry: sdk.Retries | None = None


class TryOut(BaseModel):
    """A delivery's headers and its body, as `text` or `base64`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": '{"action": "opened"}', "headers": {"X-GitHub-Event": "issues"}}]},
    )
    text: str | None = None
    base64: str | None = None
    headers: dict[str, str] = {}


@router.get("/routes", response_model=page("routes", Route), summary="List routes, newest first")
async def list_routes(
    il: Whole,
    connector: Annotated[str | None, Query(max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    found = await il.routes.list(connector=connector, cursor=cursor, limit=limit)
    return paged("routes", found, limit=limit, key="route_id")


@router.post("/routes", response_model=MadeRoute, summary="Make an address for a service's webhooks")
async def create_route(il: Operating, asked: CreateRoute, key: Key = None) -> Response:
    """The address holds a token. It is told once, as is a secret that is made here."""
    wanted = [
        triggers.webhooks.Wanted(
            name=each.name,
            handler=each.handler,
            config=each.config,
            priority=dispatch.Priority[each.priority.upper()],
            retry=each.retry,
        )
        for each in asked.on
    ]
    given = asked.model_dump(exclude={"connector", "on", "secret"})
    secret = _secret(asked.secret)
    return _made(await il.routes.create(asked.connector, on=wanted, secret=secret, idempotency_key=key, **given))


@router.get("/routes/{route_id}", response_model=Route, summary="One route")
async def fetch_route(il: Whole, route_id: RouteId) -> Response:
    """Neither its address nor its secret is told again."""
    return told(await il.routes.fetch(route_id))


@router.post("/routes/{route_id}/rotate", response_model=MadeRoute, summary="Give a route another secret")
async def rotate_route(il: Operating, route_id: RouteId, asked: RotateRoute) -> Response:
    return _made(await il.routes.rotate(route_id, secret=_secret(asked.secret), overlap=asked.overlap))


@router.post("/routes/{route_id}/disable", response_model=Route, summary="Take no deliveries for now")
async def disable_route(il: Operating, route_id: RouteId) -> Response:
    return told(await il.routes.disable(route_id))


@router.post("/routes/{route_id}/enable", response_model=Route, summary="Take deliveries again")
async def enable_route(il: Operating, route_id: RouteId) -> Response:
    return told(await il.routes.enable(route_id))


@router.post("/routes/{route_id}/revoke", response_model=Route, summary="End a route for good, and erase its secret")
async def revoke_route(il: Operating, route_id: RouteId) -> Response:
    return told(await il.routes.revoke(route_id))


@router.get("/triggers", response_model=page("triggers", Trigger), summary="List triggers: of routes, and polls")
async def list_triggers(il: Whole, route_id: OnRoute = None, cursor: Cursor = None, limit: Limit = 50) -> Response:
    found = await il.triggers.list(route_id=route_id, cursor=cursor, limit=limit)
    return paged("triggers", found, limit=limit, key="trigger_id")


@router.get("/triggers/{trigger_id}", response_model=Trigger, summary="One trigger")
async def fetch_trigger(il: Whole, trigger_id: TriggerId) -> Response:
    return told(await il.triggers.fetch(trigger_id))


@router.post("/triggers/{trigger_id}/enable", response_model=Trigger, summary="Have its events handled again")
async def enable_trigger(il: Operating, trigger_id: TriggerId, asked: EnableTrigger) -> Response:
    return told(await il.triggers.enable(trigger_id, retry=asked.retry))


@router.post("/triggers/{trigger_id}/disable", response_model=Trigger, summary="Have its events handled no more")
async def disable_trigger(il: Operating, trigger_id: TriggerId) -> Response:
    """What comes is kept all the same."""
    return told(await il.triggers.disable(trigger_id))


@router.post("/triggers/{trigger_id}/test", response_model=Tried, summary="What would become of a delivery")
async def try_out(il: Operating, trigger_id: TriggerId, asked: TryOut) -> Response:
    """Nothing is proven, kept or handed on."""
    if (asked.text is None) == (asked.base64 is None):
        raise RequestError("give the body once: as text or as base64")
    content = read_base64(asked.base64) if asked.text is None else asked.text.encode()
    return raw(dict(await il.triggers.test(trigger_id, content or b"", headers=asked.headers)))


@router.get("/deliveries", response_model=page("deliveries", Delivery), summary="List what came, newest first")
async def list_deliveries(
    il: Whole,
    route_id: OnRoute = None,
    state: Annotated[
        list[triggers.webhooks.DeliveryState] | None, Query(max_length=20, description="Only in these states.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """All that was accepted is kept for 30 days, of the rest the newest of each route."""
    found = await il.deliveries.list(route_id=route_id, states=state or (), cursor=cursor, limit=limit)
    return paged("deliveries", found, limit=limit, key="delivery_id")


@router.get("/deliveries/{delivery_id}", response_model=WholeDelivery, summary="One delivery, with its body")
async def fetch_delivery(il: Whole, delivery_id: DeliveryId) -> Response:
    found = await il.deliveries.fetch(delivery_id)
    return raw({**found.record(), **_content(found.body)})


@router.post("/deliveries/{delivery_id}/replay", response_model=Delivery, summary="Have a delivery handled once more")
async def replay_delivery(il: Operating, delivery_id: DeliveryId) -> Response:
    """In new runs, as its route's triggers stand now."""
    return told(await il.deliveries.replay(delivery_id))


def _made(made: triggers.webhooks.NewRoute) -> Response:
    address = None if made.address is None else made.address.reveal()
    secret = None if made.secret is None else made.secret.reveal()
    return raw({**made.route.record(), "address": address, "secret": secret})


def _secret(given: SecretStr | None) -> Secret | None:
    return None if given is None else Secret(given.get_secret_value())


def _content(body: bytes | None) -> dict[str, JSON]:
    try:
        return {"body": None if body is None else body.decode(), "base64": None}
    except UnicodeDecodeError:
        return {"body": None, "base64": b64encode(body or b"").decode()}
