"""Outgoing events: what happens to runs and connections, told to whoever subscribed, as Standard Webhooks, and in Python.

Owns: subscriptions and their signing keys, the order in which events are told, messages and their tries. Refuses: what the
events mean (the rooms that they happen in say that), sockets (messages leave through the plane), SQL. Invariants: an event is
written with the change that it tells of, or not at all; whoever follows a cursor misses none; a message is sent by one process
at a time, as the same bytes under the same id; no secret is in it.
"""

from interlock.subscriptions.checks import checked
from interlock.subscriptions.delivering import EACH, LANE, Courier
from interlock.subscriptions.errors import (
    CursorExpired,
    InvalidSubscription,
    MessageNotFound,
    SubscriptionChanged,
    SubscriptionNotFound,
)
from interlock.subscriptions.feed import KEPT, Feed
from interlock.subscriptions.keys import Keys
from interlock.subscriptions.model import (
    BROKEN,
    CONNECTION_TYPES,
    DISABLED,
    RUN_TYPES,
    TEST,
    TYPES,
    Event,
    Message,
    MessageState,
    Scheme,
    State,
    Subscription,
    Wish,
    binding,
)
from interlock.subscriptions.ports import Records, Span, Untold
from interlock.subscriptions.signing import headers
from interlock.subscriptions.subscriptions import OVERLAP, Keyed, Subscriptions
from interlock.subscriptions.tries import MOST_TRIES, WAITS, Sent

__all__ = [
    "BROKEN",
    "CONNECTION_TYPES",
    "DISABLED",
    "EACH",
    "KEPT",
    "LANE",
    "MOST_TRIES",
    "OVERLAP",
    "RUN_TYPES",
    "TEST",
    "TYPES",
    "WAITS",
    "Courier",
    "CursorExpired",
    "Event",
    "Feed",
    "InvalidSubscription",
    "Keyed",
    "Keys",
    "Message",
    "MessageNotFound",
    "MessageState",
    "Records",
    "Scheme",
    "Sent",
    "Span",
    "State",
    "Subscription",
    "SubscriptionChanged",
    "SubscriptionNotFound",
    "Subscriptions",
    "Untold",
    "Wish",
    "binding",
    "checked",
    "headers",
]
