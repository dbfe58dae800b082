"""Attaching: posture, grant, envelope and session go together, or nothing is attached."""

from datetime import timedelta
from typing import Any

import pytest

from interlock import plane
from interlock.testing import ManualClock

NOW = ManualClock().now()
LATER = NOW + timedelta(minutes=5)


def posture(**fields: Any) -> plane.TargetPosture:
    defaults: dict[str, Any] = {
        "target_id": "here",
        "kind": plane.PostureKind.INJECT_ENV,
        "audiences": ("api.acme.dev:443",),
        "handle_kinds": ("token",),
    }
    return plane.TargetPosture(**defaults | fields)


def grant(of: plane.TargetPosture, **fields: Any) -> plane.AttachGrant:
    defaults: dict[str, Any] = {
        "grant_id": "grant-1",
        "tenant_id": "default",
        "session_id": "session-1",
        "target_id": "here",
        "posture_digest": of.digest,
        "workspace": "workspace-1",
        "handles": ("lse_1", "lse_2"),
        "expires_at": LATER,
    }
    return plane.AttachGrant(**defaults | fields)


def handle(**fields: Any) -> plane.CredentialHandleRef:
    defaults: dict[str, Any] = {"handle": "lse_1", "kind": "token", "audience": "api.acme.dev:443"}
    return plane.CredentialHandleRef(**defaults | fields)


def envelope(*handles: plane.CredentialHandleRef, **fields: Any) -> plane.ExecutionIntentEnvelope:
    defaults: dict[str, Any] = {
        "intent_digest": "sha256:" + "a" * 64,
        "tenant_id": "default",
        "session_id": "session-1",
        "target_id": "here",
        "workspace": "workspace-1",
        "grant_id": "grant-1",
        "handles": handles,
        "deadline_at": LATER,
    }
    return plane.ExecutionIntentEnvelope(**defaults | fields)


def session(**fields: Any) -> plane.BoundarySessionDescriptor:
    defaults: dict[str, Any] = {
        "session_id": "session-1",
        "tenant_id": "default",
        "decision_digest": "sha256:" + "b" * 64,
        "state": plane.SessionState.OPEN,
        "workspace": "workspace-1",
        "expires_at": LATER,
    }
    return plane.BoundarySessionDescriptor(**defaults | fields)


def code(
    of: plane.TargetPosture | None = None,
    given: plane.AttachGrant | None = None,
    sent: plane.ExecutionIntentEnvelope | None = None,
    within: plane.BoundarySessionDescriptor | None = None,
) -> str | None:
    of = of or posture()
    failure = plane.authorize_attach(of, given or grant(of), sent or envelope(handle()), within or session(), now=NOW)
    assert failure is None or failure.failure_class is plane.FailureClass.ATTACH_REFUSED
    return None if failure is None else failure.code


def test_what_goes_together_may_attach():
    assert code() is None
    assert code(sent=envelope()) is None
    assert code(posture(kind=plane.PostureKind.PREINSTALLED), sent=envelope()) is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"tenant_id": "other"}, "tenant_mismatch"),
        ({"session_id": "other"}, "session_mismatch"),
        ({"target_id": "other"}, "target_mismatch"),
        ({"workspace": "other"}, "workspace_mismatch"),
        ({"grant_id": "other"}, "grant_mismatch"),
    ],
)
def test_an_envelope_for_something_else(changed: dict[str, str], expected: str):
    assert code(sent=envelope(handle(), **changed)) == expected


def test_a_grant_for_a_posture_that_was_changed_since():
    assert code(posture(max_handles=2), grant(posture())) == "posture_mismatch"


@pytest.mark.parametrize(
    ("given", "within", "expected"),
    [
        ({"expires_at": NOW}, {}, "grant_expired"),
        ({"revoked_at": NOW}, {}, "grant_revoked"),
        ({}, {"expires_at": NOW}, "session_expired"),
        ({}, {"state": plane.SessionState.CLOSED}, "session_closed"),
    ],
)
def test_what_is_over_serves_no_more(given: dict[str, Any], within: dict[str, Any], expected: str):
    assert code(given=grant(posture(), **given), within=session(**within)) == expected


@pytest.mark.parametrize("kind", sorted(set(plane.PostureKind) - plane.TAKES_HANDLES - {plane.PostureKind.FORBIDDEN}))
def test_a_target_with_its_own_credentials_takes_none(kind: plane.PostureKind):
    assert code(posture(kind=kind)) == "target_posture_forbids_credentials"
    assert code(posture(kind=kind), sent=envelope()) is None


def test_a_forbidden_target_takes_nothing_at_all():
    assert code(posture(kind=plane.PostureKind.FORBIDDEN), sent=envelope()) == "target_posture_forbidden"


@pytest.mark.parametrize(
    ("handles", "expected"),
    [
        ([handle(), handle(handle="lse_2")], "target_multi_handle_not_permitted"),
        ([handle(handle="lse_9")], "handle_not_allowed"),
        ([handle(kind="certificate")], "handle_kind_not_allowed"),
        ([handle(audience="api.other.dev:443")], "audience_not_allowed"),
        ([handle(expires_at=NOW)], "handle_expired"),
    ],
)
def test_credentials_that_were_not_allowed(handles: list[plane.CredentialHandleRef], expected: str):
    assert code(sent=envelope(*handles)) == expected


def test_empty_lists_allow_nothing():
    bare = posture(audiences=(), handle_kinds=())
    assert code(bare) == "handle_kind_not_allowed"
    assert code(posture(max_handles=0)) == "target_multi_handle_not_permitted"
    assert code(given=grant(posture(), handles=())) == "handle_not_allowed"
