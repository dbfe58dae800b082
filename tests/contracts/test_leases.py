"""Leases that are asked for by themselves, on every engine."""

import contextlib
from collections.abc import Awaitable
from datetime import timedelta

import anyio
import pytest

from interlock import connections, plane, sdk, testing
from interlock.adapters import keys, sql
from interlock.connections import Connections, Happening, Lease, Leases, TokenGrant
from interlock.kernel import Caller, RequestError, Secret, canonical

pytestmark = pytest.mark.anyio

ANN = Caller(tenant_id="t1", actor="ann")
BOB = Caller(tenant_id="t2", actor="bob")
HOST = "api.acme.dev:443"
RUN = "run_" + "0" * 32
PROFILE = sdk.AuthProfile.model_validate_json(
    canonical(sdk.oauth2(base_url="https://api.acme.dev", authorize_url="/authorize", token_url="/token"))
)
GRANT = TokenGrant(
    connector_id="acme",
    profile_id="oauth2",
    fields=("access_token", "refresh_token"),
    secrets={"access_token": Secret("at-0123456789"), "refresh_token": Secret("rt-0123456789")},
    scopes=frozenset({"read", "write"}),
)


async def _profile(_tenant: str, _connector: str, _profile: str) -> sdk.AuthProfile:
    return PROFILE


class Office:
    """Leases, as one process has them, on a store that it may share with others."""

    def __init__(self, store: sql.SqlStore, clock: testing.ManualClock, ids: testing.SequentialIds) -> None:
        ring = keys.Keyring(
            keys.RootKey(bytes(range(32)), source="test"), sql.KeyRecords(), store, clock=clock, ids=ids
        )
        records = sql.ConnectionRecords()
        self.accounts = Connections(store, records, ring, clock=clock, ids=ids)
        self.leases = Leases(store, records, self.accounts, profile=_profile, clock=clock)

    def redeem(
        self, lease: Lease, field: str = "access_token", caller: Caller = ANN, run_id: str | None = None
    ) -> Awaitable[Secret]:
        return self.leases.redeem(caller, lease.lease_id, field, host=HOST, run_id=run_id)


@pytest.fixture
def clock() -> testing.ManualClock:
    return testing.ManualClock()


@pytest.fixture
async def offices(store: sql.SqlStore, clock: testing.ManualClock) -> tuple[Office, Office]:
    """Two processes on one store, with a connection."""
    ids = testing.SequentialIds()
    first, second = Office(store, clock, ids), Office(store, clock, ids)
    await first.accounts.connect_token(ANN, GRANT)
    return first, second


async def test_a_lease_opens_what_is_shown_to_the_service_and_no_more(offices: tuple[Office, Office]):
    office = offices[0]
    lease = await office.leases.request(ANN, "acme", scopes={"read"}, ttl=timedelta(seconds=60))
    assert (lease.hosts, lease.scopes, lease.run_id) == ({HOST}, {"read"}, None)
    assert lease.expires_at - lease.issued_at == timedelta(seconds=60)
    assert (await office.redeem(lease)).reveal() == "at-0123456789"
    for field in ("refresh_token", "password"):
        with pytest.raises(connections.LeaseNotFound):
            await office.redeem(lease, field)
    with pytest.raises(connections.HostNotLeased):
        await office.leases.redeem(ANN, lease.lease_id, "access_token", host="evil.dev:443")
    with pytest.raises(connections.MissingScopes):
        await office.leases.request(ANN, "acme", scopes={"admin"})


async def test_a_lease_of_one_run_serves_that_run(offices: tuple[Office, Office]):
    office = offices[0]
    bound = await office.leases.request(ANN, "acme", scopes=set(), run_id=RUN)
    free = await office.leases.request(ANN, "acme", scopes=set())
    assert (await office.redeem(bound, run_id=RUN)).reveal() == "at-0123456789"
    for lease, run_id in ((bound, None), (bound, RUN[:-1] + "1"), (free, RUN)):
        with pytest.raises(connections.LeaseNotFound):
            await office.redeem(lease, run_id=run_id)
    (renewed,) = [await office.leases.renew(ANN, bound.lease_id)]
    assert renewed.run_id == RUN


async def test_a_lease_for_a_block_is_over_with_it_however_it_ends(offices: tuple[Office, Office]):
    first, second = offices

    async def use(then: BaseException | None, stopped: anyio.CancelScope) -> None:
        span = timedelta(seconds=60)
        async with first.leases.lent(ANN, "acme", scopes={"read"}, run_id=RUN, ttl=span) as lease:
            used.append(lease.lease_id)
            assert (await second.redeem(lease, run_id=RUN)).reveal() == "at-0123456789"
            if then is not None:
                raise then
            stopped.cancel()
            await anyio.sleep_forever()

    used: list[str] = []
    revision = (await first.accounts.fetch_connection(ANN, "acme")).revision
    for then in (None, ValueError("the server is gone")):
        with contextlib.suppress(ValueError), anyio.CancelScope() as stopped:
            await use(then, stopped)
        assert await first.leases.list_leases(ANN, "acme") == []
        with pytest.raises(connections.LeaseRevoked):
            await first.leases.redeem(ANN, used[-1], "access_token", host=HOST, run_id=RUN)
    assert (await first.accounts.fetch_connection(ANN, "acme")).revision == revision


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=301), timedelta(seconds=-1)])
async def test_no_lease_lives_longer_than_five_minutes(offices: tuple[Office, Office], ttl: timedelta):
    with pytest.raises(RequestError, match="at most 300 s"):
        await offices[0].leases.request(ANN, "acme", scopes=set(), ttl=ttl)
    with pytest.raises(RequestError, match="no run's id"):
        await offices[0].leases.request(ANN, "acme", scopes=set(), run_id="my run")


async def test_a_revoked_lease_is_dead_at_once_in_another_process(offices: tuple[Office, Office]):
    first, second = offices
    lease, other = [await first.leases.request(ANN, "acme", scopes=set()) for _ in range(2)]
    await second.redeem(lease)
    ended = await first.leases.revoke(ANN, lease.lease_id, reason="at-0123456789 was seen")
    assert ended.revoked_at is not None
    with pytest.raises(connections.LeaseRevoked):
        await second.redeem(lease)
    with pytest.raises(connections.LeaseRevoked):
        await second.leases.renew(ANN, lease.lease_id)
    await second.redeem(other)
    assert (await second.leases.revoke(ANN, lease.lease_id)).revoked_at == ended.revoked_at
    told = [each for each in await first.accounts.list_events(ANN, "acme") if each.type is Happening.LEASE_REVOKED]
    (event,) = told
    assert lease.lease_id in event.body
    assert "at-0123456789" not in event.body
    connection = await first.accounts.fetch_connection(ANN, "acme")
    assert connections.check_history(connection, await first.accounts.list_events(ANN, "acme")) is None


async def test_a_renewed_lease_is_another_one(offices: tuple[Office, Office], clock: testing.ManualClock):
    first, second = offices
    lease = await first.leases.request(ANN, "acme", scopes={"read"})
    clock.advance(200)
    following = await second.leases.renew(ANN, lease.lease_id)
    assert (following.scopes, following.hosts) == (lease.scopes, lease.hosts)
    assert following.expires_at - lease.expires_at == timedelta(seconds=200)
    with pytest.raises(connections.LeaseRevoked):
        await first.redeem(lease)
    await first.redeem(following)
    clock.advance(300)
    for late in (first.redeem(following), first.leases.renew(ANN, following.lease_id)):
        with pytest.raises(connections.LeaseExpired):
            await late


async def test_of_many_who_renew_a_lease_one_gets_the_next(offices: tuple[Office, Office]):
    lease = await offices[0].leases.request(ANN, "acme", scopes=set())
    made: list[Lease] = []

    async def renew(office: Office) -> None:
        with contextlib.suppress(connections.LeaseRevoked):
            made.append(await office.leases.renew(ANN, lease.lease_id))

    async with anyio.create_task_group() as tasks:
        for place in range(6):
            tasks.start_soon(renew, offices[place % 2])
    assert await offices[0].leases.list_leases(ANN, "acme") == made
    assert len(made) == 1


async def test_a_connection_that_ends_takes_its_leases_along(offices: tuple[Office, Office]):
    first, second = offices
    lease = await first.leases.request(ANN, "acme", scopes=set())
    await second.accounts.revoke(ANN, "acme", "")
    for late in (first.redeem(lease), first.leases.renew(ANN, lease.lease_id)):
        with pytest.raises(connections.ConnectionRevoked):
            await late
    assert await first.leases.list_leases(ANN, "acme") == []
    await second.accounts.connect_token(ANN, GRANT)
    with pytest.raises(connections.LeaseRevoked):
        await first.redeem(lease)


async def test_leases_are_listed_a_page_at_a_time(offices: tuple[Office, Office], clock: testing.ManualClock):
    leases = offices[0].leases
    await leases.request(ANN, "acme", scopes=set(), ttl=timedelta(seconds=5))
    clock.advance(5)
    made = [await leases.request(ANN, "acme", scopes=set()) for _ in range(3)]
    newest = sorted(made, key=lambda each: each.lease_id, reverse=True)
    assert await leases.list_leases(ANN, "acme") == newest
    assert await leases.list_leases(ANN, "acme", limit=2) == newest[:2]
    with pytest.raises(RequestError):
        await leases.list_leases(ANN, "acme", cursor="page 2")


async def test_another_tenant_has_no_part_in_it(offices: tuple[Office, Office]):
    office = offices[0]
    lease = await office.leases.request(ANN, "acme", scopes=set())
    for foreign in (
        office.redeem(lease, caller=BOB),
        office.leases.renew(BOB, lease.lease_id),
        office.leases.revoke(BOB, lease.lease_id),
    ):
        with pytest.raises(connections.LeaseNotFound):
            await foreign
    with pytest.raises(connections.ConnectionNotFound):
        await office.leases.list_leases(BOB, "acme")
    with pytest.raises(connections.ConnectionNotFound):
        await office.leases.request(BOB, "acme", scopes=set())
    await office.redeem(lease)


async def test_the_plane_redeems_no_lease_without_a_run(offices: tuple[Office, Office]):
    lease = await offices[0].leases.request(ANN, "acme", scopes=set())
    with pytest.raises(connections.LeaseNotFound):
        await offices[0].accounts.redeem(
            plane.SecretRef(lease.lease_id, "access_token"), host=HOST, tenant_id="t1", run_id=RUN
        )
