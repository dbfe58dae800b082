"""Two processes that need one expired connection at once, and one whose database goes while it renews it."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import update

import auth_server as auth
import refreshing_worker
from fault_proxy import Proxy
from fault_world import BROWSER, REDIRECT
from interlock import Interlock
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.kernel import SystemClock

pytestmark = pytest.mark.anyio

WORKER = Path(refreshing_worker.__file__)


class Workers:
    """Processes on one store, at one service."""

    def __init__(self, url: str, server: auth.AuthServer) -> None:
        self.url, self.server = url, server
        self._started: list[subprocess.Popen[str]] = []

    async def connect(self) -> None:
        """Make a connection whose token has ended."""
        async with Interlock.open(**refreshing_worker.opening(self.url, self.server.url)) as il:
            installs = il.connections.installs
            begun = await installs.begin("acme")
            url = await installs.authorize(begun.install.install_id, browser=BROWSER, redirect_uri=REDIRECT)
            async with httpx2.AsyncClient(verify=False) as client:
                answered = await client.get(url)
            query = urlsplit(answered.headers["location"]).query
            proven = await installs.take_callback(query, browser=BROWSER, redirect_uri=REDIRECT)
            await installs.complete(proven.install_id, browser=BROWSER)

    async def end_token(self, store: sql.SqlStore) -> None:
        """Have the connection's token ended, and its renewal due."""
        then = SystemClock().now() - timedelta(seconds=1)
        ends = update(tables.credentials).values(expires_at=then)
        due = update(tables.connections).values(refresh_due_at=then)
        for statement in (ends, due):
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
def workers(store_url: str, auth_server: auth.AuthServer, monkeypatch: pytest.MonkeyPatch) -> Generator[Workers]:
    monkeypatch.setenv("INTERLOCK_KEY", bytes(range(32)).hex())
    monkeypatch.setenv("ACME_SECRET", str(auth.CLIENT.client_secret))
    auth_server.books.clients[auth.CLIENT.client_id].scope = "repo"
    made = Workers(store_url, auth_server)
    yield made
    made.close()


async def test_sixteen_threads_in_two_processes_send_one_refresh(
    workers: Workers, open_store: Callable[[str], sql.SqlStore]
):
    await workers.connect()
    await workers.end_token(open_store(workers.url))
    both = [workers.start(threads=8) for _ in range(2)]
    for each in both:
        workers.go(each)
    ended = [token for each in both for token in workers.ended(each)]
    assert ended == [workers.server.books.tokens[-1].access_token] * 16
    assert workers.server.calls["token refresh_token"] == 1


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_a_database_that_is_gone_when_the_service_answers_loses_no_token(
    workers: Workers, open_store: Callable[[str], sql.SqlStore]
):
    await workers.connect()
    await workers.end_token(open_store(workers.url))
    proxy = Proxy(workers.url)
    workers.url = proxy.url

    def vanish() -> None:
        proxy.refuse_next = 4
        proxy.cut()

    try:
        begun = workers.start(threads=1)
        workers.server.fail("token refresh_token", auth.faults.then(vanish, done=True))
        workers.go(begun)
        assert workers.ended(begun) == [workers.server.books.tokens[-1].access_token]
        assert proxy.refuse_next == 0
    finally:
        proxy.close()
    assert workers.server.calls["token refresh_token"] == 1
