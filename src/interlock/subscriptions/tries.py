"""What a try came to, and when the next one follows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from interlock.kernel import Backoff
from interlock.subscriptions.model import Message, MessageState

WAITS: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from one try to the next, as Standard Webhooks recommends; the first one is made at once."""

MOST_TRIES: Final = len(WAITS) + 1
PATIENCE: Final = timedelta(days=3)
"""A place that has taken nothing for so long, when a message has failed for good, is told no more."""

GONE: Final = "gone"
FAILING: Final = "failing"
_LONGEST: Final = 86_400.0
_JITTER: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How a try ended: the answer's status, or in our words why there is none. `retry_after` is in seconds."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None

    @classmethod
    def answered(cls, status: int, headers: Mapping[str, str], *, at: datetime) -> "Sent":
        """From an answer; its headers have names in lower case."""
        if 200 <= status < 300:
            return cls(status=status)
        said = "it answered that it is gone" if status == 410 else f"it answered {status}"
        return cls(status=status, error=said, retry_after=read_wait(headers.get("retry-after", ""), at=at))

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more."""
        return self.status == 410


def read_wait(text: str, *, at: datetime) -> float | None:
    """Seconds that a Retry-After asks for (a number, or a date): at most a day. None for what is neither."""
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _LONGEST)
    try:
        until = parsedate_to_datetime(text)
        return min(max((until - at).total_seconds(), 0.0), _LONGEST)
    except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
        return None


def after(message: Message, sent: Sent, *, at: datetime) -> Message:
    """The message once that try has ended."""
    done = replace(message, tries=message.tries + 1, claimed_until=None, status=sent.status, error=sent.error)
    if sent.taken:
        return replace(done, state=MessageState.DELIVERED, finished_at=at)
    if sent.is_gone or done.tries >= MOST_TRIES:
        return replace(done, state=MessageState.FAILED, finished_at=at)
    wait = float(WAITS[done.tries - 1])
    # A tenth more at most, so that what failed together does not come back together.
    wait += Backoff(base=wait * _JITTER, cap=wait * _JITTER).delay(1)
    return replace(done, due_at=at + timedelta(seconds=max(wait, sent.retry_after or 0.0)))


def ended_by(message: Message, sent: Sent, *, failing_since: datetime | None, at: datetime) -> str | None:
    """Why the subscription is to be disabled, now that the message stands like this; None if it is not."""
    if sent.is_gone:
        return GONE
    if message.state is MessageState.FAILED and failing_since is not None and failing_since <= at - PATIENCE:
        return FAILING
    return None
