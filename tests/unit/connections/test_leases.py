"""Leases: short, narrow, and checked at every use."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_connections import CONNECTION, CREDENTIAL, NOW
from interlock import connections
from interlock.connections import leases
from interlock.connections.model import MAX_LEASE, Lease, Resolved, State
from interlock.kernel import InterlockError

HOST = "api.acme.dev:443"


def issue(
    *,
    scopes: AbstractSet[str] = frozenset({"read"}),
    hosts: AbstractSet[str] = frozenset({HOST}),
    ttl: timedelta = MAX_LEASE,
    ends: datetime | None = None,
) -> Lease:
    resolved = Resolved(connection=CONNECTION, credential=replace(CREDENTIAL, expires_at=ends))
    return leases.issue(resolved, lease_id="lse_1", scopes=scopes, hosts=hosts, run_id="run_1", ttl=ttl, now=NOW)


def test_a_lease_names_what_it_permits_and_nothing_more():
    lease = issue(hosts={"API.acme.dev:443"})
    assert (lease.scopes, lease.hosts, lease.run_id) == ({"read"}, {HOST}, "run_1")
    assert lease.expires_at == NOW + timedelta(seconds=300)
    assert lease.record()["hosts"] == [HOST]


@given(ttl=st.timedeltas(min_value=timedelta(microseconds=1), max_value=MAX_LEASE), life=st.integers(1, 10**9))
def test_a_lease_never_outlives_its_credential_nor_five_minutes(ttl: timedelta, life: int):
    ends = NOW + timedelta(microseconds=life)
    lease = issue(ttl=ttl, ends=ends)
    assert NOW < lease.expires_at <= min(ends, NOW + MAX_LEASE)


def test_scopes_beyond_the_grant_are_refused():
    with pytest.raises(connections.MissingScopes):
        issue(scopes={"read", "admin"})


def test_an_expired_credential_gives_no_lease():
    with pytest.raises(connections.ConnectionExpired):
        issue(ends=NOW)


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=301)])
def test_a_life_out_of_bounds_is_a_mistake(ttl: timedelta):
    with pytest.raises(ValueError, match="300 s"):
        issue(ttl=ttl)


@pytest.mark.parametrize(
    "hosts", [set[str](), {"api.acme.dev"}, {HOST, "*:443"}, {"https://api.acme.dev:443"}, {"a b:1"}]
)
def test_hosts_are_exact(hosts: set[str]):
    with pytest.raises(ValueError, match="host:port"):
        issue(hosts=hosts)


def test_ipv6_hosts_are_bracketed():
    assert issue(hosts={"[::1]:8080"}).hosts == {"[::1]:8080"}


def test_a_lease_opens_for_its_host_while_it_lasts():
    lease = issue()
    leases.check(lease, CONNECTION, CREDENTIAL, host="Api.Acme.dev:443", tenant_id="t1", run_id="run_1", now=NOW)
    leases.check(
        lease,
        CONNECTION,
        CREDENTIAL,
        host=HOST,
        tenant_id="t1",
        run_id="run_1",
        now=lease.expires_at - timedelta(microseconds=1),
    )


@pytest.mark.parametrize(
    ("lease", "connection", "credential", "error"),
    [
        ({"revoked_at": NOW}, {}, {}, connections.LeaseRevoked),
        ({}, {}, {"revoked_at": NOW}, connections.LeaseRevoked),
        ({}, {}, {"overlap_until": NOW}, connections.LeaseRevoked),
        ({"expires_at": NOW}, {}, {}, connections.LeaseExpired),
        ({"hosts": frozenset({"evil.dev:443"})}, {}, {}, connections.HostNotLeased),
        ({"hosts": frozenset({"api.acme.dev:80"})}, {}, {}, connections.HostNotLeased),
        ({}, {"state": State.REVOKED}, {}, connections.ConnectionRevoked),
        ({}, {"state": State.REAUTH_REQUIRED}, {}, connections.ReauthRequired),
        ({"tenant_id": "t2"}, {}, {}, connections.LeaseNotFound),
        ({"run_id": "run_2"}, {}, {}, connections.LeaseNotFound),
        ({"run_id": None}, {}, {}, connections.LeaseNotFound),
        ({}, {"tenant_id": "t2"}, {}, connections.LeaseNotFound),
        ({}, {}, {"tenant_id": "t2"}, connections.LeaseNotFound),
        ({}, {}, {"connection_id": "con_2"}, connections.LeaseNotFound),
    ],
)
def test_each_reason_not_to_open_has_its_own_error(
    lease: dict[str, object], connection: dict[str, object], credential: dict[str, object], error: type[InterlockError]
):
    with pytest.raises(error):
        leases.check(
            replace(issue(), **lease),  # pyright: ignore[reportArgumentType]
            replace(CONNECTION, **connection),  # pyright: ignore[reportArgumentType]
            replace(CREDENTIAL, **credential),  # pyright: ignore[reportArgumentType]
            host=HOST,
            tenant_id="t1",
            run_id="run_1",
            now=NOW,
        )
