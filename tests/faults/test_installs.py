"""A process that is killed while it connects an account."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import select

import auth_server as auth
from fault_accounts import Accounts
from fault_world import BROWSER, CLIENT_SECRET, REDIRECT
from fix_faults import Case, Child
from interlock import connections
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.connections import InstallState, Reason
from interlock.kernel import SystemClock, Tx
from interlock.testing import ManualClock


async def visit(accounts: Accounts) -> tuple[str, str]:
    async with accounts.open() as il:
        return await accounts.agree(il, "work")


async def look(accounts: Accounts, install_id: str, query: str) -> connections.Install:
    """What a later process makes of it: the callback is spent, and once its time is over the install says why."""
    later = ManualClock(SystemClock().now(), autojump=False)
    async with accounts.open(later) as il:
        assert (await il.connections.installs.fetch(install_id)).state is InstallState.EXCHANGING
        with pytest.raises(connections.InstallUsed):
            await il.connections.installs.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
        later.advance(connections.INSTALL_LIFE / timedelta(seconds=1))
        await il._parts.unwanted.tidy()
        assert [each.name for each in await il.connections.list(connector="lamps")] == []

        def dump(tx: Tx) -> str:
            return repr([sql.connection(tx).execute(select(table)).all() for table in tables.metadata.sorted_tables])

        assert "canary" not in await il._parts.store.read(dump)
        return await il.connections.installs.fetch(install_id)


def test_a_process_killed_between_the_answer_and_our_commit_leaves_a_trace(
    child: Child,
    make_case: Callable[[], Case],
    auth_server: auth.AuthServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the tokens, and asks whose they are, which is before it commits anything: there it is killed."""
    monkeypatch.setenv(CLIENT_SECRET, str(auth.CLIENT.client_secret))
    accounts = Accounts.at(auth_server, make_case())
    install_id, query = anyio.run(visit, accounts)
    auth_server.fail("me", auth.faults.then(lambda: os.kill(child.pid, signal.SIGKILL), done=False))
    child.start(accounts.case.order("callback", key=query))
    child.go()
    assert child.finish().exit == -signal.SIGKILL
    found = anyio.run(look, accounts, install_id, query)
    assert (found.state, found.reason, found.sealed) == (InstallState.EXPIRED, Reason.INTERRUPTED, None)
    assert auth_server.calls["token"] == 1
