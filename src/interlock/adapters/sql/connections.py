"""Connections, credential versions and leases in SQL."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, Select, and_, bindparam, case, delete, insert, or_, select, update

from interlock import connections
from interlock.adapters.sql.rows import lease_from, optional, pack, pack_set, read_optional, unpack
from interlock.adapters.sql.subscriptions import tell
from interlock.adapters.sql.tables import connection_events as happened
from interlock.adapters.sql.tables import connections as accounts
from interlock.adapters.sql.tables import credentials, leases, validators
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import lock, use_providers
from interlock.kernel import Tx, is_id

_ACCOUNT: Final = tuple(column.name for column in accounts.columns)
_CREDENTIAL: Final = tuple(column.name for column in credentials.columns)
_LEASE: Final = tuple(column.name for column in leases.columns)
_EVENT: Final = tuple(column.name for column in happened.columns)
_REFRESH: Final = tuple(each.name for each in fields(connections.Refresh))

# Every governed call runs one or two of these, so they are built once: then only their parameters differ.
_STANDING: Final[Select[Any]] = (
    select(accounts, credentials)
    .select_from(accounts)
    .outerjoin(credentials, credentials.c.credential_id == accounts.c.current_credential_id)
    .where(accounts.c.tenant_id == bindparam("tenant"))
)
_BY_ID: Final = _STANDING.where(accounts.c.connection_id == bindparam("ref"))
_BY_NAME: Final = _STANDING.where(accounts.c.name == bindparam("ref"))
_CANDIDATES: Final = (
    _STANDING.where(accounts.c.connector_id == bindparam("connector"))
    .order_by(
        case({state.value: 0 for state in connections.USABLE}, value=accounts.c.state, else_=1),
        accounts.c.updated_at.desc(),
        accounts.c.connection_id.desc(),
    )
    .limit(bindparam("size"))
)
_LISTED: Final[Select[Any]] = (
    select(accounts, credentials.c.expires_at)
    .select_from(accounts)
    .outerjoin(credentials, credentials.c.credential_id == accounts.c.current_credential_id)
)
_BY_LEASE: Final[Select[Any]] = (
    select(leases, accounts, credentials)
    .join(accounts, accounts.c.connection_id == leases.c.connection_id)
    .join(credentials, credentials.c.credential_id == leases.c.credential_id)
    .where(leases.c.lease_id == bindparam("lease"), leases.c.tenant_id == bindparam("tenant"))
)


class ConnectionRecords:
    """Implements `connections.Records`."""

    def find(self, tx: Tx, tenant_id: str, ref: str) -> connections.Standing | None:
        query = _BY_ID if is_id(ref, "con") else _BY_NAME
        row = session(tx).execute(query, {"tenant": tenant_id, "ref": ref}).one_or_none()
        return None if row is None else _standing(row)

    def list_candidates(
        self, tx: Tx, tenant_id: str, connector_id: str, *, limit: int
    ) -> Sequence[connections.Standing]:
        found = session(tx).execute(_CANDIDATES, {"tenant": tenant_id, "connector": connector_id, "size": limit})
        return [_standing(row) for row in found]

    def list_connections(
        self,
        tx: Tx,
        tenant_id: str,
        *,
        connector_id: str | None,
        cursor: str | None,
        limit: int,
        only: AbstractSet[str] | None,
    ) -> Sequence[connections.Connection]:
        query = _LISTED.where(accounts.c.tenant_id == tenant_id)
        if connector_id is not None:
            query = query.where(accounts.c.connector_id == connector_id)
        if cursor is not None:
            query = query.where(accounts.c.connection_id < cursor)
        if only is not None:
            query = query.where(accounts.c.connection_id.in_(only))
        found = session(tx).execute(query.order_by(accounts.c.connection_id.desc()).limit(limit))
        return [_connection(row[:-1], ends=row[-1]) for row in found]

    def find_lease(
        self, tx: Tx, tenant_id: str, lease_id: str
    ) -> tuple[connections.Lease, connections.Connection, connections.Credential] | None:
        row = session(tx).execute(_BY_LEASE, {"tenant": tenant_id, "lease": lease_id}).one_or_none()
        if row is None:
            return None
        first, second = len(_LEASE), len(_LEASE) + len(_ACCOUNT)
        lease = lease_from(dict(zip(_LEASE, row[:first], strict=True)))
        credential = credential_from(row[second:])
        return lease, _connection(row[first:second], ends=credential.expires_at), credential

    def add_lease(self, tx: Tx, lease: connections.Lease) -> None:
        values = _values(lease, _LEASE) | {"scopes": pack_set(lease.scopes), "hosts": pack_set(lease.hosts)}
        session(tx).execute(insert(leases).values(values))

    def end_lease(self, tx: Tx, tenant_id: str, lease_id: str, *, at: datetime) -> bool:
        mine = (leases.c.lease_id == lease_id, leases.c.tenant_id == tenant_id, leases.c.revoked_at.is_(None))
        return session(tx).execute(update(leases).where(*mine).values(revoked_at=at)).rowcount == 1

    def list_leases(
        self, tx: Tx, tenant_id: str, connection_id: str, *, now: datetime, cursor: str | None, limit: int
    ) -> Sequence[connections.Lease]:
        wanted = select(leases).where(
            leases.c.connection_id == connection_id,
            leases.c.tenant_id == tenant_id,
            leases.c.revoked_at.is_(None),
            leases.c.expires_at > now,
        )
        if cursor is not None:
            wanted = wanted.where(leases.c.lease_id < cursor)
        found = session(tx).execute(wanted.order_by(leases.c.lease_id.desc()).limit(limit)).mappings()
        return [lease_from(dict(row)) for row in found]

    def save(
        self,
        tx: Tx,
        connection: connections.Connection,
        *,
        before: int | None,
        events: Sequence[connections.ConnectionEvent] = (),
    ) -> bool:
        if not self._save(tx, connection, before=before):
            return False
        if events:
            session(tx).execute(insert(happened), [_values(event, _EVENT) for event in events])
            tell(tx, connection.tenant_id, [(event.connection_id, event.seq) for event in events])
        return True

    def _save(self, tx: Tx, connection: connections.Connection, *, before: int | None) -> bool:
        values = _account(connection)
        if before is not None:
            fence = (
                accounts.c.tenant_id == connection.tenant_id,
                accounts.c.connection_id == connection.connection_id,
                accounts.c.revision == before,
            )
            return session(tx).execute(update(accounts).where(*fence).values(values)).rowcount == 1
        # Two processes may pick the same name at once: the second waits here, and then sees the first's row.
        lock(tx, f"connection:{connection.tenant_id}:{connection.name}")
        taken = select(accounts.c.connection_id).where(
            accounts.c.tenant_id == connection.tenant_id, accounts.c.name == connection.name
        )
        if session(tx).execute(taken).first() is not None:
            return False
        session(tx).execute(insert(accounts).values(values))
        return True

    def add_credential(self, tx: Tx, credential: connections.Credential) -> None:
        use_providers(tx, credential.tenant_id)
        values = {name: getattr(credential, name) for name in _CREDENTIAL if name != "grant_json"}
        values |= {"fields": pack(credential.fields), "grant_json": optional(credential.grant)}
        session(tx).execute(insert(credentials).values(values))

    def list_events(
        self, tx: Tx, tenant_id: str, connection_id: str, *, after_seq: int, limit: int
    ) -> Sequence[connections.ConnectionEvent]:
        wanted = (
            select(happened)
            .where(
                happened.c.tenant_id == tenant_id,
                happened.c.connection_id == connection_id,
                happened.c.seq > after_seq,
            )
            .order_by(happened.c.seq)
            .limit(limit)
        )
        found = session(tx).execute(wanted).mappings()
        return [_event(row) for row in found]

    def end_sooner(self, tx: Tx, credential_id: str, ends: datetime) -> None:
        mine = credentials.c.credential_id == credential_id
        session(tx).execute(update(credentials).where(mine).values(expires_at=ends))

    def supersede(self, tx: Tx, connection_id: str, *, at: datetime, overlap_until: datetime) -> None:
        present = (credentials.c.connection_id == connection_id, credentials.c.revoked_at.is_(None))
        session(tx).execute(
            update(credentials)
            .where(*present, credentials.c.superseded_at.is_not(None))
            .values(nonce=None, ciphertext=None, revoked_at=at)
        )
        session(tx).execute(
            update(credentials)
            .where(*present, credentials.c.superseded_at.is_(None))
            .values(superseded_at=at, overlap_until=overlap_until)
        )

    def list_superseded(
        self, tx: Tx, now: datetime, *, limit: int
    ) -> Sequence[tuple[connections.Connection, connections.Credential, connections.Credential | None]]:
        current = credentials.alias()
        wanted = (
            select(credentials, accounts, current)
            .join(accounts, accounts.c.connection_id == credentials.c.connection_id)
            .outerjoin(current, current.c.credential_id == accounts.c.current_credential_id)
            .where(
                credentials.c.overlap_until.is_not(None),  # as the index has it
                credentials.c.overlap_until <= now,
                credentials.c.revoked_at.is_(None),
            )
            .order_by(credentials.c.overlap_until, credentials.c.credential_id)
            .limit(limit)
        )
        split = len(_CREDENTIAL)
        found = [(credential_from(row[:split]), *_standing(row[split:])) for row in session(tx).execute(wanted)]
        return [(connection, old, present) for old, connection, present in found]

    def erase(self, tx: Tx, credential_id: str, *, at: datetime) -> bool:
        mine = (credentials.c.credential_id == credential_id, credentials.c.revoked_at.is_(None))
        erased = {"nonce": None, "ciphertext": None, "revoked_at": at}
        return session(tx).execute(update(credentials).where(*mine).values(**erased)).rowcount == 1

    def list_held(self, tx: Tx, connection_id: str) -> Sequence[connections.Credential]:
        held = (credentials.c.connection_id == connection_id, credentials.c.revoked_at.is_(None))
        columns = [credentials.c[name] for name in _CREDENTIAL]
        found = session(tx).execute(select(*columns).where(*held).order_by(credentials.c.version))
        return [credential_from(row) for row in found]

    def list_due(
        self, tx: Tx, now: datetime, *, after: connections.Connection | None = None, limit: int
    ) -> Sequence[connections.Connection]:
        due, place = accounts.c.refresh_due_at, accounts.c.connection_id
        wanted = _LISTED.where(
            due.is_not(None), due <= now, accounts.c.state.in_([each.value for each in connections.USABLE])
        )
        if after is not None:
            last = after.refresh.due_at
            wanted = wanted.where(or_(due > last, and_(due == last, place > after.connection_id)))
        found = session(tx).execute(wanted.order_by(due, place).limit(limit))
        return [_connection(row[:-1], ends=row[-1]) for row in found]

    def wipe(self, tx: Tx, connection_id: str, *, at: datetime) -> None:
        session(tx).execute(
            update(credentials)
            .where(credentials.c.connection_id == connection_id, credentials.c.revoked_at.is_(None))
            .values(nonce=None, ciphertext=None, revoked_at=at)
        )
        session(tx).execute(
            update(leases)
            .where(leases.c.connection_id == connection_id, leases.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        # What the service showed under that credential goes with it.
        owner = select(accounts.c.tenant_id).where(accounts.c.connection_id == connection_id).scalar_subquery()
        session(tx).execute(
            delete(validators).where(validators.c.tenant_id == owner, validators.c.connection_id == connection_id)
        )


def _values(record: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _standing(row: Sequence[Any]) -> connections.Standing:
    split = len(_ACCOUNT)
    credential = None if row[split] is None else credential_from(row[split:])
    return _connection(row[:split], ends=None if credential is None else credential.expires_at), credential


def _account(connection: connections.Connection) -> dict[str, Any]:
    """The columns of a connection; those of its refresh stand among them."""
    made = {
        "state": connection.state.value,
        "scopes": pack_set(connection.scopes),
        "management_mode": connection.management_mode.value,
        "secret_source": connection.secret_source.value,
        "source_json": optional(connection.source),
        "params_json": pack(connection.params),
    } | {f"refresh_{name}": getattr(connection.refresh, name) for name in _REFRESH}
    return _values(connection, [name for name in _ACCOUNT if name not in made]) | made


def _connection(row: Sequence[Any], *, ends: datetime | None) -> connections.Connection:
    """`ends` is when its current credential does."""
    facts: dict[str, Any] = dict(zip(_ACCOUNT, row, strict=True), credential_expires_at=ends)
    facts["state"] = connections.State(facts["state"])
    facts["scopes"] = frozenset(unpack(facts["scopes"]))
    facts["management_mode"] = connections.ManagementMode(facts["management_mode"])
    facts["secret_source"] = connections.SourceKind(facts["secret_source"])
    facts["params"] = unpack(facts.pop("params_json"))
    facts["source"] = read_optional(facts.pop("source_json"))
    facts["refresh"] = connections.Refresh(**{name: facts.pop(f"refresh_{name}") for name in _REFRESH})
    return connections.Connection(**facts)


def credential_from(row: Sequence[Any]) -> connections.Credential:
    facts: dict[str, Any] = dict(zip(_CREDENTIAL, row, strict=True))
    facts["fields"] = tuple(unpack(facts["fields"]))
    facts["grant"] = read_optional(facts.pop("grant_json"))
    return connections.Credential(**facts)


def _event(row: RowMapping) -> connections.ConnectionEvent:
    facts: dict[str, Any] = dict(row)
    facts["type"] = connections.Happening(facts["type"])
    return connections.ConnectionEvent(**facts)
