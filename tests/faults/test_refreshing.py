"""SIGKILL at every boundary of a refresh: before each commit and after the last, and while its request is at the service, which
rotates refresh tokens and ends all of a consent when one comes twice.

A later process finds a connection that works, or one that says why it needs a person. The commits are counted by a dry run. And
two processes that need one token at once, and a database that is gone when the service answers.
"""

import os
import signal
from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

import auth_server as auth
from fault_accounts import Accounts
from fault_kills import commits_of, kill_at
from fault_world import CLIENT_SECRET
from fix_faults import Case, Child
from interlock import Interlock, connections
from interlock.kernel import SystemClock
from interlock.testing import ManualClock

Stand = tuple[str, str | None, list[str], int]
"""A connection's state and reason, what was told of it since it was made, and how often its service was asked for tokens."""

RENEWED = ("connected", None, ["refreshed"], 1)
AGAIN = ("connected", None, ["refreshed", "refreshed"], 2)
ASKED_TWICE = ("connected", None, ["refreshed"], 2)
LOST = ("reauth_required", "refresh_outcome_unknown", ["reauth_required"], 2)


async def works(il: Interlock, server: auth.AuthServer, name: str) -> bool:
    """Whether a call that needs it now gets a token that the service takes."""
    try:
        lease = await il.connections.leases.request(name)
    except connections.ReauthRequired:
        return False
    (host,) = lease.hosts
    token = await il.connections.leases.redeem(lease.lease_id, "access_token", host=host)
    assert server.books.valid(token.reveal()) is not None
    return True


async def stand(accounts: Accounts) -> Stand:
    """What a process makes of it that comes when the token has ended."""
    later = ManualClock(SystemClock().now() + timedelta(hours=1), autojump=False)
    async with accounts.open(later) as il:
        worked = await works(il, accounts.server, "work")
        asked = accounts.server.calls["token"]
        found, told = await il.connections.fetch("work"), await il.connections.events("work")
        assert connections.check_history(found, told) is None
        assert worked == (found.state is connections.State.CONNECTED)
        assert await works(il, accounts.server, "other")
    return found.state.value, found.reason, [each.type.value for each in told[1:]], asked


@pytest.fixture
def connected(auth_server: auth.AuthServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], Accounts]:
    """Connects two accounts at the service."""
    monkeypatch.setenv(CLIENT_SECRET, str(auth.CLIENT.client_secret))

    def connect(case: Case) -> Accounts:
        accounts = Accounts.at(auth_server, case)
        anyio.run(accounts.connect, "work", "other")
        return accounts

    return connect


@pytest.fixture
def made(connected: Callable[[Case], Accounts], make_case: Callable[[], Case]) -> Callable[[], Accounts]:
    """Makes stores with two accounts, on each engine."""
    return lambda: connected(make_case())


def test_a_kill_at_every_commit_of_a_refresh(child: Child, made: Callable[[], Accounts]) -> None:
    commits = commits_of(child, made().case, "renew")
    found: dict[str, Stand] = {}
    numbered = range(1, len(commits) + 1)
    for when, number in [*(("before", each) for each in numbered), ("after", len(commits))]:
        accounts = made()
        met = kill_at(child, accounts.case, "renew", when, number).boundary
        found[met] = anyio.run(stand, accounts)
    first, *between, last = found.values()
    assert (first, last) == (RENEWED, AGAIN), found
    # Until the request leaves nothing is lost, and from the answer on all is, until it is committed.
    answered = between.index(LOST)
    assert between[:answered] == [RENEWED] * answered, found
    assert between[answered:] == [LOST] * len(between[answered:]), found


@pytest.mark.parametrize(("done", "promised"), [(False, ASKED_TWICE), (True, LOST)])
def test_a_kill_while_the_request_is_at_the_service(
    child: Child, made: Callable[[], Accounts], done: bool, promised: Stand
) -> None:
    accounts = made()
    kill = auth.faults.then(lambda: os.kill(child.pid, signal.SIGKILL), done=done)
    accounts.server.fail("token refresh_token", kill)
    child.start(accounts.case.order("renew"))
    child.go()
    assert child.finish().exit == -signal.SIGKILL
    assert anyio.run(stand, accounts) == promised


def test_a_database_that_is_gone_when_the_service_answers_loses_no_token(
    child: Child, connected: Callable[[Case], Accounts], make_postgres_case: Callable[[], Case]
) -> None:
    case = make_postgres_case()
    accounts, proxy = connected(case), case.proxy
    assert proxy is not None

    def vanish() -> None:
        proxy.refuse_next = 4
        proxy.cut()

    accounts.server.fail("token refresh_token", auth.faults.then(vanish, done=True))
    child.start(accounts.case.order("renew"))
    child.go()
    assert child.finish().said["came_to"]["state"] == "connected"
    assert proxy.refuse_next == 0
    assert anyio.run(stand, accounts) == AGAIN


def test_sixteen_threads_in_two_processes_send_one_refresh(
    child: Child, other_child: Child, made: Callable[[], Accounts]
) -> None:
    accounts = made()
    both = (child, other_child)
    for each in both:
        each.start(accounts.case.order("lend", times=8))
        each.pass_time(3601)  # then the token has ended
    for each in both:
        each.go()
    told = [token for each in both for token in each.finish().said["came_to"]]
    assert told == [accounts.server.books.tokens[-1].access_token] * 16
    assert accounts.server.calls["token"] == 1
