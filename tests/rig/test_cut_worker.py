"""Two workers on one Postgres, each in a network namespace of its own; the link of one is cut and mended.

What it does outside is not cut off with it: the service can be reached by both at any time, so that what it does too much
would be seen there."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import psycopg
import pytest

from fix_spaces import Space
from interlock import Interlock, app, runs
from interlock.adapters import sql
from interlock.kernel import Secret
from interlock.testing import github

pytestmark = [pytest.mark.rig, pytest.mark.anyio]

TOKEN = "a-token-of-the-rig"
KEY = bytes(range(9, 41)).hex()
EVENTS = 12
BOUND = 30.0
"""Seconds after which another worker has taken over and done it all: ten for taking over, and the rest for a slow machine."""


@dataclass
class Worker:
    """A worker in a namespace, and the file that it waits for."""

    space: Space
    folder: Path

    def __post_init__(self) -> None:
        self.gate = self.folder / f"by {self.space.name}"
        self.log = self.folder / f"{self.space.name}.log"
        environment = {
            **os.environ,
            "INTERLOCK_KEY": KEY,
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "GATE": str(self.gate),
        }
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                self.space.wrap(sys.executable, "-m", "interlock", "worker", "--json"),
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), self.log.read_text()

    def stop(self) -> None:
        """Let it end."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.communicate(timeout=90)
            finally:
                self.process.kill()


@pytest.fixture
def service(spaces: tuple[Space, Space]) -> Iterator[github.GitHub]:
    with github.GitHub.start(tokens={TOKEN: "octo-agent"}) as server:
        server.add_issues("acme/rocket", 1)
        port = urlsplit(server.url).port
        assert port is not None
        with closing(spaces[0].let_in(port)), closing(spaces[1].let_in(port)):
            yield server


@pytest.fixture
async def il(
    bridged_postgres_url: str, service: github.GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Interlock]:
    """Interlock, here, with the settings that both workers have."""
    monkeypatch.setenv("INTERLOCK_KEY", KEY)
    sql.migrate(bridged_postgres_url)
    (tmp_path / "interlock.toml").write_text(
        f"""store = "{bridged_postgres_url}"
[app]
modules = ["cut_handlers"]
[execution]
egress_allow = ["{service.url.removeprefix("http://")}"]
[policy]
default = "allow"
"""
    )
    file = app.read_file(tmp_path / "interlock.toml")
    async with Interlock.open(settings=app.load(file), file=file) as il:
        yield il


async def submit(il: Interlock, connection_id: str, *numbers: int) -> list[str]:
    return [
        (await il.dispatch.submit("linger", {"number": number}, connection_id=connection_id)).run_id
        for number in numbers
    ]


async def said(service: github.GitHub, *, at_least: int = 0) -> Counter[str]:
    """What the service was told, as often as it was."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, trust_env=False) as client:
        while True:
            answer = await client.get("/repos/acme/rocket/issues/1/comments?per_page=100")
            if len(found := answer.json()) >= at_least:
                return Counter(each["body"] for each in found)
            await anyio.sleep(0.1)


async def output(il: Interlock, run_id: str) -> Any:
    """What a run has come to, once it has."""
    with anyio.fail_after(120):
        while (outcome := await il.dispatch.wait(run_id, timeout=10)).state is not runs.State.COMPLETED:
            continue
    return outcome.output


async def test_what_a_worker_had_whose_link_is_cut_is_done_by_the_other(
    il: Interlock, service: github.GitHub, spaces: tuple[Space, Space], tmp_path: Path
):
    connection = await il.connections.connect_token("github", Secret(TOKEN), base_url=service.url)
    first = Worker(spaces[0], tmp_path)
    submitted = await submit(il, connection.connection_id, *range(EVENTS))
    await said(service, at_least=EVENTS)
    second = Worker(spaces[1], tmp_path)
    second.gate.touch()
    try:
        spaces[0].cut()
        cut = time.monotonic()
        assert [await output(il, each) for each in submitted] == [second.gate.name] * EVENTS
        took = time.monotonic() - cut
        print(f"taken over and done {took:.1f} s after the cut")
        assert took < BOUND
        first.gate.touch()  # it goes on with what it had, and cannot tell anybody
        await anyio.sleep(2)
        spaces[0].mend()
        second.stop()
        [own] = await submit(il, connection.connection_id, 100)
        mended = time.monotonic()
        assert await output(il, own) == first.gate.name
        print(f"goes on {time.monotonic() - mended:.1f} s after the link was mended")
        for each in submitted:
            history = await il.runs.history(each)
            assert [(tried.state.value, tried.number) for tried in history.attempts] == [("lost", 1), ("completed", 2)]
            assert (await il.dispatch.wait(each)).output == second.gate.name
    finally:
        first.stop()
        second.stop()
    told = [f"begun {each}" for each in (*range(EVENTS), 100)] + [f"ended {each}" for each in range(1, EVENTS, 2)]
    assert await said(service) == Counter(told)


async def test_a_worker_goes_on_whose_answers_were_lost_with_its_link(
    il: Interlock, service: github.GitHub, spaces: tuple[Space, Space], bridged_postgres_url: str, tmp_path: Path
):
    """Its sessions stand in the middle of a statement, and the server has forgotten them when the link comes back."""
    connection = await il.connections.connect_token("github", Secret(TOKEN), base_url=service.url)
    worker = Worker(spaces[0], tmp_path)
    worker.gate.touch()
    try:
        with psycopg.connect(bridged_postgres_url) as locking:
            locking.execute("LOCK TABLE runs, owners, interlock_pgqueuer IN ACCESS EXCLUSIVE MODE")
            await anyio.sleep(5)  # whatever it does comes to stand at one of them
            spaces[0].cut()
            with psycopg.connect(bridged_postgres_url, autocommit=True) as session:
                session.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE client_addr = %s",
                    [spaces[0].address],
                )
        spaces[0].forget()
        await anyio.sleep(5)
        spaces[0].mend()
        [own] = await submit(il, connection.connection_id, 1)
        assert await output(il, own) == worker.gate.name
    finally:
        worker.stop()
    assert await said(service) == Counter(["begun 1", "ended 1"])
