"""Work for three workers on Postgres, and for one on SQLite, for minutes, while they are killed and frozen and the database
falls: all that was accepted ends, and what is not to be done twice is done once, as the service itself counts it."""

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import httpx2
import psycopg
import pytest

from fix_store import embedded_postgres
from interlock import Interlock, app, runs
from interlock.kernel import Secret, StoreError
from interlock.testing import github

pytestmark = [pytest.mark.soak, pytest.mark.anyio, pytest.mark.timeout(3600)]

SEED: Final = int(os.environ.get("SOAK_SEED", "1"))
SECONDS: Final = float(os.environ.get("SOAK_SECONDS", "600"))
EVENTS: Final = int(os.environ.get("SOAK_EVENTS", "20000"))
AT_ONCE: Final = 32
DRAIN: Final = 900.0
"""Seconds that may pass until what is left has ended."""

TOKEN: Final = "soak-token-1"
KEY: Final = bytes(range(7, 39)).hex()
STORE_GONE: Final = 7
"""The exit code."""

OVER: Final = {runs.State.COMPLETED, runs.State.DEAD}


class Postgres:
    """A server of this test's own, that can fall."""

    def __init__(self, folder: Path) -> None:
        self._server = embedded_postgres().get_server(folder, cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as session:
            session.execute("ALTER SYSTEM SET max_connections = 200")
        self.fall()

    def fall(self) -> None:
        """Stop at once, as after a loss of power, and come back."""
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()


class Process:
    """A command of `interlock` that goes on, on the settings of a folder, in a process that is started again when it ends."""

    def __init__(self, folder: Path, command: str, log: Path) -> None:
        self._folder = folder
        self._words = [sys.executable, "-m", "interlock", command, "--json"]
        self._log = log
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, "INTERLOCK_KEY": KEY, "PYTHONPATH": str(Path(__file__).parent)}
        with self._log.open("ab") as errors, self._ready.open("wb") as answers:
            self._process = subprocess.Popen(
                self._words, cwd=self._folder, env=environment, stdout=answers, stderr=errors
            )

    @property
    def _ready(self) -> Path:
        """What it says once it is at work."""
        return self._log.with_suffix(".ready")

    def watch(self) -> None:
        """Start it again if it could not begin, for the store was gone at that moment."""
        if (code := self._process.poll()) is not None:
            assert code == STORE_GONE, (code, self._log.read_text()[-3000:])
            self._start()

    def kill(self) -> None:
        """And start another."""
        self.close()
        self._start()

    async def freeze(self, seconds: float) -> None:
        """For so long. It may be killed meanwhile."""
        victim = self._process
        victim.send_signal(signal.SIGSTOP)
        await anyio.sleep(seconds)
        victim.send_signal(signal.SIGCONT)

    async def drain(self) -> None:
        """Let it end what it has begun."""
        while not self._ready.stat().st_size:
            self.watch()
            await anyio.sleep(0.1)
        self._process.send_signal(signal.SIGTERM)
        code = await anyio.to_thread.run_sync(self._process.wait, 120)
        assert code == 0, self._log.read_text()[-3000:]

    def close(self) -> None:
        """At once."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    folder = tmp_path / "postgres"
    folder.mkdir()
    server = Postgres(folder)
    yield server
    server.close()


@pytest.fixture
def service() -> Iterator[github.GitHub]:
    with github.GitHub.start(tokens={TOKEN: "octo-agent"}, rate_limit=10**9) as server:
        server.add_issues("acme/rocket", 1)
        yield server


@asynccontextmanager
async def opened(
    folder: Path, url: str, service: github.GitHub, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Interlock]:
    """Interlock on that store, with settings that the workers share."""
    monkeypatch.setenv("INTERLOCK_KEY", KEY)
    (folder / "interlock.toml").write_text(
        f"""store = "{url}"
[app]
modules = ["handlers"]
[execution]
owner_lease = 4.0
egress_allow = ["{service.url.removeprefix("http://")}"]
[policy]
default = "allow"
"""
    )
    file = app.read_file(folder / "interlock.toml")
    async with Interlock.open(settings=app.load(file), file=file) as il:
        yield il


async def test_three_workers_on_postgres(
    tmp_path: Path, postgres: Postgres, service: github.GitHub, monkeypatch: pytest.MonkeyPatch
):
    async with opened(tmp_path, postgres.url, service, monkeypatch) as il:
        await endure(il, tmp_path, ["worker", "worker", "worker"], service, postgres)


async def test_one_worker_on_sqlite(tmp_path: Path, service: github.GitHub, monkeypatch: pytest.MonkeyPatch):
    async with opened(tmp_path, "interlock.db", service, monkeypatch) as il:
        await endure(il, tmp_path, ["worker"], service, None)


async def endure(
    il: Interlock, folder: Path, commands: Sequence[str], service: github.GitHub, postgres: Postgres | None
) -> None:
    """Have all events done, whatever happens meanwhile."""
    connection = await il.connections.connect_token("github", Secret(TOKEN), base_url=service.url)
    accepted: dict[int, str] = {}
    happened = Counter[str]()
    processes = [Process(folder, each, folder / f"{number}.log") for number, each in enumerate(commands)]
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit, il, connection.connection_id, accepted)
            await trouble(processes, postgres, tasks, happened)
        states = await drained(il, accepted, processes)
        for each in processes:
            await each.drain()
    finally:
        for each in processes:
            each.close()
    print(f"{dict(happened)}; {dict(Counter(states.values()))}")
    judge(accepted, states, Counter(comments(service)))


async def trouble(
    processes: Sequence[Process], postgres: Postgres | None, tasks: anyio.abc.TaskGroup, happened: Counter[str]
) -> None:
    """Kill, freeze, and let the database fall, for all the time."""
    chance = random.Random(SEED)
    ends = anyio.current_time() + SECONDS
    while anyio.current_time() < ends:
        await anyio.sleep(chance.uniform(0.5, 5))
        victim = chance.choice(processes)
        kind = chance.choices(("kill", "freeze", "fall"), weights=(6, 4, 0 if postgres is None else 1))[0]
        happened[kind] += 1
        match kind:
            case "kill":
                victim.kill()
            case "freeze":
                tasks.start_soon(victim.freeze, chance.uniform(1, 60))
            case _:
                assert postgres is not None
                await anyio.to_thread.run_sync(postgres.fall)
        for each in processes:
            each.watch()


def judge(accepted: dict[int, str], states: dict[str, runs.State], said: Counter[int]) -> None:
    """What the ledger says against what the service was told."""
    assert len(accepted) == EVENTS
    assert [number for number, count in said.items() if count > 1] == []
    done = {number for number, run_id in accepted.items() if states[run_id] is runs.State.COMPLETED}
    assert done - said.keys() == set()
    assert said.keys() - accepted.keys() == set()
    rejected = {number for number in accepted if number % 100 == 7}
    assert done & rejected == set()
    assert len(done) >= 0.98 * (EVENTS - len(rejected))  # the others fell with their process again and again


async def paced(numbers: range, act: Callable[[int], Awaitable[bool]]) -> None:
    """Do something about every number, at an even pace over all the time; what is not taken is tried again."""
    began, places = anyio.current_time(), anyio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            while True:
                if await act(number):
                    return
                await anyio.sleep(0.2)

    async with anyio.create_task_group() as tasks:
        for index, number in enumerate(numbers):
            await anyio.sleep(max(0.0, began + index * SECONDS / len(numbers) - anyio.current_time()))
            tasks.start_soon(one, number)


async def submit(il: Interlock, connection_id: str, accepted: dict[int, str]) -> None:
    """Every number, as work that this program submits."""

    async def one(number: int) -> bool:
        try:
            outcome = await il.dispatch.submit(
                "soak", {"number": number}, connection_id=connection_id, idempotency_key=f"event-{number}"
            )
        except StoreError:
            return False
        except runs.RunFailed as error:  # it was accepted before, and is over already
            accepted[number] = error.run_id or ""
        else:
            accepted[number] = outcome.run_id
        return True

    await paced(range(EVENTS), one)


async def drained(il: Interlock, accepted: dict[int, str], processes: Sequence[Process]) -> dict[str, runs.State]:
    """How each run ended."""
    states: dict[str, runs.State] = {}
    with anyio.fail_after(DRAIN):
        for run_id in accepted.values():
            while run_id not in states:
                with suppress(StoreError):
                    run = await il.runs.fetch(run_id)
                    if run.state in OVER:
                        states[run_id] = run.state
                        break
                for each in processes:
                    each.watch()
                await anyio.sleep(0.2)
    return states


def comments(service: github.GitHub) -> Iterator[int]:
    """The number of every event that the service was told of, as often as it was."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as client:
        target: str | None = "/repos/acme/rocket/issues/1/comments?per_page=100"
        while target is not None:
            answer = client.get(target)
            yield from (int(each["body"].removeprefix("event ")) for each in answer.json())
            found = re.search(r'<([^>]+)>; rel="next"', answer.headers.get("link", ""))
            target = found[1] if found else None
