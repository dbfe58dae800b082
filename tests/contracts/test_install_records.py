"""Installs, OAuth clients and the events of connections over their records, on every engine."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from fix_connections import CLIENT, CONNECTION, INSTALL, NOW, SEALED
from interlock import testing
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.connections import (
    INSTALL_LIFE,
    Connection,
    Found,
    Happening,
    InstallState,
    ManagementMode,
    Reason,
    Refresh,
    SourceKind,
    history,
    install_machine,
)
from interlock.kernel import Tx

pytestmark = pytest.mark.anyio

AWAITING = install_machine.await_callback(
    replace(INSTALL, link_digest="sha256:link", base_url="https://acme.dev", params={"site": "eu"}),
    state_digest="sha256:state",
    browser_digest="sha256:browser",
    redirect_uri="http://127.0.0.1:7/callback",
    issuer="https://acme.dev",
    sealed=SEALED,
    at=NOW,
)
INSTALLS, CLIENTS, CONNECTIONS = sql.InstallRecords(), sql.ClientRecords(), sql.ConnectionRecords()


async def test_an_install_is_kept_and_found_whole(store: sql.SqlStore):
    await store.write(lambda tx: INSTALLS.insert(tx, AWAITING))

    def look(tx: Tx) -> list[object]:
        return [
            INSTALLS.find(tx, "t1", "ins_1"),
            INSTALLS.find_by_link(tx, "sha256:link"),
            INSTALLS.find_by_state(tx, "sha256:state"),
            INSTALLS.find_by_browser(tx, "ins_1", "sha256:browser"),
            *INSTALLS.list_installs(tx, "t1", cursor=None, limit=9),
        ]

    assert await store.read(look) == [AWAITING] * 5


async def test_what_is_not_theirs_or_not_there_is_not_found(store: sql.SqlStore):
    await store.write(lambda tx: INSTALLS.insert(tx, AWAITING))
    await store.write(lambda tx: INSTALLS.insert(tx, replace(INSTALL, install_id="ins_2")))

    def look(tx: Tx) -> list[object]:
        return [
            INSTALLS.find(tx, "t2", "ins_1"),
            INSTALLS.find(tx, "t1", "ins_9"),
            INSTALLS.find_by_link(tx, "sha256:state"),
            INSTALLS.find_by_state(tx, "sha256:link"),
            *INSTALLS.list_installs(tx, "t2", cursor=None, limit=9),
        ]

    assert await store.read(look) == [None] * 4
    pages = await store.read(lambda tx: INSTALLS.list_installs(tx, "t1", cursor="ins_2", limit=1))
    assert pages == [AWAITING]


async def test_of_two_who_take_the_callback_one_does(store: sql.SqlStore):
    await store.write(lambda tx: INSTALLS.insert(tx, AWAITING))
    taken = install_machine.begin_exchange(AWAITING, at=NOW)
    assert await store.write(lambda tx: INSTALLS.replace(tx, AWAITING, taken))
    assert not await store.write(lambda tx: INSTALLS.replace(tx, AWAITING, taken))
    proven = install_machine.prove(
        taken, Found(subject="octo", scopes=frozenset({"read"}), expires_at=NOW), SEALED, at=NOW
    )
    assert await store.write(lambda tx: INSTALLS.replace(tx, taken, proven))
    failed = install_machine.fail(proven, Reason.SUBJECT_MISMATCH, at=NOW)
    assert not await store.write(lambda tx: INSTALLS.replace(tx, replace(proven, tenant_id="t2"), failed))
    assert await store.read(lambda tx: INSTALLS.find(tx, "t1", "ins_1")) == proven
    assert await store.write(lambda tx: INSTALLS.replace(tx, proven, failed))
    assert await store.read(lambda tx: INSTALLS.find(tx, "t1", "ins_1")) == failed


async def test_an_install_that_was_sealed_anew_meanwhile_is_not_overwritten(store: sql.SqlStore):
    await store.write(lambda tx: INSTALLS.insert(tx, AWAITING))
    rotated = update(tables.installs).values(key_id="key_2", ciphertext=b"d")
    await store.write(lambda tx: sql.connection(tx).execute(rotated) and None)
    taken = install_machine.begin_exchange(AWAITING, at=NOW)
    assert not await store.write(lambda tx: INSTALLS.replace(tx, AWAITING, taken))


async def test_those_whose_time_is_over_are_listed(store: sql.SqlStore):
    ended = install_machine.cancel(replace(AWAITING, install_id="ins_2", link_digest=None, state_digest=None), at=NOW)
    late = replace(INSTALL, install_id="ins_3", expires_at=NOW + INSTALL_LIFE + timedelta(seconds=1))
    for install in (AWAITING, ended, late):
        await store.write(lambda tx, install=install: INSTALLS.insert(tx, install))
    over = NOW + INSTALL_LIFE
    assert await store.read(lambda tx: INSTALLS.list_over(tx, over - timedelta(seconds=1), limit=9)) == []
    assert await store.read(lambda tx: INSTALLS.list_over(tx, over, limit=9)) == [AWAITING]
    assert [each.state for each in await store.read(lambda tx: INSTALLS.list_over(tx, over, limit=9))] == [
        InstallState.AWAITING_CALLBACK
    ]


async def test_the_last_install_of_a_client_tells_of_it(store: sql.SqlStore):
    """One that may yet come back tells nothing."""
    waits = replace(AWAITING, oauth_client_id="ocl_1")
    over = NOW + INSTALL_LIFE

    def last(now: datetime, tenant_id: str = "t1", client: str = "ocl_1") -> Callable[[Tx], object]:
        return lambda tx: INSTALLS.find_last_of_client(tx, tenant_id, client, now=now)

    await store.write(lambda tx: INSTALLS.insert(tx, waits))
    assert await store.read(last(NOW)) is None
    assert await store.read(last(over)) == waits
    taken = replace(
        install_machine.begin_exchange(waits, at=NOW + timedelta(seconds=1)),
        install_id="ins_0", link_digest=None, state_digest=None,
    )  # fmt: skip
    await store.write(lambda tx: INSTALLS.insert(tx, taken))
    for now in (NOW, over):
        assert await store.read(last(now)) == taken
    assert [await store.read(each) for each in (last(over, "t2"), last(over, client="ocl_2"))] == [None, None]


async def test_a_client_is_kept_once_per_connector_and_issuer(store: sql.SqlStore):
    public = replace(CLIENT, oauth_client_id="ocl_2", client_id="c-2", sealed=None, fields=(), expires_at=None)
    other = replace(CLIENT, oauth_client_id="ocl_3", issuer="https://other.dev")
    for client in (CLIENT, other, public):
        await store.write(lambda tx, client=client: CLIENTS.save(tx, client))

    def look(tx: Tx) -> list[object]:
        return [
            CLIENTS.find(tx, "t1", connector_id="acme", issuer="https://acme.dev"),
            CLIENTS.find_client(tx, "t1", "ocl_2"),
            CLIENTS.find_client(tx, "t1", "ocl_3"),
            CLIENTS.find_client(tx, "t1", "ocl_1"),
            CLIENTS.find_client(tx, "t2", "ocl_2"),
            CLIENTS.find(tx, "t2", connector_id="acme", issuer="https://acme.dev"),
        ]

    assert await store.read(look) == [public, public, other, None, None, None]
    await store.write(lambda tx: CLIENTS.forget(tx, "t1", "ocl_2"))
    await store.write(lambda tx: CLIENTS.forget(tx, "t2", "ocl_3"))
    assert await store.read(look) == [None, None, other, None, None, None]


async def test_all_that_a_connection_has_is_kept(store: sql.SqlStore):
    whole = replace(
        CONNECTION,
        management_mode=ManagementMode.HOSTED,
        secret_source=SourceKind.ENV,
        source={"token": {"name": "ACME_TOKEN"}},
        params={"site": "eu"},
        refresh=Refresh(due_at=NOW, fence=3, owner_id="own_1", until=NOW, credential_id="crd_1", failures=2),
        refreshed_at=NOW,
        broken_at=NOW,
    )
    await store.write(lambda tx: CONNECTIONS.save(tx, whole, before=None))
    found = await store.read(lambda tx: CONNECTIONS.find(tx, "t1", "work"))
    assert found == (whole, None)


async def test_events_are_written_with_their_change_or_not_at_all(store: sql.SqlStore):
    ids = testing.SequentialIds()

    def told(before: Connection, *kinds: Happening) -> tuple[Connection, tuple[history.ConnectionEvent, ...]]:
        return history.append(before, [history.Told(kind=kind, actor="ann") for kind in kinds], ids=ids, at=NOW)

    first, began = told(CONNECTION, Happening.CONNECTED)
    second, more = told(replace(first, revision=2), Happening.REAUTH_REQUIRED, Happening.RECOVERED)
    assert await store.write(lambda tx: CONNECTIONS.save(tx, first, before=None, events=began))
    assert not await store.write(lambda tx: CONNECTIONS.save(tx, second, before=7, events=more))
    assert await store.write(lambda tx: CONNECTIONS.save(tx, second, before=1, events=more))

    def look(tx: Tx) -> list[object]:
        return [
            [*CONNECTIONS.list_events(tx, "t1", "con_1", after_seq=0, limit=9)],
            [*CONNECTIONS.list_events(tx, "t1", "con_1", after_seq=1, limit=1)],
            [*CONNECTIONS.list_events(tx, "t2", "con_1", after_seq=0, limit=9)],
            CONNECTIONS.find(tx, "t1", "work"),
        ]

    assert await store.read(look) == [[*began, *more], [more[0]], [], (second, None)]
    assert history.check(second, [*began, *more]) is None
