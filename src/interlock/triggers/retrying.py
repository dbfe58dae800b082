"""How the work of a trigger is tried again: what is declared, in the words of who does it. Pure."""

from datetime import datetime, timedelta

from interlock import dispatch, sdk


def policy(said: sdk.Retries) -> dispatch.RetryPolicy:
    """How often, and the pauses in between. Raises RequestError."""
    return dispatch.RetryPolicy(
        max_attempts=said.max_attempts, base_seconds=said.base_seconds, cap_seconds=said.cap_seconds
    )


def deadline(said: sdk.Retries, now: datetime) -> datetime | None:
    """From when on work that is admitted now is not begun any more."""
    return None if said.deadline_seconds is None else now + timedelta(seconds=said.deadline_seconds)
