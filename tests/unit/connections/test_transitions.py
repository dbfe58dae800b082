"""The machine of a connection's states, over every pair of states."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_connections import CONNECTION, NOW
from interlock import connections
from interlock.connections import transitions
from interlock.connections.model import Connection, Refresh, State

LATER = NOW + timedelta(minutes=5)


def connection(state: State) -> Connection:
    return replace(CONNECTION, state=state, reason="before", revision=7)


@pytest.mark.parametrize("target", State)
@pytest.mark.parametrize("state", State)
def test_every_step_is_either_drawn_or_refused(state: State, target: State):
    before = connection(state)
    if target in transitions.ALLOWED[state]:
        after = transitions.move(before, target, at=LATER, reason="because")
        broken = LATER if target in transitions.BROKEN else None
        kept = before.refresh if target in transitions.USABLE else Refresh(fence=before.refresh.fence + 1)
        assert after == replace(
            before, state=target, reason="because", broken_at=broken, refresh=kept, revision=8, updated_at=LATER
        )
    else:
        with pytest.raises(connections.InvalidTransition) as caught:
            transitions.move(before, target, at=LATER)
        assert state in caught.value.message
        assert target in caught.value.message


@pytest.mark.parametrize("state", State)
def test_a_new_token_connects_from_every_state(state: State):
    after = transitions.connect(connection(state), at=LATER)
    assert after.state is State.CONNECTED
    assert after.reason is None
    assert after.revision > 7


@pytest.mark.parametrize("state", [state for state in State if state is not State.REVOKED])
def test_every_state_can_be_revoked(state: State):
    assert State.REVOKED in transitions.ALLOWED[state]


@given(st.lists(st.sampled_from(State)))
def test_what_a_person_has_to_mend_never_serves_again_by_itself(steps: list[State]):
    here, over = connection(State.CONNECTED), False
    for step in steps:
        if step in transitions.ALLOWED[here.state]:
            here = transitions.move(here, step, at=LATER)
        over = over or here.state in (State.REAUTH_REQUIRED, State.REVOKED)
        assert not (over and here.state in transitions.USABLE)


def test_a_connection_is_broken_from_its_first_fault_to_its_mending():
    degraded = transitions.move(connection(State.CONNECTED), State.DEGRADED, at=NOW)
    worse = transitions.move(degraded, State.REAUTH_REQUIRED, at=LATER)
    assert (degraded.broken_at, worse.broken_at) == (NOW, NOW)
    assert transitions.connect(worse, at=LATER).broken_at is None
    assert transitions.move(worse, State.REVOKED, at=LATER).broken_at is None
