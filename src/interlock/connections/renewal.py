"""When a credential is renewed, how, and what a connection becomes by it. Pure."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from interlock import plane, sdk
from interlock.connections import transitions
from interlock.connections.errors import ErrandFailed, GrantRefused
from interlock.connections.history import Happening, Told
from interlock.connections.installs import Reason
from interlock.connections.model import Connection, Credential, Refresh, State
from interlock.kernel import JSON, Backoff, InterlockError

CLAIM: Final = timedelta(seconds=30)
"""How long a refresh can take from its claim to its commit: an errand ends within 20 s."""

_MARGIN: Final = timedelta(seconds=60)
_BACKOFF: Final = Backoff(base=5.0, cap=300.0)
_PASSING: Final = frozenset({"temporarily_unavailable", "slow_down", "authorization_pending"})
OUTCOME_UNKNOWN: Final = "refresh_outcome_unknown"

Way: TypeAlias = Literal["refresh", "again"]
"""With a refresh token, or by asking as at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there are no new tokens. `ended`: the credential can give none any more. `arrived`: the request may have been carried
    out, though nobody has its answer."""

    reason: str
    ended: bool = False
    arrived: bool = False
    retry_after: float | None = None

    @classmethod
    def of(cls, error: InterlockError, *, over: bool) -> "Failure":
        """What an error means for a credential, which is `over` if its time has run out."""
        if isinstance(error, ErrandFailed):
            proven = error.delivery in (plane.Delivery.NOT_SENT, plane.Delivery.REJECTED)
            refused = error.reason is Reason.ADDRESS_REFUSED
            return cls(reason=f"refresh_{error.reason if refused else 'unanswered'}", arrived=not proven)
        if not isinstance(error, GrantRefused):
            return cls(reason=f"refresh_{error.code}"[:60])
        reason = f"refresh_{error.reason}"
        if error.reason == "unreadable_answer":
            return cls(reason=reason, arrived=True)
        if error.reason in _PASSING:
            return cls(reason=reason, retry_after=error.retry_after)
        # What the operator may mend does not end a credential that still serves.
        return cls(reason=reason, ended=over or error.reason in ("invalid_grant", "access_denied"))


def way(profile: sdk.AuthProfile, fields: tuple[str, ...]) -> Way | None:
    """How a credential that holds these fields is renewed by a request; None if a person has to connect again."""
    grant = profile.grant
    if profile.renewal == "refresh" and "refresh_token" in fields:
        return "refresh" if "refresh" in sdk.grants.exchanges(grant) else None
    again = grant.type in ("client_credentials", "jwt_bearer", "github_app", "exchange", "session", "native_cli")
    return "again" if again else None


def scheduled(connection: Connection, *, way: Way | None, expires_at: datetime | None, at: datetime) -> Refresh:
    """Where the refresh of a credential stands that is new at that moment."""
    due = None if way is None or expires_at is None else due_at(connection.connection_id, expires_at=expires_at, at=at)
    return Refresh(due_at=due, fence=connection.refresh.fence + 1)


def due_at(connection_id: str, *, expires_at: datetime, at: datetime) -> datetime:
    """When to renew: a minute or a tenth of its life before the end, and up to half of that earlier, so that connections that
    were made together are not renewed together; never in the first half of its life."""
    life = expires_at - at
    margin = max(_MARGIN, life / 10)
    return max(expires_at - margin * (1 + _share(connection_id) / 2), at + life / 2)


def claimed(connection: Connection, owner_id: str, *, at: datetime) -> Connection:
    """The connection while somebody refreshes it."""
    refresh = replace(
        connection.refresh,
        fence=connection.refresh.fence + 1,
        owner_id=owner_id,
        until=at + CLAIM,
        credential_id=connection.current_credential_id,
    )
    return replace(connection, refresh=refresh, revision=connection.revision + 1, updated_at=at)


def is_doubtful(connection: Connection) -> bool:
    """Whether an earlier refresh with the present credential may have been carried out, without a trace of its answer."""
    marked = connection.refresh.credential_id
    return marked is not None and marked == connection.current_credential_id


def may_repeat(
    connection: Connection, credential: Credential, profile: sdk.AuthProfile, *, way: Way, at: datetime
) -> bool:
    """Whether a refresh of doubtful outcome may be sent again with the same credential: to a provider that ends a refresh token
    when it is used, only for as long as it takes it twice."""
    rule = getattr(profile.grant, "refresh", None)
    if way == "again" or not isinstance(rule, sdk.grants.RefreshRule):
        return True
    rotates = rule.rotates == "yes" or (rule.rotates == "unknown" and bool((credential.grant or {}).get("rotated")))
    until = connection.refresh.until
    sent = at if until is None else until - CLAIM
    return not rotates or at < sent + timedelta(seconds=rule.reuse_grace_seconds)


def renewed(
    connection: Connection,
    credential_id: str,
    *,
    scopes: frozenset[str] | None,
    expires_at: datetime | None,
    way: Way,
    at: datetime,
) -> Connection:
    """The connection with its next credential."""
    return replace(
        transitions.move(connection, State.CONNECTED, at=at),
        current_credential_id=credential_id,
        credential_expires_at=expires_at,
        scopes=connection.scopes if scopes is None else scopes,
        refresh=scheduled(connection, way=way, expires_at=expires_at, at=at),
        refreshed_at=at,
    )


def told(before: Connection, after: Connection, *, version: int, actor: str) -> list[Told]:
    """What is told of a refresh; its scopes, if they are others by it."""
    data: dict[str, JSON] = {"credential_id": after.current_credential_id, "version": version}
    if after.scopes != before.scopes:
        data["scopes"] = sorted(after.scopes)
    happened = [Told(kind=Happening.REFRESHED, actor=actor, data=data)]
    return [*happened, Told(kind=Happening.RECOVERED, actor=actor)] if before.state is State.DEGRADED else happened


def failed(connection: Connection, failure: Failure, *, actor: str, at: datetime) -> tuple[Connection, list[Told]]:
    """The connection after a refresh that came to nothing, and what is told of it: once for each reason."""
    to = State.REAUTH_REQUIRED if failure.ended else State.DEGRADED
    kind = Happening.REAUTH_REQUIRED if failure.ended else Happening.DEGRADED
    failures = connection.refresh.failures + 1
    known = connection.state is to and connection.reason == failure.reason
    happened = [] if known else [Told(kind=kind, actor=actor, reason=failure.reason)]
    if connection.state is State.DEGRADED and to is State.DEGRADED:
        after = replace(connection, reason=failure.reason, revision=connection.revision + 1, updated_at=at)
        happened = [replace(each, kind=Happening.REFRESH_FAILED) for each in happened]
    else:
        after = transitions.move(connection, to, at=at, reason=failure.reason)
    wait = _BACKOFF.ceiling(failures) * (1 + _share(connection.connection_id)) / 2
    refresh = replace(
        connection.refresh,
        owner_id=None,
        due_at=None if failure.ended else at + timedelta(seconds=max(wait, failure.retry_after or 0.0)),
        credential_id=connection.refresh.credential_id if failure.arrived else None,
        until=connection.refresh.until if failure.arrived else None,
        failures=failures,
    )
    return replace(after, refresh=refresh), happened


def _share(connection_id: str) -> float:
    """Between 0 and 1, always the same for a connection."""
    return int.from_bytes(hashlib.sha256(connection_id.encode()).digest()[:4], "big") / 2**32
