"""The subscriptions of a server."""

from collections.abc import Sequence
from typing import cast

from interlock import subscriptions
from interlock.client.accounts import CHECKING
from interlock.client.link import Link, members, part, reading, rows, value
from interlock.client.webhooks import SEALED_THERE
from interlock.kernel import JSON, Secret

_DAY = 86_400.0


class Subscriptions:
    """As `app.Subscriptions`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def create(
        self,
        url: str,
        types: Sequence[str],
        *,
        capabilities: Sequence[str] = (),
        connections: Sequence[str] = (),
        signature: str = "v1",
        idempotency_key: str | None = None,
    ) -> subscriptions.Keyed:
        """As `app.Subscriptions.create`."""
        asked = {
            "url": url,
            "types": types,
            "capabilities": capabilities,
            "connections": connections,
            "signature": signature,
        }
        return _keyed(await self._link.post("/subscriptions", asked, key=idempotency_key))

    async def list(self, *, cursor: str | None = None, limit: int = 100) -> Sequence[subscriptions.Subscription]:
        """As `app.Subscriptions.list`."""
        told = await self._link.get("/subscriptions", cursor=cursor, limit=limit)
        return [_subscription(each) for each in rows(told, "subscriptions")]

    async def fetch(self, subscription_id: str) -> subscriptions.Subscription:
        """As `app.Subscriptions.fetch`."""
        return _subscription(await self._link.get(f"/subscriptions/{part(subscription_id)}"))

    async def pause(self, subscription_id: str, *, reason: str = "") -> subscriptions.Subscription:
        """As `app.Subscriptions.pause`."""
        return _subscription(await self._link.post(f"/subscriptions/{part(subscription_id)}/pause", {"reason": reason}))

    async def resume(self, subscription_id: str) -> subscriptions.Subscription:
        """As `app.Subscriptions.resume`."""
        return _subscription(await self._link.post(f"/subscriptions/{part(subscription_id)}/resume", {}))

    async def rotate(self, subscription_id: str, *, overlap: float = _DAY) -> subscriptions.Keyed:
        """As `app.Subscriptions.rotate`."""
        return _keyed(await self._link.post(f"/subscriptions/{part(subscription_id)}/rotate", {"overlap": overlap}))

    async def delete(self, subscription_id: str) -> None:
        """As `app.Subscriptions.delete`."""
        await self._link.post(f"/subscriptions/{part(subscription_id)}/delete", {})

    async def test(self, subscription_id: str) -> subscriptions.Sent:
        """As `app.Subscriptions.test`."""
        told = await self._link.post(f"/subscriptions/{part(subscription_id)}/test", {}, seconds=CHECKING)
        return value(subscriptions.Sent, told)

    async def deliveries(
        self,
        subscription_id: str,
        *,
        state: subscriptions.MessageState | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Sequence[subscriptions.Message]:
        """As `app.Subscriptions.deliveries`."""
        path = f"/subscriptions/{part(subscription_id)}/deliveries"
        told = await self._link.get(path, state=state, cursor=cursor, limit=limit)
        return [_message(each) for each in rows(told, "deliveries")]

    async def redeliver(self, message_id: str) -> subscriptions.Message:
        """As `app.Subscriptions.redeliver`."""
        return _message(await self._link.post(f"/messages/{part(message_id)}/redeliver", {}))


def _subscription(told: JSON) -> subscriptions.Subscription:
    """With nothing of its key. Raises NotInterlock."""
    facts = members(told)
    with reading("subscription"):
        wished = {name: tuple(cast("list[str]", facts[name])) for name in ("types", "capabilities", "connections")}
        facts |= {"wish": subscriptions.Wish(**wished), "scheme": facts["signature"], "sealed": SEALED_THERE}
    return value(subscriptions.Subscription, facts)


def _keyed(told: JSON) -> subscriptions.Keyed:
    secret = members(told).get("secret")
    return subscriptions.Keyed(subscription=_subscription(told), secret=None if secret is None else Secret(str(secret)))


def _message(told: JSON) -> subscriptions.Message:
    """Without what only who sends it needs: tenant, place and claim. Raises NotInterlock."""
    facts = members(told)
    with reading("message"):
        facts |= {"tenant_id": "", "position": 0, "claimed_until": None}
        facts["due_at"] = facts["due_at"] or facts["created_at"]
    return value(subscriptions.Message, facts)
