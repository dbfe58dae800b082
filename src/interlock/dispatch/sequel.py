"""What follows an attempt that failed: another one, a dead letter, or a person's look. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from interlock import runs
from interlock.dispatch.errors import WorkerStopped
from interlock.dispatch.model import Due
from interlock.kernel import JSON, InterlockError, Retry, StoreError, to_rfc3339

EXHAUSTED: Final = "exhausted"
"""Why work is a dead letter that was tried as often as it may be."""

DEADLINE_PASSED: Final = runs.DeadlinePassed.code

STORE_FAILED: Final = "store_failed"
"""Why work waits in which the store failed."""

MOST_UNCOUNTED: Final = 100
"""At so many attempts of one run a store that fails takes no try. Later ones are counted, so that a disk on which all but the
outcome fits does not have a service asked for ever."""

BACKOFF: Final = "backoff"
"""Why work waits that failed."""

PAUSED_BY_SERVICE: Final = "paused_by_service"
"""Why work waits whose service named a time."""

_OURS: Final = (runs.AttemptLost, runs.OwnershipLapsed, runs.OutcomeUnsaved, runs.StaleRun)
"""What comes to a handler by the worker's own trouble with the store, or since recovery was quicker than a worker that stood
still. It says nothing against the work, and what the handler had asked for is left to recovery: asked again for the same step, it
is answered with what became of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """Where a run goes. `due_at` is set if it is handed out again; `due` has the counts from then on."""

    state: runs.State
    reason: str
    due: Due
    due_at: datetime | None = None
    why: str


def after(
    due: Due,
    error: InterlockError,
    *,
    now: datetime,
    cancelled: bool = False,
    store_failed: bool = False,
    attempts: int = 1,
    uniform: Callable[[float, float], float] | None = None,
) -> Sequel:
    """What follows this error, of an attempt that changed nothing that a further one would do again; `cancelled`: somebody has
    stopped it; `store_failed`: the store was not there meanwhile; `attempts`: how many the run has had.

    A service that names a time takes no try: it asks for a pause, and says nothing against the work. Nor does what a store that
    failed kept the work from, which waits the longer the more attempts there were.
    """
    if cancelled:
        return Sequel(state=runs.State.CANCELLED, reason=error.code, due=due, why=error.code)
    if isinstance(error, WorkerStopped):
        return _again(due, error, now, 0.0, why=error.code)
    wait = due.retry.backoff.delay if uniform is None else partial(due.retry.backoff.delay, uniform=uniform)
    ours = isinstance(error, _OURS) or (store_failed and isinstance(error, StoreError))
    if ours and store_failed and attempts <= MOST_UNCOUNTED:
        return _again(due, error, now, wait(attempts), why=STORE_FAILED)
    if error.retry is not Retry.LATER and not ours:
        return _dead(due, error.code)
    if error.retry_after is not None:
        delay = wait(1, at_least=error.retry_after)
        return _again(due, error, now, delay, why=PAUSED_BY_SERVICE)
    tried = replace(due, tries=due.tries + 1)
    if tried.tries >= due.retry.max_attempts:
        return _dead(tried, EXHAUSTED)
    return _again(tried, error, now, wait(tried.tries), why=BACKOFF)


def told(following: Sequel) -> tuple[str, dict[str, JSON]]:
    """The event that says what follows, and when."""
    due, at = following.due, following.due_at
    return "dispatch.decided", {
        "why": following.why,
        "due_at": None if at is None else to_rfc3339(at),
        "tries": due.tries,
        "max_attempts": due.retry.max_attempts,
    }


def is_over(due: Due, now: datetime) -> bool:
    """Whether the time has passed in which the work was to be begun."""
    return due.deadline_at is not None and now >= due.deadline_at


def _again(due: Due, error: InterlockError, now: datetime, delay: float, *, why: str) -> Sequel:
    at = now + timedelta(seconds=delay)
    if is_over(due, at):
        return _dead(due, DEADLINE_PASSED)
    return Sequel(state=runs.State.RETRY_SCHEDULED, reason=error.code, due=due, due_at=at, why=why)


def _dead(due: Due, reason: str) -> Sequel:
    return Sequel(state=runs.State.DEAD, reason=reason, due=due, why=reason)
