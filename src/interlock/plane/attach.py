"""Attaching: which credentials a target may be given, by whom, in which session. Pure.

A target has a posture: how it comes by credentials, if at all. Whoever attaches shows a grant; the check demands that
posture, grant and envelope speak of the same target, session and workspace, and that the posture allows what is brought.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from interlock.plane.contract import Contract, Digest, Moment, Name
from interlock.plane.failures import Failure, FailureClass
from interlock.plane.intent import Intent
from interlock.plane.receipt import Fact


class SessionState(StrEnum):
    """Where a boundary session stands. `closed` is final."""

    OPEN = "open"
    ATTACHED = "attached"
    CLOSED = "closed"


class BoundarySessionDescriptor(Contract):
    """What several executions share: a workspace, and the leases and approvals under which they run."""

    contract: Literal["interlock.boundary-session/v1"] = "interlock.boundary-session/v1"
    session_id: Name
    tenant_id: Name
    decision_digest: Digest
    state: SessionState
    workspace: Name
    leases: tuple[Name, ...] = ()
    approvals: tuple[Name, ...] = ()
    expires_at: Moment


class CredentialHandleRef(Contract):
    """A credential by reference: for whom it is good, and until when. Never the secret."""

    contract: Literal["interlock.credential-handle/v1"] = "interlock.credential-handle/v1"
    handle: Name
    kind: Name
    audience: Name
    expires_at: Moment | None = None


class PostureKind(StrEnum):
    """How a target comes by credentials."""

    NO_CREDENTIAL = "no_credential"
    FORBIDDEN = "forbidden"
    ASSERT_ONLY = "assert_only"
    PREINSTALLED = "preinstalled"
    SERVICE_IDENTITY = "service_identity"
    INHERIT = "inherit"
    INJECT_ENV = "inject_env"
    MOUNT_TOKEN_FILE = "mount_token_file"  # noqa: S105 - a kind, not a secret
    MATERIALIZE_ON_ATTACH = "materialize_on_attach"
    PROXY_ONLY = "proxy_only"
    REMOTE_BROKER = "remote_broker"


TAKES_HANDLES: Final = frozenset(
    {
        PostureKind.INJECT_ENV,
        PostureKind.MOUNT_TOKEN_FILE,
        PostureKind.MATERIALIZE_ON_ATTACH,
        PostureKind.PROXY_ONLY,
        PostureKind.REMOTE_BROKER,
    }
)
"""The postures under which credentials are brought along. Under all others a target has its own, or none."""


class TargetPosture(Contract):
    """One target's rule for credentials. Empty lists allow nothing."""

    contract: Literal["interlock.target-posture/v1"] = "interlock.target-posture/v1"
    target_id: Name
    kind: PostureKind
    audiences: tuple[Name, ...] = ()
    handle_kinds: tuple[Name, ...] = ()
    max_handles: Annotated[int, Field(ge=0, le=32)] = 1


class AttachGrant(Contract):
    """Permission to attach to a target within a session, until then."""

    contract: Literal["interlock.attach-grant/v1"] = "interlock.attach-grant/v1"
    grant_id: Name
    tenant_id: Name
    session_id: Name
    target_id: Name
    posture_digest: Digest
    workspace: Name
    handles: tuple[Name, ...] = ()
    expires_at: Moment
    revoked_at: Moment | None = None


class ExecutionIntentEnvelope(Contract):
    """An intent on its way to a target: whose session it belongs to, under which grant, with which credentials."""

    contract: Literal["interlock.intent-envelope/v1"] = "interlock.intent-envelope/v1"
    intent_digest: Digest
    tenant_id: Name
    session_id: Name
    target_id: Name
    workspace: Name
    grant_id: Name
    handles: tuple[CredentialHandleRef, ...] = Field(default=(), max_length=32)
    deadline_at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A target as it is attached to: its posture, and the grant and the session under which it is used."""

    posture: TargetPosture
    grant: AttachGrant
    session: BoundarySessionDescriptor

    @property
    def note(self) -> dict[str, Fact]:
        """It, as evidence names it."""
        return {
            "grant_id": self.grant.grant_id,
            "session_id": self.session.session_id,
            "posture_digest": self.posture.digest,
        }

    def refusal(self, intent: Intent, handles: Iterable[CredentialHandleRef], *, now: datetime) -> Failure | None:
        """Why the intent may not go to the target with these credentials; None if it may."""
        envelope = ExecutionIntentEnvelope(
            intent_digest=intent.digest,
            tenant_id=intent.tenant_id,
            session_id=self.session.session_id,
            target_id=self.posture.target_id,
            workspace=self.grant.workspace,
            grant_id=self.grant.grant_id,
            handles=tuple(handles),
            deadline_at=intent.deadline_at,
        )
        return authorize_attach(self.posture, self.grant, envelope, self.session, now=now)


def authorize_attach(
    posture: TargetPosture,
    grant: AttachGrant,
    envelope: ExecutionIntentEnvelope,
    session: BoundarySessionDescriptor,
    *,
    now: datetime,
) -> Failure | None:
    """Why these do not go together; None if the envelope may go to the target."""
    return (
        _life(grant, session, now)
        or _same(posture, grant, envelope, session)
        or _credentials(posture, grant, envelope, now)
    )


def _life(grant: AttachGrant, session: BoundarySessionDescriptor, now: datetime) -> Failure | None:
    if session.state is SessionState.CLOSED:
        return _refused("session_closed", f"session {session.session_id} is closed")
    if session.expires_at <= now:
        return _refused("session_expired", f"session {session.session_id} has expired")
    if grant.revoked_at is not None:
        return _refused("grant_revoked", f"grant {grant.grant_id} was revoked")
    if grant.expires_at <= now:
        return _refused("grant_expired", f"grant {grant.grant_id} has expired")
    return None


def _same(
    posture: TargetPosture,
    grant: AttachGrant,
    envelope: ExecutionIntentEnvelope,
    session: BoundarySessionDescriptor,
) -> Failure | None:
    pairs = (
        ("tenant", {grant.tenant_id, envelope.tenant_id, session.tenant_id}),
        ("session", {grant.session_id, envelope.session_id, session.session_id}),
        ("target", {posture.target_id, grant.target_id, envelope.target_id}),
        ("workspace", {grant.workspace, envelope.workspace, session.workspace}),
        ("grant", {grant.grant_id, envelope.grant_id}),
        ("posture", {grant.posture_digest, posture.digest}),
    )
    for what, names in pairs:
        if len(names) > 1:
            return _refused(f"{what}_mismatch", f"the {what} is not the same: {', '.join(sorted(names))}")
    return None


def _credentials(
    posture: TargetPosture, grant: AttachGrant, envelope: ExecutionIntentEnvelope, now: datetime
) -> Failure | None:
    if posture.kind is PostureKind.FORBIDDEN:
        return _refused("target_posture_forbidden", f"nothing may attach to target {posture.target_id}")
    if not envelope.handles:
        return None
    if posture.kind not in TAKES_HANDLES:
        what = f"target {posture.target_id} takes no credentials from outside ({posture.kind})"
        return _refused("target_posture_forbids_credentials", what)
    if len(envelope.handles) > posture.max_handles:
        what = f"target {posture.target_id} takes {posture.max_handles} credentials, not {len(envelope.handles)}"
        return _refused("target_multi_handle_not_permitted", what)
    for handle in envelope.handles:
        if handle.handle not in grant.handles:
            return _refused("handle_not_allowed", f"grant {grant.grant_id} does not name the handle {handle.handle}")
        if handle.kind not in posture.handle_kinds:
            return _refused("handle_kind_not_allowed", f"target {posture.target_id} takes no {handle.kind}")
        if handle.audience not in posture.audiences:
            what = f"the handle {handle.handle} is for {handle.audience}, which target {posture.target_id} does not speak to"
            return _refused("audience_not_allowed", what)
        if handle.expires_at is not None and handle.expires_at <= now:
            return _refused("handle_expired", f"the handle {handle.handle} has expired")
    return None


def _refused(code: str, message: str) -> Failure:
    return Failure.of(FailureClass.ATTACH_REFUSED, message, code=code)
