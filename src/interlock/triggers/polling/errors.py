"""What goes wrong with polling.

RequestError
├── InvalidPoll         invalid_poll
├── NotFoundError
│   └── PollNotFound    poll_not_found
└── ConflictError
    ├── PollExists      poll_exists
    └── PollChanged     poll_changed
ProviderError
└── PollFailed          poll_failed
"""

from collections.abc import Iterable

from interlock.kernel import ConflictError, NotFoundError, ProviderError, RequestError, Retry, no_such


class InvalidPoll(RequestError):
    """The trigger cannot be polled as it is asked for."""

    code = "invalid_poll"
    next_step = (
        "Correct what the message names: `interlock connectors show CONNECTOR` shows its triggers and their config."
    )


class PollNotFound(NotFoundError):
    """No such poll in this tenant."""

    code = "poll_not_found"
    next_step = "`interlock polls list` shows the polls of this tenant."

    def __init__(self, ref: str, known: Iterable[str] = ()) -> None:
        super().__init__(no_such("poll", ref, known))


class PollExists(ConflictError):
    """A poll has that name already."""

    code = "poll_exists"
    next_step = "Choose another name, or delete the other one first: `interlock polls delete NAME`."


class PollChanged(ConflictError):
    """Others changed the poll meanwhile."""

    code = "poll_changed"
    retry = Retry.LATER
    next_step = "Look at it, and try again: `interlock polls show NAME`."


class PollFailed(ProviderError):
    """The service could not be asked what is new, or its answer tells nothing of it."""

    code = "poll_failed"
    next_step = "`interlock polls show NAME` shows what was asked and why it failed; it is asked again by itself."
