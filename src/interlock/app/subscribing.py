"""`il.subscriptions`: who is told what happens."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.app.once import once
from interlock.kernel import Caller, RequestError

if TYPE_CHECKING:  # and late in the functions: most commands need none of them
    from interlock import subscriptions
    from interlock.app.assembly import Parts

_DAY = 86_400.0


class Subscriptions:
    """Places that are told of this tenant's events, as Standard Webhooks."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller
        self._desk = parts.outgoing.desk

    @checked
    async def create(
        self,
        url: str,
        types: Sequence[str],
        *,
        capabilities: Sequence[str] = (),
        connections: Sequence[str] = (),
        signature: str = "v1",
        idempotency_key: str | None = None,
    ) -> "subscriptions.Keyed":
        """Have events from now on sent to `url`: of these types (`run.completed`, `run.*`, `connection.broken`, `*`), and, where
        that is said, only about these capabilities (globs) or connections (ids or names). Messages are signed by HMAC (`v1`),
        with the `secret` that is told here and never again, or by Ed25519 (`v1a`), which receivers check with the subscription's
        `public_keys`. Nothing is made twice under an `idempotency_key`.
        Raises AlreadyMade, IdempotencyConflict, InvalidSubscription, ConnectionNotFound."""
        from interlock import subscriptions

        if signature not in set(subscriptions.Scheme):
            raise RequestError(f"signature must be v1 (HMAC) or v1a (Ed25519), not {signature[:20]!r}")
        wish = await self._wish(types, capabilities, connections)
        asked = {
            "url": url,
            "types": types,
            "capabilities": capabilities,
            "connections": connections,
            "signature": signature,
        }
        beside = once(self._parts, self._caller, "subscription", idempotency_key, asked)
        return await self._desk.create(self._caller, url, wish, scheme=subscriptions.Scheme(signature), beside=beside)

    @checked
    async def list(self, *, cursor: str | None = None, limit: int = 100) -> "Sequence[subscriptions.Subscription]":
        """Subscriptions of this tenant, newest first; go on with `cursor` = the last one's id."""
        return await self._desk.list_subscriptions(self._caller, cursor=cursor, limit=limit)

    @checked
    async def fetch(self, subscription_id: str) -> "subscriptions.Subscription":
        """One subscription. Raises SubscriptionNotFound."""
        return await self._desk.fetch(self._caller, subscription_id)

    @checked
    async def pause(self, subscription_id: str, *, reason: str = "") -> "subscriptions.Subscription":
        """Let what happens wait, for two weeks at most. Raises SubscriptionNotFound, SubscriptionChanged."""
        return await self._desk.pause(self._caller, subscription_id, reason=reason)

    @checked
    async def resume(self, subscription_id: str) -> "subscriptions.Subscription":
        """Go on with one that is paused or disabled, first with what waits. Raises as `pause`."""
        return await self._desk.resume(self._caller, subscription_id)

    @checked
    async def rotate(self, subscription_id: str, *, overlap: float = _DAY) -> "subscriptions.Keyed":
        """Sign with a new key, and for that many seconds, at most a week, with the present one, too. Raises as `pause`, and
        RequestError."""
        return await self._desk.rotate(self._caller, subscription_id, overlap=timedelta(seconds=overlap))

    @checked
    async def delete(self, subscription_id: str) -> None:
        """Tell nothing more there; what waits is dropped. Raises SubscriptionNotFound."""
        await self._desk.delete(self._caller, subscription_id)

    @checked
    async def test(self, subscription_id: str) -> "subscriptions.Sent":
        """Send a message of the type `subscription.test` now, and say what came of it. Raises SubscriptionNotFound."""
        return await self._desk.test(self._caller, subscription_id)

    @checked
    async def deliveries(
        self,
        subscription_id: str,
        *,
        state: "subscriptions.MessageState | None" = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> "Sequence[subscriptions.Message]":
        """The messages of a subscription, newest first; go on with `cursor` = the last one's id. Raises SubscriptionNotFound."""
        return await self._desk.list_messages(self._caller, subscription_id, state=state, cursor=cursor, limit=limit)

    @checked
    async def redeliver(self, message_id: str) -> "subscriptions.Message":
        """Send a message once more that was delivered or has failed, or now that waits for its next try, under the same id.
        Raises MessageNotFound, SubscriptionNotFound."""
        return await self._desk.redeliver(self._caller, message_id)

    @checked
    async def cursor(self) -> str:
        """Where this tenant's events stand: `events(after=…)` then tells all that happens from now on."""
        return await self._parts.outgoing.feed.cursor(self._caller)

    async def follow(
        self, types: Sequence[str], capabilities: Sequence[str], connections: Sequence[str], after: str | None
    ) -> "AsyncGenerator[subscriptions.Event]":
        """As `Interlock.events`."""
        from contextlib import aclosing

        from interlock import subscriptions

        wish = subscriptions.checked(await self._wish(types, capabilities, connections))
        async with aclosing(self._parts.outgoing.feed.follow(self._caller, wish, after=after)) as events:
            async for event in events:
                yield event

    async def _wish(
        self, types: Sequence[str], capabilities: Sequence[str], named: Sequence[str]
    ) -> "subscriptions.Wish":
        from interlock import subscriptions

        rooms = self._parts.wiring.connections
        found = [await rooms.fetch_connection(self._caller, each) for each in named]
        return subscriptions.Wish(
            types=tuple(types),
            capabilities=tuple(capabilities),
            connections=tuple(each.connection_id for each in found),
        )
