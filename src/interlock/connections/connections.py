"""Connecting, resolving, leasing, redeeming, revoking: the shell around the room's pure parts."""

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from interlock import plane
from interlock.connections import choose, errors, granted, history, leases, transitions
from interlock.connections.changing import MAX_TRIES, Change, Changing, Listener, Saved
from interlock.connections.grant import TokenGrant
from interlock.connections.history import ConnectionEvent, Happening, Told
from interlock.connections.model import MAX_LEASE, Connection, Credential, Lease, Resolved, SourceKind, State
from interlock.connections.ports import Cipher, Records, Renewer, SecretSource, Standing
from interlock.connections.safe import Safe
from interlock.connections.sources import Sources
from interlock.kernel import (
    JSON,
    Caller,
    Clock,
    ConnectionError_,
    IdSource,
    Redactor,
    RequestError,
    Secret,
    Store,
    StoreError,
    Tx,
    is_id,
)

MAX_PAGE: Final = 500
_MAX_CANDIDATES: Final = 50

Look: TypeAlias = Callable[[Tx, Connection | None], None]
"""Looks at a connection inside the transaction that changes it."""


class Connections:
    """A tenant's accounts at services. Everything raises StoreError besides what it names.

    `changing` is the one way in which they change, for who shares it; `renewer` is set by who has one.
    """

    def __init__(
        self,
        store: Store,
        records: Records,
        cipher: Cipher,
        *,
        clock: Clock,
        ids: IdSource,
        listener: Listener | None = None,
        ways: Mapping[SourceKind, SecretSource] | None = None,
    ) -> None:
        """`ways` read the secrets that are not kept here, by the kind of their place; more may be added later."""
        self._store = store
        self._records = records
        self._safe = Safe(cipher)
        self.changing = Changing(store, records, ids=ids, listener=listener)
        self._clock = clock
        self._ids = ids
        self.sources = Sources({} if ways is None else ways, clock=clock)
        self.renewer: Renewer | None = None

    async def connect_token(self, caller: Caller, grant: TokenGrant, *, look: Look | None = None) -> Connection:
        """Keep a token as a connection, or as the next credential version of the connection with that name.

        Older versions are erased and their leases revoked at once, or, with an `overlap`, after that. `look` sees what was
        there (None: nothing) in the same transaction, before that; what it raises ends it.
        Raises InvalidGrant, NameTaken, SubjectMismatch, ServiceMismatch, ConnectionChanged.
        """
        now = self._clock.now()
        grant = grant.checked(now, by=caller.actor)
        for _ in range(MAX_TRIES):
            standing = await self._find(caller, grant.connection_name)
            if (connection := await self._try_connect(caller, grant, standing, now, look)) is not None:
                return connection
        raise errors.ConnectionChanged(f"connection {grant.connection_name!r} is being changed by others")

    async def list_connections(
        self, caller: Caller, *, connector_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Sequence[Connection]:
        """The tenant's connections, newest first; at most MAX_PAGE. `cursor` is the connection id to continue after.

        Raises RequestError for a cursor that is none.
        """
        if cursor is not None and not is_id(cursor, "con"):
            raise RequestError("the cursor is not a connection id: send back the one from the last page")
        size = max(1, min(limit, MAX_PAGE))
        return await self._store.read(
            lambda tx: self._records.list_connections(
                tx, caller.tenant_id, connector_id=connector_id, cursor=cursor, limit=size, only=caller.connections
            )
        )

    async def fetch_connection(self, caller: Caller, ref: str) -> Connection:
        """The connection with that id or name. Raises ConnectionNotFound, also for another tenant's."""
        return (await self.fetch_standing(caller, ref))[0]

    async def fetch_standing(self, caller: Caller, ref: str) -> Standing:
        """The connection with its current credential version, still sealed. Raises ConnectionNotFound."""
        standing = await self._find(caller, ref)
        if standing is None:
            raise await self._not_found(caller, ref)
        return standing

    async def resolve(
        self, caller: Caller, *, connector_id: str, scopes: AbstractSet[str], connection: str | None = None
    ) -> Resolved:
        """What a call of this connector will use: the named connection, else the only one that can serve. One read, unless its
        credential is to be renewed.

        Raises ConnectionNotFound, NoConnection, AmbiguousConnection, WrongConnector, ReauthRequired, ConnectionRevoked,
        ConnectionExpired, MissingScopes.
        """
        if connection is None:
            candidates = await self._store.read(
                lambda tx: self._records.list_candidates(tx, caller.tenant_id, connector_id, limit=_MAX_CANDIDATES)
            )
            ours = [each for each in candidates if caller.may_use(each[0].connection_id)]
            standing = choose.only_one(ours, connector_id=connector_id, now=self._clock.now())
        elif (found := await self._find(caller, connection)) is not None:
            standing = found
        else:
            raise await self._not_found(caller, connection)
        if self.renewer is not None:
            standing = await self.renewer.fresh(caller, standing)
        return choose.admit(standing, connector_id=connector_id, scopes=scopes, now=self._clock.now())

    def lease(
        self,
        resolved: Resolved,
        *,
        scopes: AbstractSet[str],
        hosts: AbstractSet[str],
        run_id: str | None,
        ttl: timedelta = MAX_LEASE,
    ) -> Lease:
        """A lease as a value; it counts once its row is committed with the run's admission. No I/O.

        Raises MissingScopes, ConnectionExpired; ValueError for a `ttl` outside (0, MAX_LEASE] or hosts that are not
        `host:port`.
        """
        return leases.issue(
            resolved,
            lease_id=self._ids.new("lse"),
            scopes=scopes,
            hosts=hosts,
            run_id=run_id,
            ttl=ttl,
            now=self._clock.now(),
        )

    async def secrets_of(self, resolved: Resolved, *, besides: Container[str] = ()) -> tuple[Secret, ...]:
        """Every secret of the resolved credential, for a Redactor, `besides` those of these names. Raises CredentialDamaged, and
        SecretUnavailable and SecretExposed for what is not kept here.

        No read, once the tenant's key is in memory; what is not kept is read from its place.
        """
        held = await self.open(resolved.connection, resolved.credential)
        return tuple(secret for name, secret in held.items() if name not in besides)

    async def open(self, connection: Connection, credential: Credential) -> dict[str, Secret]:
        """The secrets of a credential version by field, for the service alone. Raises as `secrets_of`."""
        held = await self._safe.open(credential)
        return held if connection.secret_source is SourceKind.STORED else await self.sources.fresh(credential, held)

    async def redeem(
        self,
        ref: plane.SecretRef,
        *,
        host: str,
        tenant_id: str,
        run_id: str | None,
        allowed: Callable[[Connection], Awaitable[Container[str]]] | None = None,
    ) -> Secret:
        """One secret field, for one host, under the run's own committed lease: the plane's credential resolver. One read.
        `allowed` says which fields the connection's leases open, if not all.

        Raises LeaseNotFound, LeaseRevoked, LeaseExpired, HostNotLeased, CredentialDamaged, and what the connection's
        state says: ReauthRequired, ConnectionRevoked. SecretUnavailable and SecretExposed for what is not kept here.
        """
        found = await self._store.read(lambda tx: self._records.find_lease(tx, tenant_id, ref.handle))
        if found is None:
            raise errors.LeaseNotFound(leases.not_found(ref.handle))
        lease, connection, credential = found
        now = self._clock.now()
        leases.check(lease, connection, credential, host=host, tenant_id=tenant_id, run_id=run_id, now=now)
        secrets = await self._safe.open(credential)
        if connection.secret_source is not SourceKind.STORED:
            secrets = await self.sources.as_of(credential, secrets, lease.issued_at)
        if ref.field not in secrets or (allowed is not None and ref.field not in await allowed(connection)):
            raise errors.LeaseNotFound(f"lease {lease.lease_id} holds no secret field {ref.field[:60]!r}")
        return secrets[ref.field]

    async def find_lease(self, caller: Caller, lease_id: str) -> Lease | None:
        """The lease, if it is this tenant's."""
        found = await self._store.read(lambda tx: self._records.find_lease(tx, caller.tenant_id, lease_id))
        return None if found is None else found[0]

    async def revoke(
        self,
        caller: Caller,
        ref: str,
        reason: str,
        *,
        look: Callable[[Tx, Connection], None] | None = None,
        at_provider: bool = True,
    ) -> Connection:
        """End the connection: every secret version is erased, every lease is revoked. Revoked twice is revoked. The reason is
        kept without the connection's own secrets. `look` sees the connection in the same transaction, before that; the event
        tells if nothing is to end `at_provider`.

        Raises ConnectionNotFound.
        """
        await self.fetch_connection(caller, ref)
        now = self._clock.now()
        reason = (await self.redactor(caller, ref)).text(reason)

        def decide(standing: Standing) -> Change | None:
            connection = standing[0]
            if connection.state is State.REVOKED:
                return None
            why = leases.line(reason) or None

            def wipe(tx: Tx) -> None:
                if look is not None:
                    look(tx, connection)
                self._records.wipe(tx, connection.connection_id, at=now)

            after = transitions.move(connection, State.REVOKED, at=now, reason=why)
            here: Mapping[str, JSON] = {} if at_provider else history.ONLY_HERE
            return Change(after, [Told(kind=Happening.REVOKED, actor=caller.actor, reason=why, data=here)], also=wipe)

        return await self.changing.change(caller, ref, decide, at=now)

    async def report_rejected(self, caller: Caller, resolved: Resolved, reason: str) -> Connection:
        """The service refused the resolved credential as such (not for lack of rights): the connection is renewed, or needs a new
        one by a person.

        Changes nothing if it has one already, or no longer serves, or if the secret's own place holds another one by now. Raises
        ConnectionNotFound.
        """
        now = self._clock.now()
        if await self._replaced(resolved):
            return resolved.connection
        if self.renewer is not None:
            kept = await self.renewer.reject(caller, (resolved.connection, resolved.credential))
            if kept is not None:
                return kept

        def decide(standing: Standing) -> Change | None:
            connection = standing[0]
            stale = connection.current_credential_id != resolved.credential.credential_id
            if stale or connection.state not in transitions.USABLE:
                return None
            after = transitions.move(connection, State.REAUTH_REQUIRED, at=now, reason=leases.line(reason))
            return Change(after, [Told(kind=Happening.REAUTH_REQUIRED, actor=caller.actor, reason=after.reason)])

        return await self.changing.change(caller, resolved.connection.connection_id, decide, at=now)

    async def list_events(
        self, caller: Caller, ref: str, *, after_seq: int = 0, limit: int = MAX_PAGE
    ) -> Sequence[ConnectionEvent]:
        """What happened to the connection, in order, after the event `after_seq`; at most MAX_PAGE. Raises
        ConnectionNotFound."""
        size = max(1, min(limit, MAX_PAGE))

        def look(tx: Tx) -> Sequence[ConnectionEvent]:
            standing = self.changing.look_up(tx, caller, ref)
            if standing is None:
                raise errors.ConnectionNotFound(ref)
            place = standing[0].connection_id
            return self._records.list_events(tx, caller.tenant_id, place, after_seq=after_seq, limit=size)

        return await self._store.read(look)

    async def redactor(self, caller: Caller, ref: str) -> Redactor:
        """Knows the connection's present secrets, as far as they can still be read."""
        found = await self._find(caller, ref)
        if found is None or found[1] is None:
            return Redactor()
        try:
            return Redactor((await self.open(found[0], found[1])).values())
        except (ConnectionError_, errors.CredentialDamaged, StoreError):
            return Redactor()

    async def _not_found(self, caller: Caller, ref: str) -> errors.ConnectionNotFound:
        """With the tenant's name that was probably meant."""
        known = await self.list_connections(caller, limit=MAX_PAGE)
        return errors.ConnectionNotFound(ref, [each.name for each in known])

    async def _replaced(self, resolved: Resolved) -> bool:
        try:
            held = await self._safe.open(resolved.credential)
            return await self.sources.replaced(resolved.connection, resolved.credential, held)
        except (ConnectionError_, errors.CredentialDamaged):
            return False

    async def _find(self, caller: Caller, ref: str) -> Standing | None:
        return await self._store.read(lambda tx: self.changing.look_up(tx, caller, ref))

    async def _try_connect(
        self, caller: Caller, grant: TokenGrant, standing: Standing | None, now: datetime, look: Look | None
    ) -> Connection | None:
        """The connection with its new credential version; None if it is no longer what `standing` says."""
        if standing is None:
            connection, before, version = granted.begun(grant, self._ids.new("con"), caller, at=now), None, 1
        else:
            found, last = standing
            connection, before = granted.renewed(found, grant, at=now), found.revision
            version = 1 if last is None else last.version + 1
        connection = replace(
            connection, current_credential_id=self._ids.new("crd"), credential_expires_at=grant.expires_at
        )
        told = granted.told(None if standing is None else standing[0], connection, actor=caller.actor, version=version)
        kept = grant.secrets if grant.sourcing is None else grant.sourcing.packed()
        # Sealed before the transaction: the cipher may have to read or make a key.
        credential = await self._safe.seal(connection, kept, version=version, expires_at=grant.expires_at, at=now)

        serves_on = grant.overlap and standing is not None and standing[0].state in transitions.USABLE

        def write(tx: Tx) -> Saved | None:
            saved = self.changing.save(tx, connection, told, before=before, at=now)
            if saved is not None:
                if look is not None:
                    look(tx, None if standing is None else standing[0])
                if serves_on:
                    self._records.supersede(tx, connection.connection_id, at=now, overlap_until=now + grant.overlap)
                else:
                    self._records.wipe(tx, connection.connection_id, at=now)
                self._records.add_credential(tx, credential)
            return saved

        saved = await self._store.write(write)
        return None if saved is None else self.changing.publish(saved)
