from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import approvals, kernel
from interlock.approvals import ALLOWED, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BINDING = approvals.Binding(
    tenant_id="acme",
    actor="agent",
    capability_id="github.issue.create",
    manifest_digest="sha256:aa",
    connection_id="con_1",
    service="https://api.github.com",
    subject="octo",
    environment="dev",
    targets=("local.http", "remote.http"),
    input_digest="sha256:bb",
    role="approver",
)
APPROVAL = approvals.Approval(
    approval_id="apr_1",
    tenant_id="acme",
    run_id="run_1",
    binding=BINDING,
    summary={"text": "create an issue"},
    state=State.PENDING,
    requester="agent",
    role="approver",
    reviewer=None,
    reason=None,
    edited_input=None,
    created_at=NOW,
    expires_at=NOW + timedelta(hours=24),
    decided_at=None,
    spent_at=None,
    spent_by=None,
)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant_id": "other"},
        {"actor": "other"},
        {"capability_id": "github.issue.update"},
        {"manifest_digest": "sha256:ab"},
        {"connection_id": None},
        {"subject": None},
        {"targets": ("remote.http", "local.http")},
        {"targets": ()},
        {"input_digest": "sha256:bc"},
    ],
)
def test_any_difference_makes_another_binding(change: dict[str, Any]):
    assert replace(BINDING, **change).digest != BINDING.digest
    assert replace(BINDING).digest == BINDING.digest == kernel.digest(BINDING.to_json())


def test_the_machine_knows_every_state_and_final_states_are_final():
    assert set(ALLOWED) == set(State)
    assert {state for state, after in ALLOWED.items() if not after} == {
        State.DENIED,
        State.EXPIRED,
        State.CANCELLED,
    }
    assert {state for state, after in ALLOWED.items() if State.SPENT in after} == {State.APPROVED}
    assert ALLOWED[State.SPENT] == {State.APPROVED}, "given back, and nothing else"


@given(st.sampled_from(list(State)), st.integers(-5, 5))
def test_time_ends_only_what_is_open(state: State, seconds: int):
    shown = replace(APPROVAL, state=state).as_of(APPROVAL.expires_at + timedelta(seconds=seconds))
    open_ = state in (State.PENDING, State.APPROVED)
    assert shown.state is (State.EXPIRED if open_ and seconds >= 0 else state)


def test_json_says_who_decided_and_when():
    shape = replace(APPROVAL, reviewer="agent", decided_at=NOW, state=State.APPROVED).to_json()
    assert (shape["self_reviewed"], shape["state"], shape["decided_at"]) == (
        True,
        "approved",
        "2026-01-01T00:00:00.000000Z",
    )
    assert APPROVAL.to_json()["self_reviewed"] is False
    assert shape["binding_digest"] == BINDING.digest
    kernel.canonical(shape)
