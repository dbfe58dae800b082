"""Imported providers over their records, on every engine."""

from dataclasses import replace

import pytest

from fix_connections import NOW
from interlock import catalog, sdk, testing
from interlock.adapters import sql
from interlock.kernel import Caller

pytestmark = pytest.mark.anyio

RECORDS = sql.ProviderRecords()
OURS, THEIRS = (Caller(tenant_id=name, actor="me") for name in ("t1", "t2"))


def provider(name: str, title: str = "Acme") -> sdk.Provider:
    raw = {
        "contract": sdk.PROVIDER_CONTRACT,
        "provider_id": name,
        "display_name": title,
        "auth": [sdk.api_key(base_url="https://api.acme.dev")],
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
