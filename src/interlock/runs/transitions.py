"""The state machine of runs and attempts, drawn once and enforced wherever a state changes."""

from collections.abc import Mapping

from interlock.kernel import InternalError
from interlock.runs.model import State

ALLOWED: Mapping[State, frozenset[State]] = {
    State.ACCEPTED: frozenset({State.RUNNING, State.QUEUED, State.HELD, State.CANCELLED, State.FAILED}),
    State.HELD: frozenset({State.RUNNING, State.QUEUED, State.DENIED, State.SHED, State.CANCELLED, State.FAILED}),
    State.QUEUED: frozenset({State.RUNNING, State.WAITING, State.CANCELLED, State.DEAD, State.FAILED, State.SHED}),
    State.RUNNING: frozenset(
        {
            State.RUNNING,
            State.HELD,
            State.WAITING,
            State.RETRY_SCHEDULED,
            State.COMPLETED,
            State.FAILED,
            State.CANCELLED,
            State.DEAD,
        }
    ),
    State.WAITING: frozenset(
        {State.WAITING, State.RUNNING, State.QUEUED, State.COMPLETED, State.FAILED, State.CANCELLED, State.DEAD}
    ),
    State.RETRY_SCHEDULED: frozenset(
        {State.QUEUED, State.RUNNING, State.WAITING, State.CANCELLED, State.DEAD, State.FAILED}
    ),
    State.DEAD: frozenset({State.QUEUED, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.DENIED: frozenset(),
    State.SHED: frozenset(),
}
"""From each state, the states that may follow. `dead` is the dead letter: it ends a run unless it is replayed."""

FINAL = frozenset(state for state, following in ALLOWED.items() if not following) | {State.DEAD}
"""States in which a run's chain is closed and its head signed."""


class IllegalTransition(InternalError):
    """Code tried to move a run in a way that the machine does not have."""

    code = "illegal_transition"


def check(before: State, after: State, *, moves: bool = True) -> None:
    """Raises IllegalTransition unless `after` may follow `before`. A run that has not ended may be moved to where it is; one that
    has may be written to as long as nothing `moves` it, and does not end twice."""
    stays = after is before and not (moves and before in FINAL)
    if not stays and after not in ALLOWED[before]:
        raise IllegalTransition(f"a run cannot go from {before} to {after}")
