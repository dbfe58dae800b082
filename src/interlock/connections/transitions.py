"""The machine of a connection's states."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from interlock.connections.errors import InvalidTransition
from interlock.connections.model import Connection, Refresh, State

ALLOWED: Final[Mapping[State, frozenset[State]]] = {
    State.CONNECTED: frozenset(State),  # again is a new credential version on a connection that keeps serving
    State.DEGRADED: frozenset({State.CONNECTED, State.REAUTH_REQUIRED, State.REVOKED}),
    State.REAUTH_REQUIRED: frozenset({State.REVOKED}),
    State.REVOKED: frozenset(),
}
"""What a connection becomes by itself, or by being revoked; `connect` is another way."""

BROKEN: Final = frozenset({State.DEGRADED, State.REAUTH_REQUIRED})
"""The states in which something is wrong with the credential; `recovered` tells that it is over."""

USABLE: Final = frozenset({State.CONNECTED, State.DEGRADED})
"""The states in which a connection serves calls."""


def move(connection: Connection, to: State, *, at: datetime, reason: str | None = None) -> Connection:
    """The connection in its next state, one revision on. Raises InvalidTransition."""
    if to not in ALLOWED[connection.state]:
        raise InvalidTransition(f"connection {connection.name!r} is {connection.state} and cannot become {to}")
    return _moved(connection, to, at=at, reason=reason)


def connect(connection: Connection, *, at: datetime) -> Connection:
    """The connection, connected from any state: it is given a credential, or the service was seen to take the one it has."""
    return _moved(connection, State.CONNECTED, at=at)


def _moved(connection: Connection, to: State, *, at: datetime, reason: str | None = None) -> Connection:
    """One that serves nobody is not renewed, and whoever does so just now has lost it."""
    return replace(
        connection,
        state=to,
        reason=reason,
        refresh=connection.refresh if to in USABLE else Refresh(fence=connection.refresh.fence + 1),
        broken_at=(connection.broken_at or at) if to in BROKEN else None,
        revision=connection.revision + 1,
        updated_at=at,
    )
