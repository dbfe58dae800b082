"""Two processes that need one expired connection at once, and one that is killed while it renews it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import update

import refreshing_worker
import token_server
from fault_proxy import Proxy
from fix_installs import BROWSER
from interlock import Interlock
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.connections import State
from interlock.kernel import SystemClock

pytestmark = pytest.mark.anyio

WORKER = Path(refreshing_worker.__file__)


class Workers:
    """Processes on one store, at one service."""

    def __init__(self, url: str, server: token_server.TokenServer) -> None:
        self.url, self.server = url, server
        self._started: list[subprocess.Popen[str]] = []

    async def connect(self) -> None:
        """Make a connection whose token has ended."""
        async with Interlock.open(**refreshing_worker.opening(self.url, self.server.url)) as il:
            installs, uri = il.connections.installs, self.server.redirect_uri
            begun = await installs.begin("acme")
            url = await installs.authorize(begun.install.install_id, browser=BROWSER, redirect_uri=uri)
            async with httpx2.AsyncClient(verify=False) as client:
                answered = await client.get(url)
            query = urlsplit(answered.headers["location"]).query
            proven = await installs.take_callback(query, browser=BROWSER, redirect_uri=uri)
            await installs.complete(proven.install_id, browser=BROWSER)

    async def move(self, store: sql.SqlStore, by: timedelta) -> None:
        """Let that much time pass for the connection: its token, its refresh and the claim on it."""
        then = SystemClock().now() - by
        ends = update(tables.credentials).values(expires_at=then)
        due = update(tables.connections).values(refresh_due_at=then)
        claim = update(tables.connections).where(tables.connections.c.refresh_until.is_not(None))
        for statement in (ends, due, claim.values(refresh_until=then)):
            await store.write(lambda tx, each=statement: sql.connection(tx).execute(each) and None)

    def start(self, *, threads: int) -> subprocess.Popen[str]:
        arguments = [sys.executable, str(WORKER), self.url, self.server.url, str(threads)]
        begun = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=WORKER.parent)
        self._started.append(begun)
        assert begun.stdout is not None
        assert begun.stdout.readline() == "ready\n"
        return begun

    def go(self, begun: subprocess.Popen[str]) -> None:
        assert begun.stdin is not None
        begun.stdin.write("\n")
        begun.stdin.flush()

    def ended(self, begun: subprocess.Popen[str]) -> list[str]:
        """With what each of its threads ended."""
        assert begun.stdout is not None
        told = json.loads(begun.stdout.readline())
        begun.wait(60)
        return told

    def close(self) -> None:
        for each in self._started:
            each.kill()
            each.communicate()


@pytest.fixture
def workers(
    store_url: str, running_token_server: token_server.TokenServer, monkeypatch: pytest.MonkeyPatch
) -> Generator[Workers]:
    monkeypatch.setenv("INTERLOCK_KEY", bytes(range(32)).hex())
    monkeypatch.setenv("ACME_SECRET", token_server.CLIENT_SECRET)
    running_token_server.begin_anew()
    made = Workers(store_url, running_token_server)
    yield made
    made.close()


async def test_sixteen_threads_in_two_processes_send_one_refresh(
    workers: Workers, open_store: Callable[[str], sql.SqlStore]
):
    await workers.connect()
    await workers.move(open_store(workers.url), timedelta(seconds=1))
    both = [workers.start(threads=8) for _ in range(2)]
    for each in both:
        workers.go(each)
    assert [token for each in both for token in workers.ended(each)] == ["at-canary-000001"] * 16
    assert workers.server.calls["refresh_token"] == 1


async def test_a_process_that_is_killed_before_it_commits_leaves_a_trace(
    workers: Workers, open_store: Callable[[str], sql.SqlStore]
):
    await workers.connect()
    store = open_store(workers.url)
    await workers.move(store, timedelta(seconds=1))
    killed, following = workers.start(threads=1), workers.start(threads=8)
    workers.server.between = lambda: os.kill(killed.pid, signal.SIGKILL)
    workers.go(killed)
    killed.wait(60)
    workers.server.between = None
    await workers.move(store, timedelta(minutes=10))
    workers.go(following)
    assert set(workers.ended(following)) == {"reauth_required"}
    async with Interlock.open(**refreshing_worker.opening(workers.url, workers.server.url)) as il:
        found = await il.connections.fetch("acme")
        told = [event.type.value for event in await il.connections.events("acme")]
    assert (found.state, found.reason) == (State.REAUTH_REQUIRED, "refresh_outcome_unknown")
    assert told == ["connected", "reauth_required"]
    assert workers.server.calls["refresh_token"] == 2


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_a_database_that_is_gone_when_the_service_answers_loses_no_token(
    workers: Workers, open_store: Callable[[str], sql.SqlStore]
):
    await workers.connect()
    await workers.move(open_store(workers.url), timedelta(seconds=1))
    proxy = Proxy(workers.url)
    workers.url = proxy.url

    def vanish() -> None:
        proxy.refuse_next = 4
        proxy.cut()

    try:
        begun = workers.start(threads=1)
        workers.server.between = vanish
        workers.go(begun)
        assert workers.ended(begun) == ["at-canary-000001"]
        assert proxy.refuse_next == 0
    finally:
        proxy.close()
    assert workers.server.calls["refresh_token"] == 1
