"""What whoever is asked does about a connection whose credential serves no more. Pure."""

import shlex
from typing import Final

from interlock.connections.installs import Reason
from interlock.connections.model import Connection, ManagementMode, SourceKind, State
from interlock.kernel import to_rfc3339

_UNCONFIRMED: Final = f"refresh_{Reason.UNCONFIRMED_ISSUER}"


def reconnect(connection: Connection) -> str:
    """How this connection is given a new credential."""
    if connection.reason == _UNCONFIRMED:
        issuer, place = connection.params.get("mcp.issuer"), f"[oauth.{connection.connector_id}]"
        return f'If our client is registered at {issuer}, write `issuer = "{issuer}"` under {place} in the settings.'
    name = "" if connection.name == connection.connector_id else f" --name {shlex.quote(connection.name)}"
    command = f"interlock connect {connection.connector_id}{name}"
    if connection.secret_source is not SourceKind.STORED:
        kind, places = connection.secret_source.value, connection.source or {}
        named = [f"{field}={kind}:{place}" if len(places) > 1 else f"{kind}:{place}" for field, place in places.items()]
        given = "".join(f" --from {shlex.quote(each)}" for each in named)
        return f"Put a valid credential where it is read from, and connect the service again: `{command}{given}`."
    if connection.management_mode in (ManagementMode.HOSTED, ManagementMode.PROVIDER_APP):
        return f"Connect the service again: `{command}`."
    if _takes_more(connection):
        return f"Connect the service again: `{command} --profile {connection.profile_id}` says what it takes."
    return f"Connect the service again: `{command} --token-env NAME`."


def _takes_more(connection: Connection) -> bool:
    """Whether it was connected by more than a token, as far as that shows: by fields, or by what tokens are made from."""
    renewed = connection.refreshed_at is not None or connection.refresh.due_at is not None
    return renewed or bool(connection.params) or connection.management_mode is ManagementMode.PROVIDER_NATIVE


def is_tried_again(connection: Connection) -> bool:
    """Whether renewing it goes on by itself, after it came to nothing."""
    return connection.state is State.DEGRADED and connection.reason != _UNCONFIRMED


def next_step(connection: Connection) -> str:
    """What is to be done about a connection whose credential was refused."""
    if connection.state is State.CONNECTED:
        return "Ask again: the connection has another credential by now, or will have."
    if not is_tried_again(connection):
        return reconnect(connection)
    due = connection.refresh.due_at
    when = "" if due is None else f", next at {to_rfc3339(due)}"
    return f"Ask again later: Interlock goes on trying to renew the credential ({connection.reason}){when}."
