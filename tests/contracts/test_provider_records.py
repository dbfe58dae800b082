"""Imported providers over their records, on every engine."""

import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import text

from fix_connections import CONNECTION, CREDENTIAL, INSTALL, NOW
from interlock import catalog, connections, sdk, testing
from interlock.adapters import sql
from interlock.kernel import Caller, Tx

pytestmark = pytest.mark.anyio

RECORDS = sql.ProviderRecords()
OURS, THEIRS = (Caller(tenant_id=name, actor="me") for name in ("t1", "t2"))


def provider(name: str, title: str = "Acme", *, base_url: str = "https://api.acme.dev", **more: Any) -> sdk.Provider:
    raw = {
        "contract": sdk.PROVIDER_CONTRACT,
        "provider_id": name,
        "display_name": title,
        "auth": [sdk.api_key(base_url=base_url)],
        **more,
    }
    return sdk.read_provider(raw, source="test")


def imported(*providers: sdk.Provider, missing: tuple[str, ...] = ()) -> catalog.Imported:
    entries = [
        catalog.Entry(entry_id=each.provider_id, provider=each, missing=missing, open_host=True) for each in providers
    ]
    refused = catalog.Entry(entry_id="refused", provider=None, missing=("mode: none",))
    return catalog.Imported(format="nango", source="f.yaml", digest="sha256:f", entries=(*entries, refused))


def room(store: sql.SqlStore) -> catalog.Providers:
    return catalog.Providers(store, RECORDS, clock=testing.ManualClock(NOW))


async def test_what_was_imported_is_kept_and_found_whole(store: sql.SqlStore):
    [kept] = await room(store).keep(OURS, imported(provider("acme"), missing=("proxy: something",)))
    assert await room(store).fetch("t1", "acme") == kept
    assert (kept.coverage, kept.imported_by, kept.imported_at) == (catalog.Coverage.PARTIAL, "me", NOW)
    again = await room(store).keep(OURS, replace(imported(provider("acme", "New")), source="g.yaml"))
    assert await room(store).list_providers(OURS) == again


async def test_a_tenant_sees_its_own_in_pages(store: sql.SqlStore):
    await room(store).keep(OURS, imported(*(provider(name) for name in ("b_b", "a_a", "c_c"))))
    await room(store).keep(THEIRS, imported(provider("a_a", "Theirs")))
    first = await room(store).list_providers(OURS, limit=2)
    rest = await room(store).list_providers(OURS, cursor=first[-1].provider_id)
    assert [each.provider_id for each in (*first, *rest)] == ["a_a", "b_b", "c_c"]
    assert (await room(store).fetch("t2", "a_a")).provider.display_name == "Theirs"
    with pytest.raises(catalog.UnknownProvider, match="did you mean b_b"):
        await room(store).fetch("t1", "b_bb")
    with pytest.raises(catalog.UnknownProvider):
        await room(store).fetch("t2", "b_b")


async def test_where_credentials_go_is_not_changed_unasked(store: sql.SqlStore):
    keep = room(store).keep
    acme = provider("acme")
    await keep(OURS, imported(acme, provider("other")))
    used = replace(CONNECTION, connector_id="provider_acme", profile_id=acme.auth[0].profile_id)
    accounts = sql.ConnectionRecords()

    def connect(tx: Tx) -> None:
        assert accounts.save(tx, used, before=None)
        accounts.add_credential(tx, CREDENTIAL)

    await store.write(connect)
    for moved, what in (
        (provider("acme", base_url="https://evil.dev"), "base_url was 'https://api.acme.dev', is 'https://evil.dev'"),
        (provider("acme", headers={"x-to": "evil.dev"}), "headers.x-to was nothing"),
        (provider("acme", auth=[sdk.api_key("key", base_url="https://api.acme.dev")]), "is nothing"),
    ):
        with pytest.raises(catalog.ProviderInUse, match=r"acme \(work\)") as caught:
            await keep(OURS, imported(provider("other", "New"), moved), replace=["other"])
        assert what in str(caught.value)
    assert (await room(store).fetch("t1", "acme")).provider == acme
    assert (await room(store).fetch("t1", "other")).provider.display_name == "Acme"
    await keep(OURS, imported(provider("acme", "New words"), provider("other", base_url="https://new.dev")))
    await keep(THEIRS, imported(provider("acme", base_url="https://theirs.dev")))
    await keep(OURS, imported(provider("acme", base_url="https://new.dev")), replace=["acme"])
    with pytest.raises(catalog.ProviderInUse, match="1 connection is connected by acme, or being connected: work"):
        await room(store).remove(OURS, "acme")
    await store.write(lambda tx: accounts.wipe(tx, used.connection_id, at=NOW))
    await room(store).remove(OURS, "acme")
    with pytest.raises(catalog.UnknownProvider):
        await room(store).remove(OURS, "acme")
    assert (await room(store).fetch("t2", "acme")).provider.display_name == "Acme"


async def test_what_is_being_connected_goes_where_it_was_begun_for(store: sql.SqlStore):
    acme, moved = provider("acme"), imported(provider("acme", base_url="https://evil.dev"))
    await room(store).keep(OURS, imported(acme))
    begun = replace(
        INSTALL,
        connector_id="provider_acme",
        profile_id=acme.auth[0].profile_id,
        connection_name="soon",
        state=connections.InstallState.AWAITING_CALLBACK,
        expires_at=NOW + timedelta(seconds=1),
    )
    await store.write(partial(sql.InstallRecords().insert, install=begun))
    with pytest.raises(catalog.ProviderInUse, match=r"acme \(soon\)"):
        await room(store).keep(OURS, moved)
    with pytest.raises(catalog.ProviderInUse, match="being connected: soon"):
        await room(store).remove(OURS, "acme")
    await room(store).keep(OURS, imported(provider("acme", "New words")))
    over = replace(begun, state=connections.InstallState.CANCELLED, install_id="ins_2", connection_name="over")
    await store.write(partial(sql.InstallRecords().insert, install=over))
    (use,) = await store.read(lambda tx: RECORDS.list_uses(tx, "t1", ["acme"], now=NOW))
    assert (use.connections, use.one) == (1, "soon")
    later = catalog.Providers(store, RECORDS, clock=testing.ManualClock(begun.expires_at))
    await later.keep(OURS, moved)


async def test_a_connection_that_is_connected_anew_is_told_of_once(store: sql.SqlStore):
    acme = provider("acme")
    await room(store).keep(OURS, imported(acme))
    place: dict[str, Any] = {"connector_id": "provider_acme", "profile_id": acme.auth[0].profile_id}
    again = replace(INSTALL, **place, connection_name=CONNECTION.name, expires_at=NOW + timedelta(seconds=1))
    accounts = sql.ConnectionRecords()

    def connect(tx: Tx) -> None:
        assert accounts.save(tx, replace(CONNECTION, **place), before=None)
        accounts.add_credential(tx, CREDENTIAL)
        sql.InstallRecords().insert(tx, again)

    await store.write(connect)
    (use,) = await store.read(lambda tx: RECORDS.list_uses(tx, "t1", ["acme"], now=NOW))
    assert (use.connections, use.one) == (1, CONNECTION.name)


async def test_who_connects_meanwhile_is_waited_for(store: sql.SqlStore):
    """On Postgres, writers do not wait for each other by themselves."""
    acme = provider("acme")
    await room(store).keep(OURS, imported(acme))
    used = replace(CONNECTION, connector_id="provider_acme", profile_id=acme.auth[0].profile_id)
    accounts, written, imports = sql.ConnectionRecords(), threading.Event(), threading.Event()

    def connect(tx: Tx) -> None:
        assert accounts.save(tx, used, before=None)
        accounts.add_credential(tx, CREDENTIAL)
        written.set()
        session = sql.connection(tx)
        while session.dialect.name == "postgresql" and not imports.is_set():
            if session.execute(text("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).first():
                break

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.write, connect)
        await anyio.to_thread.run_sync(written.wait)
        try:
            with pytest.raises(catalog.ProviderInUse):
                await room(store).keep(OURS, imported(provider("acme", base_url="https://evil.dev")))
        finally:
            imports.set()


async def test_who_connects_waits_for_nobody_who_connects(store: sql.SqlStore):
    """On Postgres. On SQLite writers are alone anyway."""
    accounts, begun, through = sql.ConnectionRecords(), threading.Event(), threading.Event()
    other = replace(CONNECTION, connection_id="con_2", name="other", current_credential_id="crd_2")

    def first(tx: Tx) -> None:
        assert accounts.save(tx, CONNECTION, before=None)
        accounts.add_credential(tx, CREDENTIAL)
        begun.set()
        session = sql.connection(tx)
        while session.dialect.name == "postgresql" and not through.is_set():
            waiting = text("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            assert session.execute(waiting).first() is None

    def second(tx: Tx) -> None:
        assert accounts.save(tx, other, before=None)
        accounts.add_credential(tx, replace(CREDENTIAL, connection_id="con_2", credential_id="crd_2"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.write, first)
        await anyio.to_thread.run_sync(begun.wait)
        try:
            await store.write(second)
        finally:
            through.set()


async def test_a_provider_that_says_something_else_by_now_is_not_held(store: sql.SqlStore):
    acme = provider("acme")
    await room(store).keep(OURS, imported(acme))
    manifest = await room(store).fetch_manifest("t1", "provider_acme")
    await store.write(lambda tx: room(store).hold(tx, "t1", manifest))
    for tenant_id, known in (("t2", acme), ("t1", provider("acme", base_url="https://new.dev"))):
        await room(store).keep(OURS, imported(known))
        with pytest.raises(catalog.ProviderChanged, match="acme"):
            await store.write(lambda tx, tenant=tenant_id: room(store).hold(tx, tenant, manifest))
