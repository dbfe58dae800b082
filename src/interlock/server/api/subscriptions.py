"""Places that are told of events. The secret that messages are signed with is told once."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.responses import Response

from interlock import subscriptions
from interlock.server.api.access import Operating, Whole
from interlock.server.api.answers import Cursor, Key, Limit, id_of, paged, raw, told
from interlock.server.api.shapes import Moment, page, shape

router: Final = APIRouter(tags=["subscriptions"])

_SUBSCRIPTION: dict[str, Any] = {
    **dict.fromkeys(("subscription_id", "tenant_id", "url", "created_by"), (str, ...)),
    **dict.fromkeys(("types", "capabilities", "connections", "public_keys"), (list[str], ...)),
    "signature": (subscriptions.Scheme, ...),
    "state": (subscriptions.State, ...),
    "reason": (str | None, ...),
    **dict.fromkeys(("overlap_until", "failing_since"), (Moment | None, ...)),
    "revision": (int, ...),
    **dict.fromkeys(("created_at", "updated_at"), (Moment, ...)),
}
_KEYED: dict[str, Any] = {
    **_SUBSCRIPTION,
    "secret": (str | None, Field(description="For the receiver, unless it checks by the public keys. Told this once.")),
}
_MESSAGE: dict[str, Any] = {
    **dict.fromkeys(("message_id", "subscription_id", "type"), (str, ...)),
    "state": (subscriptions.MessageState, ...),
    "tries": (int, ...),
    "status": (int | None, ...),
    "error": (str | None, ...),
    **dict.fromkeys(("due_at", "finished_at"), (Moment | None, ...)),
    "created_at": (Moment, ...),
}
Subscription = create_model("Subscription", __doc__="A place that is told of events.", **_SUBSCRIPTION)
Keyed = create_model("KeyedSubscription", __doc__="A subscription, and what its receiver checks with.", **_KEYED)
Message = create_model("Message", __doc__="An event on its way to a subscription.", **_MESSAGE)
_DELETED: dict[str, Any] = {"subscription_id": (str, ...), "deleted": (bool, ...)}
Deleted = create_model("DeletedSubscription", **_DELETED)
Sent = shape(subscriptions.Sent)

SubscriptionId = Annotated[str, id_of("subscription", "sub")]
MessageId = Annotated[str, id_of("message", "msg")]


class Subscribe(BaseModel):
    """Where events are sent to, and which."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://hooks.example.com/interlock", "types": ["run.*"]}]},
    )
    url: str
    types: list[str]
    capabilities: list[str] = []
    connections: list[str] = []
    signature: Literal["v1", "v1a"] = "v1"


class PauseSubscription(BaseModel):
    """Why, for whoever looks at it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "moving the receiver"}]})
    reason: str = ""


class RotateKey(BaseModel):
    """For how many seconds the key before signs, too."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": 43200}]})
    overlap: Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)] = 86_400.0


@router.get(
    "/subscriptions", response_model=page("subscriptions", Subscription), summary="List subscriptions, newest first"
)
async def list_subscriptions(il: Whole, cursor: Cursor = None, limit: Limit = 100) -> Response:
    found = await il.subscriptions.list(cursor=cursor, limit=limit)
    return paged("subscriptions", found, limit=limit, key="subscription_id")


@router.post("/subscriptions", response_model=Keyed, summary="Have events from now on sent to an address")
async def create(il: Operating, asked: Subscribe, key: Key = None) -> Response:
    """Workers send them. The secret that they are signed with is told once."""
    given = asked.model_dump()
    return _keyed(await il.subscriptions.create(given.pop("url"), given.pop("types"), **given, idempotency_key=key))


@router.get("/subscriptions/{subscription_id}", response_model=Subscription, summary="One subscription")
async def fetch(il: Whole, subscription_id: SubscriptionId) -> Response:
    return told(await il.subscriptions.fetch(subscription_id))


@router.post("/subscriptions/{subscription_id}/test", response_model=Sent, summary="Send a message now")
async def test(il: Operating, subscription_id: SubscriptionId) -> Response:
    """Of the type `subscription.test`. What came of it is told: a status, or why there is none."""
    return told(await il.subscriptions.test(subscription_id))


@router.post("/subscriptions/{subscription_id}/pause", response_model=Subscription, summary="Let what happens wait")
async def pause(il: Operating, subscription_id: SubscriptionId, asked: PauseSubscription) -> Response:
    """For two weeks at most."""
    return told(await il.subscriptions.pause(subscription_id, reason=asked.reason))


@router.post("/subscriptions/{subscription_id}/resume", response_model=Subscription, summary="Go on with what waits")
async def resume(il: Operating, subscription_id: SubscriptionId) -> Response:
    """Also with one that is disabled."""
    return told(await il.subscriptions.resume(subscription_id))


@router.post("/subscriptions/{subscription_id}/rotate", response_model=Keyed, summary="Sign with a new key")
async def rotate(il: Operating, subscription_id: SubscriptionId, asked: RotateKey) -> Response:
    """And for a while with the present one, too."""
    return _keyed(await il.subscriptions.rotate(subscription_id, overlap=asked.overlap))


@router.post("/subscriptions/{subscription_id}/delete", response_model=Deleted, summary="Tell nothing more there")
async def delete(il: Operating, subscription_id: SubscriptionId) -> Response:
    """What waits is dropped."""
    await il.subscriptions.delete(subscription_id)
    return raw({"subscription_id": subscription_id, "deleted": True})


@router.get(
    "/subscriptions/{subscription_id}/deliveries",
    response_model=page("deliveries", Message),
    summary="What was and is to be sent, newest first",
)
async def deliveries(
    il: Whole,
    subscription_id: SubscriptionId,
    state: Annotated[subscriptions.MessageState | None, Query(description="Only in this state.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    found = await il.subscriptions.deliveries(subscription_id, state=state, cursor=cursor, limit=limit)
    return paged("deliveries", found, limit=limit, key="message_id")


@router.post("/messages/{message_id}/redeliver", response_model=Message, summary="Send a message once more")
async def redeliver(il: Operating, message_id: MessageId) -> Response:
    """One that was delivered or has failed, from the first try on; or one that waits for its next try, now. Under the same id."""
    return told(await il.subscriptions.redeliver(message_id))


def _keyed(made: subscriptions.Keyed) -> Response:
    secret = None if made.secret is None else made.secret.reveal()
    return raw({**made.subscription.record(), "secret": secret})
