"""Sets of keys that are shared by the routes of an issuer, and kept for those that are used."""

import json
from dataclasses import replace

import anyio
import pytest
from joserfc import jwk

from interlock import sdk, testing
from interlock.adapters import sql
from interlock.kernel import ProviderError
from interlock.triggers import webhooks
from interlock.triggers.webhooks import key_sets

pytestmark = pytest.mark.anyio

SET, NEXT = (
    json.dumps({"keys": [jwk.ECKey.generate_key("P-256", {"kid": kid}).as_dict(private=False)]}).encode()
    for kid in ("k", "l")
)
URL = "https://a.dev/0"
CLAIMS = {"issuers": ["x"], "audience": "us", "algorithms": ["ES256"], "keys_url": "https://a.dev/0"}
CLOCK = testing.ManualClock()
ROUTE = webhooks.Route(
    route_id="rte_1",
    tenant_id="t1",
    connector_id="tasks",
    topology=webhooks.Topology.PER_INSTALL,
    app_route_id=None,
    connection_id=None,
    token_digest=None,
    resolution={},
    verification=sdk.read_verification(
        {"algorithm": "jwt", "header": "Authorization", "prefix": "Bearer ", "key": "jwks", "claims": CLAIMS}
    ),
    sealed=None,
    secret_version=1,
    former_until=None,
    awaiting_until=None,
    dedupe_seconds=60,
    state=webhooks.RouteState.ACTIVE,
    revision=1,
    created_by="ann",
    created_at=CLOCK.now(),
    updated_at=CLOCK.now(),
)


def sets_of(fetch: key_sets.Fetch, store: sql.SqlStore, clock: testing.ManualClock = CLOCK) -> webhooks.KeySets:
    hosts = frozenset({"a.dev:443", "b.dev:443"})
    return webhooks.KeySets(fetch, store, sql.KeySetRecords(), hosts=hosts, clock=clock)


class Issuer:
    """Has a set of keys, or is away."""

    def __init__(self, content: bytes = SET) -> None:
        self.content: bytes | None = content

    async def fetch(self, tenant_id: str, url: str) -> bytes:
        if self.content is None:
            raise ProviderError("it is away")
        return self.content


async def test_an_issuer_that_is_slow_keeps_no_other_waiting(memory_store: sql.SqlStore):
    asked, answers = anyio.Event(), anyio.Event()

    async def fetch(tenant_id: str, url: str) -> bytes:
        if url == "https://a.dev/0":
            asked.set()
            await answers.wait()
        return SET

    sets = sets_of(fetch, memory_store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sets.read, ROUTE, "https://a.dev/0")
        await asked.wait()
        with anyio.fail_after(30):
            assert (await sets.read(ROUTE, "https://b.dev/0")).reveal() == SET.decode()
        answers.set()


async def test_a_request_that_was_given_up_is_made_again_at_once(memory_store: sql.SqlStore):
    asked, answers = anyio.Event(), anyio.Event()

    async def fetch(tenant_id: str, url: str) -> bytes:
        if asked.is_set():
            return SET
        asked.set()
        await answers.wait()
        raise AssertionError

    sets = sets_of(fetch, memory_store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sets.read, ROUTE, "https://a.dev/0")
        await asked.wait()
        tasks.cancel_scope.cancel()
    assert (await sets.read(ROUTE, "https://a.dev/0")).reveal() == SET.decode()


async def test_a_store_that_keeps_nothing_proves_as_well(memory_store: sql.SqlStore):
    async def fetch(tenant_id: str, url: str) -> bytes:
        memory_store.close()
        return SET

    sets = sets_of(fetch, memory_store)
    assert (await sets.read(ROUTE, "https://a.dev/0")).reveal() == SET.decode()


async def test_tenants_have_each_their_own(memory_store: sql.SqlStore):
    asked: list[str] = []

    async def fetch(tenant_id: str, url: str) -> bytes:
        asked.append(tenant_id)
        return SET

    other = replace(ROUTE, tenant_id="t2")
    for _ in range(2):
        sets = sets_of(fetch, memory_store)
        for route in (ROUTE, other):
            await sets.read(route, "https://a.dev/0")
    assert asked == ["t1", "t2"]


async def test_of_many_sets_those_stay_that_were_used_last(memory_store: sql.SqlStore):
    asked: list[str] = []

    async def fetch(tenant_id: str, url: str) -> bytes:
        asked.append(url.rpartition("/")[2])
        return SET

    sets = sets_of(fetch, memory_store)
    for number in range(key_sets.MOST_HELD):
        await sets.read(ROUTE, f"https://a.dev/{number}")
    CLOCK.advance(key_sets.FRESH.total_seconds())  # what was fetched before is in the store, and fetched again by now
    for name in ("0", "new", "0", "2", "1"):
        await sets.read(ROUTE, f"https://a.dev/{name}")
    assert asked[key_sets.MOST_HELD :] == ["0", "new", "2", "1"]


async def test_what_another_process_fetched_serves_while_the_issuer_is_away(memory_store: sql.SqlStore):
    clock, here, there = testing.ManualClock(), Issuer(), Issuer()
    one, other = sets_of(here.fetch, memory_store, clock), sets_of(there.fetch, memory_store, clock)
    used = [await each.read(ROUTE, URL) for each in (one, other)]
    clock.advance(key_sets.PAUSE.total_seconds())
    there.content = NEXT
    assert await other.renew(ROUTE, URL, used[:1])
    here.content = None
    assert await one.renew(ROUTE, URL, used[:1])
    assert (await one.read(ROUTE, URL)).reveal() == NEXT.decode()


async def test_a_store_that_is_away_with_the_issuer_leaves_what_is_at_hand(memory_store: sql.SqlStore):
    clock, issuer = testing.ManualClock(), Issuer()
    sets = sets_of(issuer.fetch, memory_store, clock)
    await sets.read(ROUTE, URL)
    issuer.content = None
    memory_store.close()
    clock.advance(key_sets.FRESH.total_seconds())
    assert (await sets.read(ROUTE, URL)).reveal() == SET.decode()


async def test_a_set_that_a_wrong_clock_dated_ahead_is_none_and_makes_way(memory_store: sql.SqlStore):
    ahead, right = testing.ManualClock(), testing.ManualClock()
    ahead.advance(10 * key_sets.LASTS.total_seconds())
    await sets_of(Issuer().fetch, memory_store, ahead).read(ROUTE, URL)
    issuer = Issuer()
    issuer.content = None
    with pytest.raises(webhooks.IssuerKeysUnavailable):
        await sets_of(issuer.fetch, memory_store, right).read(ROUTE, URL)
    await sets_of(Issuer(NEXT).fetch, memory_store, right).read(ROUTE, URL)
    assert (await sets_of(issuer.fetch, memory_store, right).read(ROUTE, URL)).reveal() == NEXT.decode()


async def test_clocks_may_be_a_little_apart(memory_store: sql.SqlStore):
    ahead, right = testing.ManualClock(), testing.ManualClock()
    ahead.advance(key_sets.APART.total_seconds())
    await sets_of(Issuer().fetch, memory_store, ahead).read(ROUTE, URL)
    issuer = Issuer()
    issuer.content = None
    assert (await sets_of(issuer.fetch, memory_store, right).read(ROUTE, URL)).reveal() == SET.decode()
