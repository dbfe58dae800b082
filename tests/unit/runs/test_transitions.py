"""The machine of runs: what may follow what, and what is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.runs import State
from interlock.runs.transitions import ALLOWED, FINAL, IllegalTransition, check

STATES = st.sampled_from(State)


@given(before=STATES, after=STATES)
def test_only_what_is_drawn_is_allowed(before: State, after: State):
    if (before is after and before not in FINAL) or after in ALLOWED[before]:
        check(before, after)
    else:
        with pytest.raises(IllegalTransition):
            check(before, after)


@given(state=STATES)
def test_what_has_ended_is_written_to_and_ends_no_second_time(state: State):
    check(state, state, moves=False)
    if state in FINAL:
        with pytest.raises(IllegalTransition):
            check(state, state)


def test_every_state_is_drawn_and_can_be_reached():
    assert set(ALLOWED) == set(State)
    reached, new = {State.ACCEPTED, State.DENIED, State.SHED}, {State.ACCEPTED}
    while new:
        new = {after for before in new for after in ALLOWED[before]} - reached
        reached |= new
    assert reached == set(State)


@given(walk=st.lists(STATES, max_size=30))
def test_a_walk_leaves_a_final_state_only_by_replay(walk: list[State]):
    state = State.ACCEPTED
    for wanted in walk:
        if wanted not in ALLOWED[state]:
            continue
        if state in FINAL:
            assert state is State.DEAD
            assert wanted in (State.QUEUED, State.CANCELLED)
        state = wanted


def test_nothing_is_sent_from_a_held_run_without_running():
    """Held and waiting runs complete only by way of a decision: running, or a person who settles."""
    assert State.COMPLETED not in ALLOWED[State.HELD]
    assert State.COMPLETED not in ALLOWED[State.ACCEPTED]
