"""What can go wrong with a subscription."""

from collections.abc import Iterable

from interlock.kernel import ConflictError, NotFoundError, RequestError


class SubscriptionNotFound(NotFoundError):
    """No such subscription in this tenant."""

    code = "subscription_not_found"
    next_step = "`interlock subscriptions list` shows the subscriptions of this tenant."


class MessageNotFound(NotFoundError):
    """No such message in this tenant, or it was kept long enough."""

    code = "message_not_found"
    next_step = "`interlock subscriptions deliveries SUBSCRIPTION` shows the messages that are kept."


class InvalidSubscription(RequestError):
    """A subscription that could not work. `details.problems` lists all of it."""

    code = "invalid_subscription"
    next_step = "Correct what the message names; docs/outgoing-events.md has the types of events."

    def __init__(self, problems: Iterable[str]) -> None:
        found = list(problems)
        super().__init__(f"this is no subscription: {'; '.join(found)}", details={"problems": found})


class SubscriptionChanged(ConflictError):
    """Others changed the subscription at the same time."""

    code = "subscription_changed"
    next_step = "Look at it again, and repeat the change if it is still wanted."


class CursorExpired(RequestError):
    """Events after this cursor are no longer kept, so some might be missing."""

    code = "cursor_expired"
    next_step = (
        "Read how things stand now (`interlock runs list`, `interlock connections list`), then follow without a cursor."
    )
