"""Subscribing, and everything that a person does about a subscription."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from interlock.kernel import Caller, Clock, IdSource, RequestError, Secret, Store, Tx, canonical, is_id, to_rfc3339
from interlock.subscriptions import checks
from interlock.subscriptions.delivering import Courier
from interlock.subscriptions.errors import (
    InvalidSubscription,
    MessageNotFound,
    SubscriptionChanged,
    SubscriptionNotFound,
)
from interlock.subscriptions.feed import LISTENS
from interlock.subscriptions.keys import Keys, Made
from interlock.subscriptions.model import TEST, Message, MessageState, Scheme, State, Subscription, Wish
from interlock.subscriptions.ports import Records
from interlock.subscriptions.tries import Sent

MAX_PAGE: Final = 500
MAX_SUBSCRIPTIONS: Final = 100
"""Of one tenant: each of its events is held against all of them."""

OVERLAP: Final = timedelta(days=1)
"""How long the key before signs beside a new one, unless that is said."""

MAX_OVERLAP: Final = timedelta(days=7)
_TRIES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """A subscription with the key that its receiver needs, which nobody is shown again: `secret` is None where the receiver
    checks with the `public_keys` of the subscription."""

    subscription: Subscription
    secret: Secret | None


class Subscriptions:
    """A tenant's subscriptions. Everything raises StoreError besides what it names."""

    def __init__(
        self, store: Store, records: Records, keys: Keys, courier: Courier, *, clock: Clock, ids: IdSource
    ) -> None:
        self._store = store
        self._records = records
        self._keys = keys
        self._courier = courier
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        caller: Caller,
        url: str,
        wish: Wish,
        *,
        scheme: Scheme = Scheme.HMAC,
        beside: Callable[[Tx, str], None] | None = None,
    ) -> Keyed:
        """Have events from now on sent to an address. `beside` is told its id in the transaction that makes it. Raises
        InvalidSubscription."""
        checks.check_url(url)
        wish = checks.checked(wish)
        subscription_id, now = self._ids.new("sub"), self._clock.now()
        made = await self._keys.make(scheme, subscription_id=subscription_id, tenant_id=caller.tenant_id)
        subscription = Subscription(
            subscription_id=subscription_id,
            tenant_id=caller.tenant_id,
            url=url,
            wish=wish,
            scheme=scheme,
            state=State.ACTIVE,
            reason=None,
            sealed=made.sealed,
            public_keys=made.public_keys,
            overlap_until=None,
            failing_since=None,
            revision=1,
            created_by=caller.actor,
            created_at=now,
            updated_at=now,
        )

        def write(tx: Tx) -> None:
            if beside is not None:
                beside(tx, subscription_id)
            there = self._records.list_subscriptions(tx, caller.tenant_id, cursor=None, limit=MAX_SUBSCRIPTIONS)
            if len(there) == MAX_SUBSCRIPTIONS:
                raise InvalidSubscription(
                    [f"this tenant has {MAX_SUBSCRIPTIONS} subscriptions already, the most there can be"]
                )
            self._records.listen(tx, caller.tenant_id, until=now + LISTENS)
            self._records.insert(tx, subscription)

        await self._store.write(write)
        return _keyed(subscription, made)

    async def list_subscriptions(
        self, caller: Caller, *, cursor: str | None = None, limit: int = 100
    ) -> Sequence[Subscription]:
        """The tenant's subscriptions, newest first; at most MAX_PAGE. Raises RequestError for a cursor that is none."""
        _check_cursor(cursor, "sub")
        size = max(1, min(limit, MAX_PAGE))
        return await self._store.read(
            lambda tx: self._records.list_subscriptions(tx, caller.tenant_id, cursor=cursor, limit=size)
        )

    async def fetch(self, caller: Caller, subscription_id: str) -> Subscription:
        """One subscription. Raises SubscriptionNotFound."""
        return await self._store.read(lambda tx: self._look_up(tx, caller, subscription_id))

    async def pause(self, caller: Caller, subscription_id: str, *, reason: str = "") -> Subscription:
        """Let what happens wait, until `resume`; what waits longer than events are kept is not told. One that is disabled stays
        so. Raises SubscriptionNotFound, SubscriptionChanged."""

        def change(before: Subscription) -> Subscription:
            if before.state is State.DISABLED:
                return before
            return replace(before, state=State.PAUSED, reason=reason or None)

        return await self._change(caller, subscription_id, change)

    async def resume(self, caller: Caller, subscription_id: str) -> Subscription:
        """Go on, also with one that is disabled, and begin with what waits. Raises as `pause`."""

        def change(before: Subscription) -> Subscription:
            return replace(before, state=State.ACTIVE, reason=None, failing_since=None)

        return await self._change(caller, subscription_id, change)

    async def rotate(self, caller: Caller, subscription_id: str, *, overlap: timedelta = OVERLAP) -> Keyed:
        """Sign with a new key, and for the overlap with the present one, too. Raises SubscriptionNotFound, SubscriptionChanged,
        RequestError for an overlap of more than a week."""
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            raise RequestError(f"the overlap is at least 0 seconds, and at most {MAX_OVERLAP.days} days")
        now, before = self._clock.now(), await self.fetch(caller, subscription_id)
        made = await self._keys.make(
            before.scheme,
            subscription_id=subscription_id,
            tenant_id=caller.tenant_id,
            before=await self._keys.open(before, at=now) if overlap else (),
        )
        after = replace(
            before,
            sealed=made.sealed,
            public_keys=made.public_keys,
            overlap_until=now + overlap if overlap else None,
            revision=before.revision + 1,
            updated_at=now,
        )
        if not await self._store.write(lambda tx: self._records.replace(tx, before, after)):
            raise SubscriptionChanged(f"{subscription_id} was changed by others; it has its key from before")
        return _keyed(after, made)

    async def delete(self, caller: Caller, subscription_id: str) -> None:
        """Tell nothing more there; what waits is dropped. Raises SubscriptionNotFound."""

        def write(tx: Tx) -> None:
            if not self._records.delete(tx, caller.tenant_id, subscription_id):
                raise _not_found(subscription_id)

        await self._store.write(write)

    async def test(self, caller: Caller, subscription_id: str) -> Sent:
        """Send one message of the type `subscription.test` now, in whatever state the subscription is, and say how that ended.
        Raises SubscriptionNotFound."""
        subscription = await self.fetch(caller, subscription_id)
        message_id = self._ids.new("msg")
        body = canonical(
            {
                "type": TEST,
                "timestamp": to_rfc3339(self._clock.now()),
                "data": {"subscription_id": subscription_id, "asked_by": caller.actor},
            }
        )
        return await self._courier.post(subscription, message_id=message_id, body=body)

    async def list_messages(
        self,
        caller: Caller,
        subscription_id: str,
        *,
        state: MessageState | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Sequence[Message]:
        """What was and is to be sent, newest first; at most MAX_PAGE. Raises SubscriptionNotFound, and RequestError for a cursor
        that is none."""
        _check_cursor(cursor, "msg")
        size = max(1, min(limit, MAX_PAGE))

        def read(tx: Tx) -> Sequence[Message]:
            self._look_up(tx, caller, subscription_id)
            return self._records.list_messages(
                tx, caller.tenant_id, subscription_id, state=state, cursor=cursor, limit=size
            )

        return await self._store.read(read)

    async def redeliver(self, caller: Caller, message_id: str) -> Message:
        """Have a message that was delivered or has failed sent again, under the same id and from the first try on; one that waits
        for its next try is tried now, which counts as none of its tries. Raises MessageNotFound, and SubscriptionNotFound if its
        subscription was deleted."""
        now = self._clock.now()

        def write(tx: Tx) -> Message:
            message = self._records.find_message(tx, caller.tenant_id, message_id)
            if message is None:
                raise MessageNotFound(f"no message {message_id[:60]!r} in this tenant")
            self._look_up(tx, caller, message.subscription_id)
            self._records.again(tx, message, at=now)
            found = self._records.find_message(tx, caller.tenant_id, message_id)
            assert found is not None
            return found

        return await self._store.write(write)

    def _look_up(self, tx: Tx, caller: Caller, subscription_id: str) -> Subscription:
        found = self._records.find(tx, caller.tenant_id, subscription_id) if is_id(subscription_id, "sub") else None
        if found is None:
            raise _not_found(subscription_id)
        return found

    async def _change(
        self,
        caller: Caller,
        subscription_id: str,
        change: Callable[[Subscription], Subscription],
    ) -> Subscription:
        now = self._clock.now()

        def write(tx: Tx) -> Subscription | None:
            before = self._look_up(tx, caller, subscription_id)
            after = change(before)
            if after == before:
                return before
            after = replace(after, revision=before.revision + 1, updated_at=now)
            return after if self._records.replace(tx, before, after) else None

        for _ in range(_TRIES):
            if (changed := await self._store.write(write)) is not None:
                return changed
        raise SubscriptionChanged(f"{subscription_id} is being changed by others")


def _keyed(subscription: Subscription, made: Made) -> Keyed:
    return Keyed(subscription=subscription, secret=None if subscription.public_keys else made.key)


def _not_found(subscription_id: str) -> SubscriptionNotFound:
    return SubscriptionNotFound(f"no subscription {subscription_id[:60]!r} in this tenant")


def _check_cursor(cursor: str | None, prefix: str) -> None:
    if cursor is not None and not is_id(cursor, prefix):
        raise RequestError("the cursor is not an id: send back the one from the last page")
