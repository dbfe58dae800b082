"""Installs, and the OAuth clients that were registered for them, in SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Select, and_, delete, insert, select, update

from interlock import connections
from interlock.adapters.sql.rows import optional, pack, pack_set, read_optional, unpack
from interlock.adapters.sql.tables import installs as table
from interlock.adapters.sql.tables import oauth_clients as clients
from interlock.adapters.sql.transaction import connection as session
from interlock.adapters.sql.transaction import lock, use_providers
from interlock.kernel import Tx

_OPEN: Final = tuple(state.value for state in connections.install_machine.OPEN)


def under_way(now: datetime) -> ColumnElement[bool]:
    """Of installs that may still come to a connection."""
    return and_(table.c.state.in_(_OPEN), table.c.expires_at > now)


class InstallRecords:
    """Implements `connections.InstallRecords`."""

    def insert(self, tx: Tx, install: connections.Install) -> None:
        use_providers(tx, install.tenant_id)
        session(tx).execute(insert(table).values(_row(install)))

    def replace(self, tx: Tx, before: connections.Install, after: connections.Install) -> bool:
        fence = (
            table.c.tenant_id == before.tenant_id,
            table.c.install_id == before.install_id,
            table.c.revision == before.revision,
            # A rotation of keys may have sealed it anew meanwhile.
            table.c.key_id.is_not_distinct_from(None if before.sealed is None else before.sealed.key_id),
        )
        return session(tx).execute(update(table).where(*fence).values(_row(after))).rowcount == 1

    def find(self, tx: Tx, tenant_id: str, install_id: str) -> connections.Install | None:
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.install_id == install_id)
        return next(iter(_all(tx, query)), None)

    def find_by_link(self, tx: Tx, link_digest: str) -> connections.Install | None:
        return next(iter(_all(tx, select(table).where(table.c.link_digest == link_digest))), None)

    def find_by_state(self, tx: Tx, state_digest: str) -> connections.Install | None:
        return next(iter(_all(tx, select(table).where(table.c.state_digest == state_digest))), None)

    def find_by_browser(self, tx: Tx, install_id: str, browser_digest: str) -> connections.Install | None:
        query = select(table).where(table.c.install_id == install_id, table.c.browser_digest == browser_digest)
        return next(iter(_all(tx, query)), None)

    def list_installs(self, tx: Tx, tenant_id: str, *, cursor: str | None, limit: int) -> Sequence[connections.Install]:
        query = select(table).where(table.c.tenant_id == tenant_id)
        if cursor is not None:
            query = query.where(table.c.install_id < cursor)
        return _all(tx, query.order_by(table.c.install_id.desc()).limit(limit))

    def find_last_of_client(
        self, tx: Tx, tenant_id: str, oauth_client_id: str, *, now: datetime
    ) -> connections.Install | None:
        waits = and_(table.c.state == connections.InstallState.AWAITING_CALLBACK.value, table.c.expires_at > now)
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.oauth_client_id == oauth_client_id, ~waits)
        return next(iter(_all(tx, query.order_by(table.c.updated_at.desc(), table.c.install_id.desc()).limit(1))), None)

    def list_over(self, tx: Tx, now: datetime, *, limit: int) -> Sequence[connections.Install]:
        query = select(table).where(table.c.state.in_(_OPEN), table.c.expires_at <= now)
        return _all(tx, query.order_by(table.c.expires_at, table.c.install_id).limit(limit))


class ClientRecords:
    """Implements `connections.ClientRecords`."""

    def save(self, tx: Tx, client: connections.OAuthClient) -> None:
        place = (
            clients.c.tenant_id == client.tenant_id,
            clients.c.connector_id == client.connector_id,
            clients.c.issuer == client.issuer,
        )
        lock(tx, f"oauth_client:{client.tenant_id}:{client.connector_id}:{client.issuer}")
        session(tx).execute(delete(clients).where(*place))
        values = {column.name: getattr(client, column.name, None) for column in clients.columns}
        values |= _sealed(client.sealed) | {
            "registration": client.registration.value,
            "redirect_uris": pack(list(client.redirect_uris)),
            "fields": pack(client.fields),
        }
        session(tx).execute(insert(clients).values(values))

    def find(self, tx: Tx, tenant_id: str, *, connector_id: str, issuer: str) -> connections.OAuthClient | None:
        return _client(
            tx,
            select(clients).where(
                clients.c.tenant_id == tenant_id, clients.c.connector_id == connector_id, clients.c.issuer == issuer
            ),
        )

    def find_client(self, tx: Tx, tenant_id: str, oauth_client_id: str) -> connections.OAuthClient | None:
        return _client(
            tx,
            select(clients).where(clients.c.tenant_id == tenant_id, clients.c.oauth_client_id == oauth_client_id),
        )

    def forget(self, tx: Tx, tenant_id: str, oauth_client_id: str) -> None:
        place = (clients.c.tenant_id == tenant_id, clients.c.oauth_client_id == oauth_client_id)
        session(tx).execute(delete(clients).where(*place))


def _sealed(sealed: connections.Sealed | None) -> dict[str, Any]:
    names = ("key_id", "nonce", "ciphertext")
    return {name: None if sealed is None else getattr(sealed, name) for name in names}


def _unseal(facts: dict[str, Any]) -> connections.Sealed | None:
    """The three columns as one value, taken out of the row."""
    key_id, nonce, ciphertext = (facts.pop(name) for name in ("key_id", "nonce", "ciphertext"))
    return None if key_id is None else connections.Sealed(key_id=key_id, nonce=nonce, ciphertext=ciphertext)


def _row(install: connections.Install) -> dict[str, Any]:
    return {column.name: getattr(install, column.name, None) for column in table.columns} | {
        **_sealed(install.sealed),
        "flow": install.flow.value,
        "state": install.state.value,
        "reason": None if install.reason is None else install.reason.value,
        "params_json": pack(install.params),
        "scopes_asked": pack_set(install.scopes_asked),
        "found_json": optional(None if install.found is None else install.found.record()),
    }


def _all(tx: Tx, query: Select[Any]) -> list[connections.Install]:
    return [install_from(record) for record in session(tx).execute(query).mappings()]


def install_from(record: RowMapping) -> connections.Install:
    facts: dict[str, Any] = dict(record)
    found, reason = read_optional(facts.pop("found_json")), facts["reason"]
    facts |= {
        "flow": connections.Flow(facts["flow"]),
        "state": connections.InstallState(facts["state"]),
        "reason": None if reason is None else connections.Reason(reason),
        "params": unpack(facts.pop("params_json")),
        "scopes_asked": frozenset(unpack(facts["scopes_asked"])),
        "found": None if found is None else connections.Found.read(found),
    }
    return connections.Install(sealed=_unseal(facts), **facts)


def _client(tx: Tx, query: Select[Any]) -> connections.OAuthClient | None:
    record = session(tx).execute(query).mappings().first()
    return None if record is None else client_from(record)


def client_from(record: RowMapping) -> connections.OAuthClient:
    facts: dict[str, Any] = dict(record)
    facts |= {
        "registration": connections.Registration(facts["registration"]),
        "redirect_uris": tuple(unpack(facts["redirect_uris"])),
        "fields": tuple(unpack(facts["fields"])),
    }
    return connections.OAuthClient(sealed=_unseal(facts), **facts)
