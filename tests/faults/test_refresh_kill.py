"""SIGKILL at every boundary of a refresh: before each commit and after the last, and while its request is at the service, which
rotates refresh tokens and ends all of a consent when one comes twice.

A later process finds a connection that works, or one that says why it needs a person. The commits are counted by a dry run.
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
def made(
    auth_server: auth.AuthServer, make_case: Callable[[], Case], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Accounts]:
    """Makes stores with two accounts at the service."""
    monkeypatch.setenv(CLIENT_SECRET, str(auth.CLIENT.client_secret))

    def make() -> Accounts:
        accounts = Accounts.at(auth_server, make_case())
        anyio.run(accounts.connect, "work", "other")
        return accounts

    return make


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
