"""Issuing and checking leases. Pure."""

import re
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from interlock.connections import errors
from interlock.connections.choose import check_state
from interlock.connections.model import MAX_LEASE, Connection, Credential, Lease, Resolved
from interlock.kernel import HOST_PORT

_HOST: Final = re.compile(HOST_PORT)
_MAX_REASON: Final = 200

Found: TypeAlias = tuple[Lease, Connection, Credential]
"""A lease, with its connection and the credential version that it names."""


def not_found(lease_id: str) -> str:
    """What is said of a lease that is not there, or not for the one who asks."""
    return f"no lease {lease_id[:60]!r}"


def issue(
    resolved: Resolved,
    *,
    lease_id: str,
    scopes: AbstractSet[str],
    hosts: AbstractSet[str],
    run_id: str | None,
    ttl: timedelta,
    now: datetime,
) -> Lease:
    """A lease on the resolved credential. It ends with its `ttl` or with the credential, whichever comes first.

    Raises MissingScopes, ConnectionExpired; ValueError for a `ttl` outside (0, MAX_LEASE] and for hosts that are not
    `host:port`, which are mistakes of the calling code.
    """
    if not timedelta(0) < ttl <= MAX_LEASE:
        raise ValueError(f"a lease lives more than 0 and at most {MAX_LEASE.total_seconds():.0f} s, not {ttl}")
    bound = frozenset(host.lower() for host in hosts)
    if not bound or not all(_HOST.fullmatch(host) for host in bound):
        raise ValueError(f"a lease names its hosts as host:port, not {sorted(hosts)}")
    if missing := scopes - resolved.connection.scopes:
        raise errors.MissingScopes(resolved.connection.name, missing)
    expires_at = now + ttl
    if (end := resolved.credential.expires_at) is not None:
        if end <= now:
            raise errors.ConnectionExpired(resolved.connection, end)
        expires_at = min(expires_at, end)
    return Lease(
        lease_id=lease_id,
        tenant_id=resolved.connection.tenant_id,
        connection_id=resolved.connection.connection_id,
        credential_id=resolved.credential.credential_id,
        run_id=run_id,
        scopes=frozenset(scopes),
        hosts=bound,
        issued_at=now,
        expires_at=expires_at,
    )


def check(
    lease: Lease,
    connection: Connection,
    credential: Credential,
    *,
    host: str,
    tenant_id: str,
    run_id: str | None,
    now: datetime,
) -> None:
    """Whether the lease opens its credential to that tenant's run (None: outside of runs), for that host, at this
    moment.

    Raises LeaseNotFound, LeaseRevoked, LeaseExpired, HostNotLeased, or the error of the connection's state.
    """
    if (lease.tenant_id, lease.run_id) != (tenant_id, run_id):
        # To others it does not exist: nothing tells them that they guessed an id.
        raise errors.LeaseNotFound(not_found(lease.lease_id))
    owners = {(lease.tenant_id, lease.connection_id), (connection.tenant_id, connection.connection_id)}
    if {(credential.tenant_id, credential.connection_id)} != owners:
        raise errors.LeaseNotFound(f"lease {lease.lease_id} does not belong to its connection's tenant")
    check_alive(lease, connection, credential, now=now)
    if host.lower() not in lease.hosts:
        raise errors.HostNotLeased(f"lease {lease.lease_id} does not cover {host!r}")


def check_alive(lease: Lease, connection: Connection, credential: Credential, *, now: datetime) -> None:
    """Whether the lease is good at this moment. Raises LeaseRevoked, LeaseExpired, or the error of the connection's state."""
    check_state(connection)
    superseded = credential.overlap_until is not None and credential.overlap_until <= now
    if lease.revoked_at is not None or credential.revoked_at is not None or superseded:
        raise errors.LeaseRevoked(f"lease {lease.lease_id} was revoked")
    if lease.expires_at <= now:
        raise errors.LeaseExpired(f"lease {lease.lease_id} has expired")


def line(text: str) -> str:
    """A reason as one printable line."""
    return "".join(character if character.isprintable() else " " for character in text).strip()[:_MAX_REASON]
