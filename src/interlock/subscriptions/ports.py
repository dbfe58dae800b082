"""What this room asks of others: where its records are kept."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interlock.kernel import JSON, Tx
from interlock.subscriptions.model import Event, Message, MessageState, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """An event that was written with the change that it tells of, and has no place in its tenant's order yet. `subject_id` is
    what it happened to, `seq` its number in that one's own history."""

    subject_id: str
    seq: int
    tenant_id: str
    type: str
    event_id: str
    at: datetime
    capability: str | None
    connection_id: str | None
    data: Mapping[str, JSON]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which of a tenant's events are there: all after `kept_after`, up to `head`."""

    kept_after: int
    head: int


class Records(Protocol):
    """Where subscriptions, events and messages are kept. Every method runs in the caller's transaction."""

    def insert(self, tx: Tx, subscription: Subscription) -> None:
        """Add a subscription."""
        ...

    def replace(self, tx: Tx, before: Subscription, after: Subscription) -> bool:
        """Change a subscription that still is `before`: its revision, and the key that it is sealed under. False, and nothing
        written, if it is not."""
        ...

    def delete(self, tx: Tx, tenant_id: str, subscription_id: str) -> bool:
        """Keep the tenant's subscription no more, and drop what waits for it; False if there is none."""
        ...

    def note_failing(self, tx: Tx, subscription_id: str, since: datetime | None) -> None:
        """A try failed at that moment, the first one since something was taken; or, with None, something was taken."""
        ...

    def find(self, tx: Tx, tenant_id: str, subscription_id: str) -> Subscription | None:
        """The tenant's subscription."""
        ...

    def list_subscriptions(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[Subscription]:
        """The tenant's subscriptions, newest first, after the subscription id `cursor`."""
        ...

    def list_hearing(self, tx: Tx, tenant_ids: Collection[str]) -> Sequence[Subscription]:
        """Subscriptions of these tenants that are not disabled."""
        ...

    def list_disabled(self, tx: Tx, *, limit: int) -> Sequence[Subscription]:
        """Subscriptions of any tenant that are disabled."""
        ...

    def listen(self, tx: Tx, tenant_id: str, *, until: datetime) -> None:
        """From now on keep the tenant's events for whoever reads them, at least until then."""
        ...

    def is_untold(self, tx: Tx) -> bool:
        """Whether there is anything that `take_untold` would give."""
        ...

    def take_untold(self, tx: Tx, *, limit: int) -> Sequence[Untold]:
        """Take events that have no place yet, in the order of each one's history. Whoever takes some holds off everybody else
        until the transaction ends."""
        ...

    def tell(self, tx: Tx, untold: Untold) -> None:
        """Add an event that no other room keeps, if anybody listens."""
        ...

    def head(self, tx: Tx) -> int:
        """The last place that was given out, in any tenant."""
        ...

    def add_events(self, tx: Tx, events: Sequence[Event]) -> None:
        """Add events in their places."""
        ...

    def span(self, tx: Tx, tenant_id: str) -> Span:
        """Which of the tenant's events are there."""
        ...

    def list_events(self, tx: Tx, tenant_id: str, *, after: int, limit: int) -> Sequence[Event]:
        """The tenant's events after that place, in order."""
        ...

    def find_event(self, tx: Tx, tenant_id: str, position: int) -> Event | None:
        """The tenant's event in that place, while it is kept."""
        ...

    def add_messages(self, tx: Tx, messages: Sequence[Message]) -> None:
        """Add messages."""
        ...

    def claim(self, tx: Tx, message: Message, *, at: datetime, until: datetime) -> bool:
        """Have the message to oneself until then, if it is pending, has had as many tries, and is nobody's at that moment."""
        ...

    def settle(self, tx: Tx, claimed: Message, after: Message) -> bool:
        """Change a message that still is claimed as `claimed`; False, and nothing written, if it is not."""
        ...

    def again(self, tx: Tx, message: Message, *, at: datetime) -> bool:
        """Have a message that has ended sent anew, from the first try on, and the last try of one that waits made again now, so
        that it counts once; False if it is due."""
        ...

    def find_message(self, tx: Tx, tenant_id: str, message_id: str) -> Message | None:
        """The tenant's message."""
        ...

    def list_messages(
        self,
        tx: Tx,
        tenant_id: str,
        subscription_id: str,
        *,
        state: MessageState | None,
        cursor: str | None,
        limit: int,
    ) -> Sequence[Message]:
        """The messages of the tenant's subscription, newest first, after the message id `cursor`."""
        ...

    def list_due(
        self, tx: Tx, now: datetime, *, each: int, limit: int, subscription_id: str | None = None
    ) -> Sequence[Message]:
        """Messages of any tenant that are due, of subscriptions that are active, and that nobody has, the longest due first;
        at most `each` of a subscription, of which those that somebody has take their part. All subscriptions, or that one."""
        ...
