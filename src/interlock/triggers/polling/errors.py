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

import difflib
from collections.abc import Iterable

from interlock.kernel import ConflictError, NotFoundError, ProviderError, RequestError, Retry


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
        near = difflib.get_close_matches(ref[:200], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"no poll {ref[:200]!r} in this tenant{hint}")


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
