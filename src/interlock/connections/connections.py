"""Connecting, resolving, leasing, redeeming, revoking: the shell around the room's pure parts."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from interlock import plane
from interlock.connections import choose, errors, granted, leases, sealing, transitions
from interlock.connections.grant import TokenGrant, is_text
from interlock.connections.model import MAX_LEASE, Connection, Credential, Lease, Resolved, State
from interlock.connections.ports import Cipher, Records, Sealed, Standing
from interlock.kernel import Caller, Clock, IdSource, Redactor, RequestError, Secret, Store, StoreError, Tx, is_id

MAX_PAGE: Final = 500
_MAX_REASON: Final = 200
_MAX_CANDIDATES: Final = 50
_MAX_TRIES: Final = 5


class Connections:
    """A tenant's accounts at services. Everything raises StoreError besides what it names."""

    def __init__(self, store: Store, records: Records, cipher: Cipher, *, clock: Clock, ids: IdSource) -> None:
        self._store = store
        self._records = records
        self._cipher = cipher
        self._clock = clock
        self._ids = ids

    async def connect_token(self, caller: Caller, grant: TokenGrant) -> Connection:
        """Keep a token as a connection, or as the next credential version of the connection with that name.

        Older versions are erased and their leases revoked at once: a replaced secret must not be used again.
        Raises InvalidGrant, NameTaken, SubjectMismatch, ServiceMismatch, ConnectionChanged.
        """
        now = self._clock.now()
        grant = grant.checked(now)
        for _ in range(_MAX_TRIES):
            standing = await self._find(caller, grant.connection_name)
            if (connection := await self._try_connect(caller, grant, standing, now)) is not None:
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
                tx, caller.tenant_id, connector_id=connector_id, cursor=cursor, limit=size
            )
        )

    async def fetch_connection(self, caller: Caller, ref: str) -> Connection:
        """The connection with that id or name. Raises ConnectionNotFound, also for another tenant's."""
        standing = await self._find(caller, ref)
        if standing is None:
            raise errors.ConnectionNotFound(ref)
        return standing[0]

    async def resolve(
        self, caller: Caller, *, connector_id: str, scopes: AbstractSet[str], connection: str | None = None
    ) -> Resolved:
        """What a call of this connector will use: the named connection, else the only one that can serve. One read.

        Raises ConnectionNotFound, NoConnection, AmbiguousConnection, WrongConnector, ConnectionInstalling,
        ReauthRequired, ConnectionRevoked, ConnectionDisabled, ConnectionExpired, MissingScopes.
        """
        if connection is None:
            candidates = await self._store.read(
                lambda tx: self._records.list_candidates(tx, caller.tenant_id, connector_id, limit=_MAX_CANDIDATES)
            )
            standing = choose.only_one(candidates, connector_id=connector_id, now=self._clock.now())
        elif (found := await self._find(caller, connection)) is not None:
            standing = found
        else:
            raise errors.ConnectionNotFound(connection)
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

    async def secrets_of(self, resolved: Resolved) -> tuple[Secret, ...]:
        """Every secret of the resolved credential, for a Redactor. Raises CredentialDamaged.

        No read, once the tenant's key is in memory.
        """
        return tuple((await self._open(resolved.credential)).values())

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """One secret field, for one host, under the run's own committed lease: the plane's credential resolver. One read.

        Raises LeaseNotFound, LeaseRevoked, LeaseExpired, HostNotLeased, CredentialDamaged, and what the connection's
        state says: ReauthRequired, ConnectionRevoked, ConnectionDisabled, ConnectionInstalling.
        """
        found = await self._store.read(lambda tx: self._records.find_lease(tx, tenant_id, ref.handle))
        if found is None:
            raise errors.LeaseNotFound(leases.not_found(ref.handle))
        lease, connection, credential = found
        now = self._clock.now()
        leases.check(lease, connection, credential, host=host, tenant_id=tenant_id, run_id=run_id, now=now)
        secrets = await self._open(credential)
        if ref.field not in secrets:
            raise errors.LeaseNotFound(f"lease {lease.lease_id} holds no secret field {ref.field[:60]!r}")
        return secrets[ref.field]

    async def find_lease(self, caller: Caller, lease_id: str) -> Lease | None:
        """The lease, if it is this tenant's."""
        found = await self._store.read(lambda tx: self._records.find_lease(tx, caller.tenant_id, lease_id))
        return None if found is None else found[0]

    async def revoke(self, caller: Caller, ref: str, reason: str) -> Connection:
        """End the connection: every secret version is erased, every lease is revoked. Revoked twice is revoked. The reason is
        kept without the connection's own secrets.

        Raises ConnectionNotFound.
        """
        now = self._clock.now()
        reason = (await self._redactor(caller, ref)).text(reason)

        def change(standing: Standing) -> Connection:
            connection = standing[0]
            if connection.state is State.REVOKED:
                return connection
            return transitions.move(connection, State.REVOKED, at=now, reason=_line(reason) or None)

        return await self._change(caller, ref, change, wipe=True, now=now)

    async def report_rejected(self, caller: Caller, resolved: Resolved, reason: str) -> Connection:
        """The service refused the resolved credential as such (not for lack of rights): the connection needs a new one.

        Changes nothing if it has one already, or no longer serves. Raises ConnectionNotFound.
        """
        now = self._clock.now()

        def change(standing: Standing) -> Connection:
            connection = standing[0]
            stale = connection.current_credential_id != resolved.credential.credential_id
            if stale or connection.state not in transitions.USABLE:
                return connection
            return transitions.move(connection, State.REAUTH_REQUIRED, at=now, reason=_line(reason))

        return await self._change(caller, resolved.connection.connection_id, change, wipe=False, now=now)

    async def _change(
        self, caller: Caller, ref: str, change: Callable[[Standing], Connection], *, wipe: bool, now: datetime
    ) -> Connection:
        def write(tx: Tx) -> Connection | None:
            standing = self._look_up(tx, caller, ref)
            if standing is None:
                raise errors.ConnectionNotFound(ref)
            changed = change(standing)
            if changed is standing[0]:
                return changed
            if not self._records.save(tx, changed, before=standing[0].revision):
                return None
            if wipe:
                self._records.wipe(tx, changed.connection_id, at=now)
            return changed

        for _ in range(_MAX_TRIES):
            if (changed := await self._store.write(write)) is not None:
                return changed
        raise errors.ConnectionChanged(f"connection {ref!r} is being changed by others")

    async def _redactor(self, caller: Caller, ref: str) -> Redactor:
        """Knows the connection's present secrets, as far as they can still be read."""
        found = await self._find(caller, ref)
        if found is None or found[1] is None:
            return Redactor()
        try:
            return Redactor((await self._open(found[1])).values())
        except (errors.LeaseRevoked, errors.CredentialDamaged, StoreError):
            return Redactor()

    async def _find(self, caller: Caller, ref: str) -> Standing | None:
        return await self._store.read(lambda tx: self._look_up(tx, caller, ref))

    def _look_up(self, tx: Tx, caller: Caller, ref: str) -> Standing | None:
        # What no name can be is not asked for: a database may refuse such text.
        return self._records.find(tx, caller.tenant_id, ref) if is_text(ref) else None

    async def _try_connect(
        self, caller: Caller, grant: TokenGrant, standing: Standing | None, now: datetime
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
        # Sealed before the transaction: the cipher may have to read or make a key.
        credential = await self._seal(connection, grant, version, now)

        def write(tx: Tx) -> bool:
            if not self._records.save(tx, connection, before=before):
                return False
            self._records.wipe(tx, connection.connection_id, at=now)
            self._records.add_credential(tx, credential)
            return True

        return connection if await self._store.write(write) else None

    async def _seal(self, connection: Connection, grant: TokenGrant, version: int, now: datetime) -> Credential:
        assert connection.current_credential_id is not None
        fields = tuple(sorted(grant.fields))
        aad = sealing.binding(
            tenant_id=connection.tenant_id,
            connection_id=connection.connection_id,
            credential_id=connection.current_credential_id,
            version=version,
            fields=fields,
        )
        sealed = await self._cipher.seal(connection.tenant_id, sealing.pack(grant.secrets), aad=aad)
        return Credential(
            credential_id=connection.current_credential_id,
            connection_id=connection.connection_id,
            tenant_id=connection.tenant_id,
            version=version,
            key_id=sealed.key_id,
            nonce=sealed.nonce,
            ciphertext=sealed.ciphertext,
            fields=fields,
            expires_at=grant.expires_at,
            revoked_at=None,
            created_at=now,
        )

    async def _open(self, credential: Credential) -> dict[str, Secret]:
        if credential.nonce is None or credential.ciphertext is None:
            raise errors.LeaseRevoked(f"credential {credential.credential_id} was erased")
        sealed = Sealed(key_id=credential.key_id, nonce=credential.nonce, ciphertext=credential.ciphertext)
        plaintext = await self._cipher.open(credential.tenant_id, sealed, aad=sealing.binding_of(credential))
        return sealing.unpack(plaintext, credential.fields)


def _line(text: str) -> str:
    """A reason as one printable line."""
    return "".join(character if character.isprintable() else " " for character in text).strip()[:_MAX_REASON]
