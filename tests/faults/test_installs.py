"""A process that is killed while it connects an account."""

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from sqlalchemy import select

import token_server
from fault_world import BROWSER, CLIENT_SECRET, POLICY, REDIRECT, service, settings
from fix_faults import PATIENCE, Case, Child
from interlock import Interlock, connections
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.connections import InstallState, Reason
from interlock.kernel import Clock, SystemClock, Tx
from interlock.testing import ManualClock


def opened(case: Case, url: str, clock: Clock | None = None) -> AbstractAsyncContextManager[Interlock]:
    there = settings(case.url, url)
    return Interlock.open(settings=there, policy=POLICY, connectors=[service(url)], clock=clock, background=False)


async def visit(case: Case, url: str) -> tuple[str, str]:
    """Begin, and agree at the service: the install, and the query that the browser comes back with."""
    async with opened(case, url) as il:
        begun = await il.connections.installs.begin("lamps", name="work")
        where = await il.connections.installs.authorize(
            begun.install.install_id, browser=BROWSER, redirect_uri=REDIRECT
        )
    async with httpx2.AsyncClient() as browser:
        told = await browser.get(where)
    return begun.install.install_id, urlsplit(told.headers["location"]).query


async def look(case: Case, url: str, install_id: str, query: str) -> connections.Install:
    """What a later process makes of it: the callback is spent, and once its time is over the install says why."""
    later = ManualClock(SystemClock().now(), autojump=False)
    async with opened(case, url, later) as il:
        assert (await il.connections.installs.fetch(install_id)).state is InstallState.EXCHANGING
        with pytest.raises(connections.InstallUsed):
            await il.connections.installs.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
        later.advance(connections.INSTALL_LIFE / timedelta(seconds=1))
        await il._parts.wiring.sweep(later.now())
        assert [each.name for each in await il.connections.list(connector="lamps")] == []

        def dump(tx: Tx) -> str:
            return repr([sql.connection(tx).execute(select(table)).all() for table in tables.metadata.sorted_tables])

        assert "canary" not in await il._parts.store.read(dump)
        return await il.connections.installs.fetch(install_id)


def test_a_process_killed_between_the_answer_and_our_commit_leaves_a_trace(
    child: Child,
    make_case: Callable[[], Case],
    running_token_server: token_server.TokenServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the tokens, and asks whose they are, which is before it commits anything: there it is killed."""
    server, case = running_token_server, make_case()
    server.begin_anew()
    monkeypatch.setenv(CLIENT_SECRET, token_server.CLIENT_SECRET)
    install_id, query = anyio.run(visit, case, server.url)
    asked, answers = server.holds = threading.Event(), threading.Event()
    try:
        child.start(case.order("callback", server_url=server.url, key=query))
        child.go()
        assert asked.wait(PATIENCE)
        child.send(signal.SIGKILL)
        assert child.finish().exit == -signal.SIGKILL
    finally:
        answers.set()
    assert server.calls == {"authorization_code": 1}
    found = anyio.run(look, case, server.url, install_id, query)
    assert (found.state, found.reason, found.sealed) == (InstallState.EXPIRED, Reason.INTERRUPTED, None)
    assert server.calls == {"authorization_code": 1}
