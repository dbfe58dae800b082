"""`il.connections.leases`: the use of a connection's credential for a short time, outside of runs or for one run."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from interlock.app.arguments import checked
from interlock.kernel import Caller, RequestError, Secret

if TYPE_CHECKING:
    from interlock import connections
    from interlock.app.assembly import Parts

_LONGEST = 300


class Leases:
    """Leases of this tenant. One ends within 300 seconds, or at once when it, or its connection, is revoked."""

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def request(
        self, ref: str, *, scopes: Sequence[str] = (), run_id: str | None = None, seconds: float = _LONGEST
    ) -> "connections.Lease":
        """A lease on a connection, by its id or name, for these of its scopes, towards its service; with a `run_id`, for that
        run alone. Raises ConnectionNotFound, MissingScopes, RequestError, and what the connection's state says."""
        return await self._parts.leases.request(
            self._caller, ref, scopes=frozenset(scopes), run_id=run_id, ttl=_life(seconds)
        )

    @checked
    async def renew(self, lease_id: str, *, seconds: float = _LONGEST) -> "connections.Lease":
        """The lease that follows one that is still good; the old one ends. Raises LeaseNotFound, LeaseRevoked, LeaseExpired,
        RequestError, and what the connection's state says."""
        return await self._parts.leases.renew(self._caller, lease_id, ttl=_life(seconds))

    @checked
    async def redeem(self, lease_id: str, field: str, *, host: str, run_id: str | None = None) -> Secret:
        """The secret field, to be shown to that host (`host:port`) and to nobody else. Raises LeaseNotFound, LeaseRevoked,
        LeaseExpired, HostNotLeased, CredentialDamaged, and what the connection's state says."""
        return await self._parts.leases.redeem(self._caller, lease_id, field, host=host, run_id=run_id)

    @checked
    async def revoke(self, lease_id: str, *, reason: str = "") -> "connections.Lease":
        """End a lease, also for processes that use it just now: at their next send. Raises LeaseNotFound."""
        return await self._parts.leases.revoke(self._caller, lease_id, reason=reason)

    @checked
    async def list(self, ref: str, *, cursor: str | None = None, limit: int = 100) -> "Sequence[connections.Lease]":
        """The leases on a connection that are good now, newest first; go on with `cursor` = the last lease id. Raises
        ConnectionNotFound."""
        return await self._parts.leases.list_leases(self._caller, ref, cursor=cursor, limit=limit)


def _life(seconds: float) -> timedelta:
    if not 0 < seconds <= _LONGEST:  # NaN is not above zero either
        raise RequestError(f"a lease lives more than 0 and at most {_LONGEST} seconds, not {seconds}")
    return timedelta(seconds=seconds)
