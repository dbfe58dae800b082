"""The order in which a tenant's events are told. Whoever reads them goes on where they stopped, and misses none.

A change writes its events to the outbox in its own transaction, where they have no order: of two that are being committed,
nobody knows which comes first. One at a time takes them out and gives them places, so that a place that can be seen has
nothing before it that cannot be seen yet.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime, timedelta
from typing import Final

from interlock.kernel import Caller, Clock, IdSource, RequestError, Store, Tx
from interlock.subscriptions.errors import CursorExpired
from interlock.subscriptions.model import Event, Message, MessageState, Subscription, Wish
from interlock.subscriptions.ports import Records, Untold

KEPT: Final = timedelta(days=14)
"""How long events and messages are kept."""

LISTENS: Final = timedelta(days=7)
"""How long a tenant's events are written after somebody asked for them."""

_BATCH: Final = 500
_PAGE: Final = 200
_LOOK: Final = 0.5
"""Seconds between two looks when nothing happens."""


class Feed:
    """A store's events, in order."""

    def __init__(self, store: Store, records: Records, *, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._ids = ids

    async def relay(self) -> int:
        """Give all events that wait for it their places, and make the messages that tell of them. How many events that were.
        Raises StoreError."""
        relayed = 0
        while await self._store.read(self._records.is_untold):
            taken = await self._store.write(self._relay)
            relayed += taken
            if taken < _BATCH:
                break
        return relayed

    def _relay(self, tx: Tx) -> int:
        records, untold = self._records, self._records.take_untold(tx, limit=_BATCH)
        if not untold:  # somebody else was quicker
            return 0
        events = [_placed(each, place) for place, each in enumerate(untold, records.head(tx) + 1)]
        records.add_events(tx, events)
        hearing: defaultdict[str, list[Subscription]] = defaultdict(list)
        for each in records.list_hearing(tx, {event.tenant_id for event in events}):
            hearing[each.tenant_id].append(each)
        if messages := list(self._messages(events, hearing)):
            records.add_messages(tx, messages)
        return len(events)

    def _messages(self, events: Iterable[Event], hearing: defaultdict[str, list[Subscription]]) -> Iterable[Message]:
        now = self._clock.now()
        for event in events:
            for subscription in hearing[event.tenant_id]:
                if subscription.wish.covers(event):
                    yield self._message(event, subscription, now)

    def _message(self, event: Event, subscription: Subscription, now: datetime) -> Message:
        return Message(
            message_id=self._ids.new("msg"),
            tenant_id=event.tenant_id,
            subscription_id=subscription.subscription_id,
            position=event.position,
            type=event.type,
            state=MessageState.PENDING,
            tries=0,
            due_at=now,
            claimed_until=None,
            status=None,
            error=None,
            created_at=now,
            finished_at=None,
        )

    async def cursor(self, caller: Caller) -> str:
        """Where the tenant's events stand now: what happens from now on comes after it. Raises StoreError."""
        await self._listen(caller)
        await self.relay()
        return str((await self._store.read(lambda tx: self._records.span(tx, caller.tenant_id))).head)

    async def follow(self, caller: Caller, wish: Wish, *, after: str | None = None) -> AsyncGenerator[Event]:
        """The tenant's events that are wanted, for ever: after a cursor, else from now on. Raises CursorExpired, RequestError for
        what is no cursor, StoreError."""
        place = _read(await self.cursor(caller) if after is None else after)
        listened = self._clock.monotonic() if after is None else None
        while True:
            if listened is None or self._clock.monotonic() - listened > LISTENS.total_seconds() / 7:
                await self._listen(caller)
                listened = self._clock.monotonic()
            span, events = await self._store.read(
                lambda tx, place=place: (
                    self._records.span(tx, caller.tenant_id),
                    self._records.list_events(tx, caller.tenant_id, after=place, limit=_PAGE),
                )
            )
            if place < span.kept_after:
                raise CursorExpired(f"events after {place} are no longer kept: the oldest is {span.kept_after + 1}")
            for event in events:
                if wish.covers(event):
                    yield event
                place = event.position
            if not events:
                place = max(place, span.head)  # what others did may go without anything being missed
                if not await self.relay():
                    await self._clock.sleep(_LOOK)

    async def _listen(self, caller: Caller) -> None:
        until = self._clock.now() + LISTENS
        await self._store.write(lambda tx: self._records.listen(tx, caller.tenant_id, until=until))


def _placed(untold: Untold, position: int) -> Event:
    return Event(
        position=position,
        event_id=untold.event_id,
        tenant_id=untold.tenant_id,
        type=untold.type,
        at=untold.at,
        capability=untold.capability,
        connection_id=untold.connection_id,
        data={"event_id": untold.event_id, "seq": untold.seq, **untold.data},
    )


def _read(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise RequestError("this is no cursor: give one that an event had")
    return int(cursor)
