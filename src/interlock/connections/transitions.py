"""The machine of a connection's states."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from interlock.connections.errors import InvalidTransition
from interlock.connections.model import Connection, Refresh, State

ALLOWED: Final[Mapping[State, frozenset[State]]] = {
    State.INSTALLING: frozenset(
        {State.CONNECTED, State.DEGRADED, State.REAUTH_REQUIRED, State.REVOKED, State.DISABLED}
    ),
    # Connected again is a new credential version on a connection that keeps serving.
    State.CONNECTED: frozenset(State),
    State.DEGRADED: frozenset({State.CONNECTED, State.REAUTH_REQUIRED, State.REVOKED, State.DISABLED}),
    State.REAUTH_REQUIRED: frozenset({State.INSTALLING, State.REVOKED, State.DISABLED}),
    State.REVOKED: frozenset({State.INSTALLING, State.DISABLED}),
    # A switched-off connection still holds its secret, so it must be possible to revoke it.
    State.DISABLED: frozenset({State.INSTALLING, State.REVOKED}),
}

BROKEN: Final = frozenset({State.DEGRADED, State.REAUTH_REQUIRED})
"""The states in which something is wrong with the credential; `recovered` tells that it is over."""

USABLE: Final = frozenset({State.CONNECTED, State.DEGRADED})
"""The states in which a connection serves calls."""


def move(connection: Connection, to: State, *, at: datetime, reason: str | None = None) -> Connection:
    """The connection in its next state, one revision on. One that serves nobody is not renewed, and whoever does so just now
    has lost it. Raises InvalidTransition."""
    if to not in ALLOWED[connection.state]:
        raise InvalidTransition(f"connection {connection.name!r} is {connection.state} and cannot become {to}")
    return replace(
        connection,
        state=to,
        reason=reason,
        refresh=connection.refresh if to in USABLE else Refresh(fence=connection.refresh.fence + 1),
        broken_at=(connection.broken_at or at) if to in BROKEN else None,
        revision=connection.revision + 1,
        updated_at=at,
    )


def connect(connection: Connection, *, at: datetime) -> Connection:
    """The connection, connected: directly where the machine allows it, else by installing it anew."""
    if State.CONNECTED not in ALLOWED[connection.state]:
        connection = move(connection, State.INSTALLING, at=at)
    return move(connection, State.CONNECTED, at=at)
