"""Which connection serves a call. Pure."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final

from interlock import sdk
from interlock.connections import errors
from interlock.connections.model import Connection, Resolved, State
from interlock.connections.ports import Standing
from interlock.connections.reconnecting import reconnect
from interlock.connections.transitions import USABLE
from interlock.kernel import ConnectionError_

_REFUSALS: Final[Mapping[State, type[ConnectionError_]]] = {
    State.REAUTH_REQUIRED: errors.ReauthRequired,
    State.REVOKED: errors.ConnectionRevoked,
}


def only_one(candidates: Sequence[Standing], *, connector_id: str, now: datetime) -> Standing:
    """The single connection that can serve; if none can, the best candidate, whose state or end will say why.

    Raises NoConnection, AmbiguousConnection.
    """
    if not candidates:
        raise errors.NoConnection(
            f"this tenant has no connection for {connector_id!r}",
            next_step=(
                f"Connect the service first: `interlock connect {connector_id}`; "
                f"`interlock {_shown(connector_id)}` says what it takes."
            ),
        )
    usable = [standing for standing in candidates if standing[0].state in USABLE and not _is_over(standing, now)]
    if len(usable) > 1:
        raise errors.AmbiguousConnection(connector_id, (connection.name for connection, _ in usable))
    return usable[0] if usable else candidates[0]


def _shown(connector_id: str) -> str:
    provider = connector_id.removeprefix(sdk.PROVIDER_PREFIX)
    return f"connectors show {connector_id}" if provider == connector_id else f"providers show {provider}"


def admit(standing: Standing, *, connector_id: str, scopes: AbstractSet[str], now: datetime) -> Resolved:
    """The connection, if it may serve this call now.

    Raises WrongConnector, ReauthRequired, ConnectionRevoked, ConnectionExpired, MissingScopes.
    """
    connection, credential = standing
    if connection.connector_id != connector_id:
        raise errors.WrongConnector(
            f"connection {connection.name!r} belongs to {connection.connector_id!r}, not to {connector_id!r}"
        )
    check_state(connection)
    if credential is None or credential.ciphertext is None:
        raise errors.ReauthRequired(
            f"connection {connection.name!r} has no credential", next_step=reconnect(connection)
        )
    if credential.expires_at is not None and credential.expires_at <= now:
        raise errors.ConnectionExpired(connection, credential.expires_at)
    if missing := scopes - connection.scopes:
        raise errors.MissingScopes(connection.name, missing)
    return Resolved(connection=connection, credential=credential)


def _is_over(standing: Standing, now: datetime) -> bool:
    """Whether the credential has ended, and none will follow by itself."""
    connection, credential = standing
    if credential is None or credential.expires_at is None or connection.refresh.due_at is not None:
        return False
    return credential.expires_at <= now


def check_state(connection: Connection) -> None:
    """Raises the error of the connection's state, unless it is one that serves."""
    if connection.state not in USABLE:
        because = f": {connection.reason}" if connection.reason else ""
        raise _REFUSALS[connection.state](
            f"connection {connection.name!r} is {connection.state.replace('_', ' ')}{because}",
            next_step=reconnect(connection),
        )
