"""Sending messages: each once at a time, and again until it is taken or there is no more use."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import anyio

from interlock import connections, dispatch, plane
from interlock.kernel import UNTRACED, Clock, Counts, IdSource, InterlockError, Store, Tracing, Tx, to_micros
from interlock.subscriptions import signing, tries
from interlock.subscriptions.feed import Feed
from interlock.subscriptions.keys import Keys
from interlock.subscriptions.model import DISABLED, Event, Message, MessageState, State, Subscription
from interlock.subscriptions.ports import Records, Untold
from interlock.subscriptions.tries import Sent

_log = logging.getLogger(__name__)

LANE: Final = "outgoing"
"""Where messages wait in the queue."""

EACH: Final = 4
"""Messages of one subscription that are under way at once, so that a slow place keeps nobody else waiting."""

_MOST_DUE: Final = 200
_LOOK: Final = 1.0
"""Seconds between two looks at what other processes wrote, and at what is due and in no queue."""

_APART: Final = 0.02
"""Seconds between two looks however much is written here."""

_CLAIM: Final = timedelta(seconds=60)
_MOST: Final = 40.0
"""Seconds for one try, which the plane ends after 20: well within the claim."""
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A message that is one's own for a while, with all that is needed to send it."""

    message: Message
    subscription: Subscription
    event: Event | None
    cause: str | None
    """What led to the event, as a `traceparent`."""


class Courier:
    """Sends what is due: a `dispatch.Executor`. Any number of processes may do so."""

    def __init__(
        self,
        store: Store,
        records: Records,
        feed: Feed,
        keys: Keys,
        errands: connections.Errands,
        queue: dispatch.Queue,
        *,
        clock: Clock,
        ids: IdSource,
        next_write: Callable[[], anyio.Event],
        counts: Counts,
        tracing: Tracing = UNTRACED,
        led_to: Callable[[Tx, Event], str | None] | None = None,
    ) -> None:
        """`next_write` gives what is set by the next commit through this process; `led_to` finds what led to an event, as a
        `traceparent`."""
        self._next_write = next_write
        self._counts = counts
        self._tracing = tracing
        self._led_to = led_to
        self._store = store
        self._records = records
        self._feed = feed
        self._keys = keys
        self._errands = errands
        self._queue = queue
        self._clock = clock
        self._ids = ids

    @property
    def lanes(self) -> frozenset[str]:
        """As `dispatch.Executor`."""
        return frozenset({LANE})

    async def keep(self) -> None:
        """For ever, have what happened told, and what is due handed to workers."""
        while True:
            written = self._next_write()  # before the look, which misses nothing then
            try:
                await self._feed.relay()
                due = await self.due()
                missing = await self._store.read(lambda tx, due=due: self._queue.find_missing(tx, due)) if due else ()
                if missing:
                    await self._store.write(lambda tx, missing=missing: self._queue.put(tx, missing))
            except Exception as error:  # noqa: BLE001 - the host's work must not end with this
                _log.warning("events will be told later: %s", error)
            await anyio.sleep(_APART)
            await self._until(written)

    async def _until(self, written: anyio.Event) -> None:
        """Something was written here, or it is time to look what others wrote."""
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                await self._clock.sleep(_LOOK)
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait)
            await written.wait()
            tasks.cancel_scope.cancel()

    async def due(self) -> Sequence[dispatch.Job]:
        """What is to be sent now, by whoever is handed it. Raises StoreError."""
        return await self._store.read(lambda tx: self._due(tx, limit=_MOST_DUE))

    def _due(self, tx: Tx, *, limit: int, subscription_id: str | None = None) -> Sequence[dispatch.Job]:
        now = self._clock.now()
        found = self._records.list_due(tx, now, each=EACH, limit=limit, subscription_id=subscription_id)
        return [
            dispatch.Job(
                work_id=each.message_id,
                tenant_id=each.tenant_id,
                lane=LANE,
                number=each.tries + 1,
                due_at=each.due_at,
                rank=to_micros(each.due_at) // 1000,
            )
            for each in found
        ]

    async def execute(self, job: dispatch.Job, seen: dispatch.Seen | None = None) -> None:
        """As `dispatch.Executor`: make that try at a message, if it is still to be made. Raises StoreError."""
        message = await self._store.read(lambda tx: self._records.find_message(tx, job.tenant_id, job.work_id))
        if message is not None and message.tries == job.number - 1:
            await self.send(message)

    async def send(self, message: Message) -> None:
        """Make the try that the message is due for, unless somebody else does. Raises StoreError."""
        load = await self._store.write(lambda tx: self._claim(tx, message))
        if load is None:
            return
        sent: Sent | None = None
        try:
            with anyio.move_on_after(_MOST):
                sent = await self._try(load)
        except anyio.get_cancelled_exc_class():
            # This process ends. Whether the receiver has it is unknown, so it is sent again, as the same message.
            with anyio.CancelScope(shield=True):
                freed = replace(load.message, claimed_until=None)
                await self._store.write(lambda tx: self._records.settle(tx, load.message, freed))
            raise
        ended = sent or Sent(error="it took too long")
        self._counts.add("outgoing_deliveries", result="delivered" if ended.taken else "not_delivered")
        with anyio.CancelScope(shield=True):
            await self._store.write(lambda tx: self._settle(tx, load, ended))

    def _claim(self, tx: Tx, message: Message) -> Load | None:
        records, now = self._records, self._clock.now()
        until = now + _CLAIM
        if not records.claim(tx, message, at=now, until=until):
            return None
        mine = replace(message, claimed_until=until)
        subscription = records.find(tx, message.tenant_id, message.subscription_id)
        if subscription is None or subscription.state is not State.ACTIVE:
            records.settle(tx, mine, message)  # since it was found to be due
            return None
        event = records.find_event(tx, message.tenant_id, message.position)
        cause = None if event is None or self._led_to is None else self._led_to(tx, event)
        return Load(message=mine, subscription=subscription, event=event, cause=cause)

    async def _try(self, load: Load) -> Sent:
        if load.event is None:
            return Sent(error="what it tells of is no longer kept")
        message, place = load.message, urlsplit(load.subscription.url)
        facts = {
            **dispatch.messaging("send", LANE, message.message_id),
            "http.request.method": "POST",
            "server.address": place.hostname,
            "server.port": place.port or 443,
            "interlock.event.type": message.type,
            "interlock.subscription.id": message.subscription_id,
            "interlock.try.number": message.tries + 1,
        }
        with self._tracing.span(f"deliver {message.type}", role="client", parent=load.cause, facts=facts) as span:
            sent = await self.post(load.subscription, message_id=message.message_id, body=load.event.body)
            span.note({"http.response.status_code": sent.status})
            if not sent.taken:
                span.fail(str(sent.status or "not_sent"))
            return sent

    async def post(self, subscription: Subscription, *, message_id: str, body: bytes) -> Sent:
        """Send a body to the subscription's place, once. Raises StoreError."""
        now = self._clock.now()
        try:
            keys = await self._keys.open(subscription, at=now)
            signed = signing.headers(keys, message_id=message_id, at=now, body=body)
            answer = await self._errands.ask(
                "POST",
                subscription.url,
                show=_nothing,
                secrets={},
                tenant_id=subscription.tenant_id,
                headers=(("content-type", "application/json"), *signed),
                body=body,
                subject_id=message_id,
            )
        except connections.ErrandFailed as failed:
            return Sent(error=failed.message[:_LONGEST])
        except InterlockError as unopened:
            return Sent(error=f"it could not be signed: {unopened.message}"[:_LONGEST])
        return Sent.answered(answer.status, answer.headers, at=now)

    def _settle(self, tx: Tx, load: Load, sent: Sent) -> None:
        records, now = self._records, self._clock.now()
        after = tries.after(load.message, sent, at=now)
        if load.event is None:
            after = replace(after, state=MessageState.FAILED, finished_at=now)
        if not records.settle(tx, load.message, after):
            return  # it took so long that somebody else has taken it over
        # The next one follows at once, for as long as there are some.
        self._queue.put(tx, self._due(tx, limit=EACH, subscription_id=after.subscription_id))
        if load.event is None:
            return
        subscription = records.find(tx, load.message.tenant_id, load.message.subscription_id)
        if subscription is None:
            return
        if sent.taken is (subscription.failing_since is not None):
            records.note_failing(tx, subscription.subscription_id, None if sent.taken else now)
        reason = tries.ended_by(after, sent, failing_since=subscription.failing_since, at=now)
        if reason is not None and subscription.state is not State.DISABLED:
            self._disable(tx, subscription, reason)

    def _disable(self, tx: Tx, subscription: Subscription, reason: str) -> None:
        now = self._clock.now()
        after = replace(
            subscription,
            state=State.DISABLED,
            reason=reason,
            revision=subscription.revision + 1,
            updated_at=now,
        )
        if self._records.replace(tx, subscription, after):
            self._records.tell(tx, _disabled(after, event_id=self._ids.new("evt")))
            _log.warning("%s is disabled: %s", subscription.subscription_id, reason)


def _nothing(_handle: str) -> tuple[plane.CredentialRef, ...]:
    return ()


def _disabled(subscription: Subscription, *, event_id: str) -> Untold:
    return Untold(
        subject_id=subscription.subscription_id,
        seq=subscription.revision,
        tenant_id=subscription.tenant_id,
        type=DISABLED,
        event_id=event_id,
        at=subscription.updated_at,
        capability=None,
        connection_id=None,
        data={
            "subscription_id": subscription.subscription_id,
            "url": subscription.url,
            "reason": subscription.reason,
            "failing_since": subscription.record()["failing_since"],
        },
    )
