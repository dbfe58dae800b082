"""What a connection is after a grant: a new one, or the one of that name with its next credential; and what is told of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from interlock.connections import errors, transitions
from interlock.connections.grant import TokenGrant
from interlock.connections.history import Happening, Told
from interlock.connections.model import Connection, ManagementMode, Refresh, SourceKind, State
from interlock.connections.transitions import BROKEN, USABLE
from interlock.kernel import JSON, Caller


def begun(grant: TokenGrant, connection_id: str, caller: Caller, *, at: datetime) -> Connection:
    """A new connection, without its credential."""
    made = Connection(
        connection_id=connection_id,
        tenant_id=caller.tenant_id,
        connector_id=grant.connector_id,
        profile_id=grant.profile_id,
        name=grant.connection_name,
        subject=grant.subject,
        state=State.CONNECTED,
        reason=None,
        base_url=grant.base_url,
        scopes=grant.scopes,
        current_credential_id=None,
        revision=1,
        created_by=caller.actor,
        created_at=at,
        updated_at=at,
    )
    return _placed(made, grant)


def renewed(connection: Connection, grant: TokenGrant, *, at: datetime) -> Connection:
    """The connection with the grant's facts. Raises NameTaken, SubjectMismatch, ServiceMismatch."""
    if connection.connector_id != grant.connector_id:
        raise errors.NameTaken(f"the name {connection.name!r} belongs to a connection for {connection.connector_id!r}")
    if connection.state is not State.REVOKED:
        _check_same(connection, grant)
    after = replace(
        transitions.connect(connection, at=at),
        profile_id=grant.profile_id,
        subject=grant.subject,
        scopes=grant.scopes,
        base_url=grant.base_url,
        refresh=Refresh(fence=connection.refresh.fence + 1),
    )
    return _placed(after, grant)


def _placed(connection: Connection, grant: TokenGrant) -> Connection:
    """The connection, with where its secret is from now on."""
    sourcing = grant.sourcing
    if sourcing is None:
        return replace(
            connection, secret_source=SourceKind.STORED, source=None, management_mode=ManagementMode.MANUAL, params={}
        )
    return replace(
        connection,
        secret_source=sourcing.kind,
        source=sourcing.record(),
        management_mode=ManagementMode.EXTERNAL,
        params=sourcing.params,
    )


def told(
    before: Connection | None, after: Connection, *, actor: str, version: int, more: Mapping[str, JSON] | None = None
) -> list[Told]:
    """What happened to the connection that was `before`: connected, or its credential replaced, which may have mended it.
    `more` is told besides."""
    data: dict[str, JSON] = {
        "credential_id": after.current_credential_id,
        "version": version,
        "subject": after.subject,
        "scopes": sorted(after.scopes),
        **(more or {}),
    }
    new = before is None or before.state not in USABLE | BROKEN
    happened = [Told(kind=Happening.CONNECTED if new else Happening.REPLACED, actor=actor, data=data)]
    if before is not None and before.state in BROKEN:
        happened.append(Told(kind=Happening.RECOVERED, actor=actor))
    return happened


def _check_same(connection: Connection, grant: TokenGrant) -> None:
    # Runs are approved for an account at an address: the name must not slip to another one while it is in use.
    if connection.subject != grant.subject:
        was, now = (
            f"the account {who!r}" if who else "an unknown account" for who in (connection.subject, grant.subject)
        )
        raise errors.SubjectMismatch(f"connection {connection.name!r} is {was}, and the token is for {now}")
    if connection.base_url != grant.base_url:
        was, now = (where or "the service's usual address" for where in (connection.base_url, grant.base_url))
        raise errors.ServiceMismatch(f"connection {connection.name!r} leads to {was}, not to {now}")
