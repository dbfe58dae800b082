"""Leases that somebody asks for by themselves: asked for, renewed, redeemed, revoked and listed."""

from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

import anyio

from interlock import plane
from interlock.connections import errors, leases, showing
from interlock.connections.changing import Change
from interlock.connections.connections import Connections
from interlock.connections.history import Happening, Told
from interlock.connections.model import MAX_LEASE, Connection, Lease, Resolved
from interlock.connections.ports import Profiles, Records, Standing
from interlock.kernel import Caller, Clock, RequestError, Secret, Store, StoreError, Tx, is_id

MAX_PAGE: Final = 500

_LAST_SECONDS: Final = 5.0
"""That the end of a lease may take once whoever had it was stopped."""


class Leases:
    """A tenant's leases. What is asked of one is read from its row each time, so that one that was revoked is dead at once, in
    every process. Everything raises StoreError besides what it names."""

    def __init__(
        self,
        store: Store,
        records: Records,
        accounts: Connections,
        *,
        profile: Profiles,
        clock: Clock,
    ) -> None:
        """`profile` finds an auth profile."""
        self._store = store
        self._records = records
        self._accounts = accounts
        self._profile = profile
        self._clock = clock

    async def request(
        self,
        caller: Caller,
        ref: str,
        *,
        scopes: AbstractSet[str],
        run_id: str | None = None,
        ttl: timedelta = MAX_LEASE,
    ) -> Lease:
        """A lease on the connection's present credential, for these of its scopes, towards its service alone; with a
        `run_id`, for that run alone. It ends after `ttl`, or with the credential.

        Raises RequestError for a `ttl` outside (0, MAX_LEASE] or a `run_id` that is none, and as `Connections.resolve`.
        """
        _check(run_id, ttl)
        resolved = await self._resolve(caller, ref, scopes)
        lease = await self._issue(resolved, scopes=scopes, run_id=run_id, ttl=ttl)
        await self._store.write(lambda tx: self._records.add_lease(tx, lease))
        return lease

    @asynccontextmanager
    async def lent(
        self, caller: Caller, ref: str, *, scopes: AbstractSet[str], run_id: str | None, ttl: timedelta
    ) -> AsyncGenerator[Lease]:
        """As `request`, and over with the block, however that ends; after `ttl` where the store is away by then. Like all that
        ends in its time, this is nothing for the connection's history."""
        lease = await self.request(caller, ref, scopes=scopes, run_id=run_id, ttl=ttl)
        try:
            yield lease
        finally:
            with anyio.move_on_after(_LAST_SECONDS, shield=True), suppress(StoreError):
                await self._store.write(
                    lambda tx: self._records.end_lease(tx, caller.tenant_id, lease.lease_id, at=self._clock.now())
                )

    async def shown(self, caller: Caller, lease: Lease) -> tuple[plane.CredentialRef, ...]:
        """How requests show what the lease is on, as its connection's auth profile says. Raises ConnectionNotFound."""
        connection = await self._accounts.fetch_connection(caller, lease.connection_id)
        profile = await self._profile(connection.tenant_id, connection.connector_id, connection.profile_id)
        return showing.shown(profile, lease.lease_id)

    async def renew(self, caller: Caller, lease_id: str, *, ttl: timedelta = MAX_LEASE) -> Lease:
        """The lease that follows one that is still good, on the credential of now; the old one ends with it.

        Raises LeaseNotFound, LeaseRevoked, LeaseExpired, and as `request`.
        """
        old, connection, credential = await self._find(caller, lease_id)
        _check(old.run_id, ttl)
        now = self._clock.now()
        leases.check_alive(old, connection, credential, now=now)
        resolved = await self._resolve(caller, connection.connection_id, old.scopes)
        following = await self._issue(resolved, scopes=old.scopes, run_id=old.run_id, ttl=ttl)

        def write(tx: Tx) -> None:
            if not self._records.end_lease(tx, caller.tenant_id, lease_id, at=now):
                raise errors.LeaseRevoked(f"lease {lease_id} was revoked")
            self._records.add_lease(tx, following)

        await self._store.write(write)
        return following

    async def redeem(
        self, caller: Caller, lease_id: str, field: str, *, host: str, run_id: str | None = None
    ) -> Secret:
        """One secret, to show to that host (`host:port`). What only makes new tokens, such as a refresh token, is in no lease.

        Raises as `Connections.redeem`.
        """

        async def allowed(connection: Connection) -> tuple[str, ...]:
            profile = await self._profile(connection.tenant_id, connection.connector_id, connection.profile_id)
            return profile.lease_fields

        return await self._accounts.redeem(
            plane.SecretRef(lease_id, field), host=host, tenant_id=caller.tenant_id, run_id=run_id, allowed=allowed
        )

    async def revoke(self, caller: Caller, lease_id: str, *, reason: str = "") -> Lease:
        """End a lease; one that was ended stays as it is. Raises LeaseNotFound."""
        lease, connection, _ = await self._find(caller, lease_id)
        if lease.revoked_at is not None:
            return lease
        now, ref = self._clock.now(), connection.connection_id
        why = leases.line((await self._accounts.redactor(caller, ref)).text(reason)) or None

        def end(tx: Tx) -> None:
            self._records.end_lease(tx, caller.tenant_id, lease_id, at=now)

        def decide(standing: Standing) -> Change:
            after = replace(standing[0], revision=standing[0].revision + 1, updated_at=now)
            told = Told(kind=Happening.LEASE_REVOKED, actor=caller.actor, reason=why, data={"lease_id": lease_id})
            return Change(after, [told], also=end)

        await self._accounts.changing.change(caller, ref, decide, at=now)
        return replace(lease, revoked_at=now)

    async def list_leases(
        self, caller: Caller, ref: str, *, cursor: str | None = None, limit: int = 100
    ) -> Sequence[Lease]:
        """The leases on a connection that are good now, newest first; go on with `cursor` = the last lease id. Raises
        ConnectionNotFound, and RequestError for a cursor that is none."""
        if cursor is not None and not is_id(cursor, "lse"):
            raise RequestError("the cursor is not a lease id: send back the one from the last page")
        connection = await self._accounts.fetch_connection(caller, ref)
        size, now = max(1, min(limit, MAX_PAGE)), self._clock.now()
        return await self._store.read(
            lambda tx: self._records.list_leases(
                tx, caller.tenant_id, connection.connection_id, now=now, cursor=cursor, limit=size
            )
        )

    async def _find(self, caller: Caller, lease_id: str) -> leases.Found:
        found = await self._store.read(lambda tx: self._records.find_lease(tx, caller.tenant_id, lease_id))
        if found is None or not caller.may_use(found[1].connection_id):
            raise errors.LeaseNotFound(leases.not_found(lease_id))
        return found

    async def _resolve(self, caller: Caller, ref: str, scopes: AbstractSet[str]) -> Resolved:
        connection = await self._accounts.fetch_connection(caller, ref)
        return await self._accounts.resolve(
            caller, connector_id=connection.connector_id, scopes=scopes, connection=connection.connection_id
        )

    async def _issue(
        self, resolved: Resolved, *, scopes: AbstractSet[str], run_id: str | None, ttl: timedelta
    ) -> Lease:
        connection = resolved.connection
        profile = await self._profile(connection.tenant_id, connection.connector_id, connection.profile_id)
        service = plane.parse_base(connection.base_url or profile.base_url)
        return self._accounts.lease(resolved, scopes=scopes, hosts={service.host_port}, run_id=run_id, ttl=ttl)


def _check(run_id: str | None, ttl: timedelta) -> None:
    if not timedelta(0) < ttl <= MAX_LEASE:
        raise RequestError(f"a lease lives more than 0 and at most {MAX_LEASE.total_seconds():.0f} s, not {ttl}")
    if run_id is not None and not is_id(run_id, "run"):
        raise RequestError(f"{run_id[:60]!r} is no run's id")
