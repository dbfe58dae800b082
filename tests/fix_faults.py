"""Fixtures for the fault tests: processes to kill, stores to kill them on, and what stands afterwards."""

import json
import os
import queue
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from sqlalchemy.engine import make_url

import auth_server as auth
import fault_talks
from databases import Database
from fault_proxy import Proxy
from fault_world import CLIENT_SECRET, POLICY, RULES, TOKEN, Order, connector, settings
from interlock import Interlock, runs, sdk
from interlock.app import assembly
from interlock.kernel import Caller, Clock, SystemClock, Uuid7Ids
from interlock.testing import ManualClock, github

KEY = bytes(range(7, 39)).hex()
MANIFEST = connector().manifest
PATIENCE = 60.0
"""Seconds after which a wait has failed."""

_AT_ONCE = 8
_serial = count(1)


@dataclass(slots=True)
class Report:
    """What a process said until it ended. `exit` is negative for a signal."""

    exit: int = 0
    said: dict[str, Any] = field(default_factory=dict[str, Any])


class Child:
    """Carries orders out in processes of their own, one at a time (see `faults/child.py`)."""

    def __init__(self) -> None:
        self._hands = tempfile.NamedTemporaryFile(prefix="hands-")  # noqa: SIM115 - until `close`
        os.truncate(self._hands.fileno(), 24)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "faults" / "child.py"), self._hands.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "INTERLOCK_KEY": KEY,
                CLIENT_SECRET: str(auth.CLIENT.client_secret),
            },
        )
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._said: dict[str, Any] = {}
        self.wait("serving")

    def start(self, order: Order) -> None:
        """Fork a process for the order, and wait until its store is open."""
        self._said = {}
        self._set_hands(wall=0.0, ahead=0.0)
        self._tell(json.dumps(asdict(order)))
        self.wait("ready")

    def go(self) -> None:
        """Let the flow begin."""
        self._tell("go")

    def jump(self, seconds: float) -> None:
        """Set the process's wall clock."""
        self._set_hands(wall=self._wall + seconds, ahead=self._ahead)

    def pass_time(self, seconds: float) -> None:
        """So much later, as far as the process can tell, even if it is frozen."""
        self._set_hands(wall=self._wall, ahead=self._ahead + seconds)

    @property
    def naps(self) -> float:
        """How often it has gone to sleep by its clock."""
        return struct.unpack("d", os.pread(self._hands.fileno(), 8, 16))[0]

    def _set_hands(self, *, wall: float, ahead: float) -> None:
        self._wall, self._ahead = wall, ahead
        os.pwrite(self._hands.fileno(), struct.pack("dd", wall, ahead), 0)

    @property
    def pid(self) -> int:
        """The process that carries the order out."""
        return self._said["pid"]

    def send(self, signal: int) -> None:
        """Send a signal to it."""
        os.kill(self.pid, signal)

    def wait(self, word: str, *, patience: float = PATIENCE) -> Any:
        """Until the process has said that, and what it said of it."""
        while word not in self._said:
            self._take(patience)
        return self._said[word]

    @property
    def alive(self) -> bool:
        """Whether that process is there."""
        return psutil.pid_exists(self.pid)

    @property
    def idle(self) -> bool:
        """Whether the last order has ended."""
        return "pid" not in self._said or "exit" in self._said

    def finish(self) -> Report:
        """Until the process has ended."""
        return Report(exit=self.wait("exit"), said=self._said)

    def close(self) -> None:
        if not self.idle:
            with suppress(ProcessLookupError):
                self.send(9)
        self._process.kill()
        self._process.wait()
        self._hands.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _take(self, patience: float) -> None:
        try:
            self._said |= self._lines.get(timeout=patience)
        except queue.Empty:
            raise TimeoutError(f"the child said only {self._said}") from None

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):  # closed
            for line in self._process.stdout:
                self._lines.put(json.loads(line))


class Watcher(Interlock):
    """An Interlock without background tasks."""

    async def sweep(self) -> Sequence[runs.Recovered]:
        """Recover what is known to be left behind by now."""
        return await self._parts.recovery.sweep()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A store with one connection, and a repository at the service that nobody else uses."""

    url: str
    through: str
    """The store's address for the process under test: for Postgres, that of the proxy."""
    repo: str
    server: github.GitHub
    proxy: Proxy | None
    service_url: str | None = None
    """Where the service of a flow is that is not about issues."""
    memory: str | None = None
    """The file of the agents' memory."""

    def order(self, flow: str, **changes: Any) -> Order:
        given: dict[str, Any] = {"flow": flow, "url": self.through, "repo": self.repo}
        given |= {"server_url": self.service_url or self.server.url, "memory": self.memory}
        return Order(**{**given, **changes})

    def fault(self, kind: str, operation: str = "POST", path: str = "issues", **more: Any) -> None:
        """A fault for the requests of this case alone."""
        self.server.fault(kind, match=f"{operation} /repos/{self.repo}/{path}", **more)

    def effects(self, path: str = "*") -> int:
        """What was really changed at the service."""
        return self.server.effects(f"* /repos/{self.repo}/{path}")

    def open(
        self, *, manifest: sdk.Manifest = MANIFEST, clock: Clock | None = None
    ) -> AbstractAsyncContextManager[Interlock]:
        """An Interlock on the store, in this process."""
        there = settings(self.url, self.server.url)
        return Interlock.open(settings=there, policy=POLICY, connectors=[manifest], clock=clock)

    @asynccontextmanager
    async def watch(self, clock: Clock) -> AsyncGenerator[Watcher]:
        """As `open`, by that clock, and nothing happens behind one's back."""
        parts = await assembly.assemble(
            settings(self.url, self.server.url, memory=self.memory),
            file=RULES,
            clock=clock,
            ids=Uuid7Ids(clock),
            create=False,
            rules=POLICY,
            more_connectors=[MANIFEST],
            models={"fake": fault_talks.model},
        )
        try:
            yield Watcher(parts, Caller(actor="operator"))
        finally:
            with anyio.CancelScope(shield=True):
                await assembly.close(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One run after recovery."""

    run: runs.Run
    attempts: Sequence[runs.Attempt]
    sends: Sequence[runs.Send]
    verdict: Any


async def look(il: Interlock) -> list[Settled]:
    """Every run of the store, with its packet verified."""
    trust = runs.Trust.parse(await il.trust())
    found: list[Settled] = []
    for run in await il.runs.list():
        history = await il.runs.history(run.run_id)
        verdict = runs.verify.verify(await il.runs.packet(run.run_id), trust=trust)
        found.append(Settled(run=history.run, attempts=history.attempts, sends=history.sends, verdict=verdict))
    return found


async def recover(il: Interlock) -> list[Settled]:
    """Let recovery run until nothing is left running, and look."""
    with anyio.fail_after(PATIENCE):
        while True:
            everything = [await il.runs.history(run.run_id) for run in await il.runs.list()]
            if not any(attempt.state is runs.AttemptState.RUNNING for each in everything for attempt in each.attempts):
                return await look(il)
            await il.runs.recover()


def settle(*cases: Case) -> list[list[Settled]]:
    """The view of a new process that comes later: recover what is left of each store, and look. All at once."""
    results: list[list[Settled]] = [[] for _ in cases]

    async def one(number: int, limiter: anyio.CapacityLimiter) -> None:
        async with limiter, cases[number].watch(ManualClock(SystemClock().now())) as il:
            results[number] = await recover(il)

    async def main() -> None:
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        async with anyio.create_task_group() as group:
            for number in range(len(cases)):
                group.start_soon(one, number, limiter)

    anyio.run(main)
    for settled in results:
        for each in settled:
            assert each.verdict.ok, each.verdict
            assert all(attempt.state is not runs.AttemptState.RUNNING for attempt in each.attempts)
            assert each.run.state not in (runs.State.RUNNING, runs.State.ACCEPTED), each.run
    return results


@pytest.fixture(scope="session")
def fault_server() -> Iterator[github.GitHub]:
    """The service whose effects are counted."""
    with github.GitHub.start(tokens={TOKEN: "octo-agent"}, rate_limit=1_000_000) as server:
        yield server


@pytest.fixture(scope="session")
def make_child() -> Iterator[Callable[[int], Child]]:
    """The n-th process of this test run that carries orders out."""
    made: dict[int, Child] = {}

    def make(number: int) -> Child:
        if number in made and not made[number].idle:  # a failed test left it behind
            made.pop(number).close()
        if number not in made:
            made[number] = Child()
        return made[number]

    yield make
    for child in made.values():
        child.close()


@pytest.fixture
def child(make_child: Callable[[int], Child]) -> Child:
    """A process that carries orders out."""
    return make_child(0)


@pytest.fixture
def other_child(make_child: Callable[[int], Child]) -> Child:
    """A second one beside it."""
    return make_child(1)


async def _connect(url: str, server: github.GitHub) -> None:
    async with Interlock.open(settings=settings(url, server.url), policy=POLICY, connectors=[MANIFEST]) as il:
        await il.connections.connect_token("acme", TOKEN, base_url=server.url)


@pytest.fixture(scope="session")
def sqlite_origin(fault_server: github.GitHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with one connection, to copy."""
    path = tmp_path_factory.mktemp("origin") / "store.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERLOCK_KEY", KEY)
        anyio.run(_connect, str(path), fault_server)
    return path


@pytest.fixture(scope="session")
def spare_databases(
    fault_server: github.GitHub, postgres_server: str, postgres_template: str
) -> Iterator[Callable[[int], Database]]:
    """The n-th Postgres database with one connection."""
    origin = Database(postgres_server, postgres_template)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERLOCK_KEY", KEY)
        anyio.run(_connect, origin.url, fault_server)
    made: list[Database] = []

    def take(number: int) -> Database:
        if number == len(made):
            made.append(Database(postgres_server, make_url(origin.url).database or ""))
        return made[number]

    yield take
    for database in (*made, origin):
        database.drop()


@pytest.fixture
def make_sqlite_case(
    fault_server: github.GitHub, sqlite_origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Case]:
    """Makes cases on SQLite files."""
    monkeypatch.setenv("INTERLOCK_KEY", KEY)

    def make() -> Case:
        number = next(_serial)
        path = tmp_path / f"store-{number}.db"
        shutil.copy(sqlite_origin, path)
        fault_server.add_repository(f"acme/case{number}")
        return Case(url=str(path), through=str(path), repo=f"acme/case{number}", server=fault_server, proxy=None)

    return make


@pytest.fixture
def make_postgres_case(
    fault_server: github.GitHub, spare_databases: Callable[[int], Database], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Case]]:
    """Makes cases on Postgres, with a proxy between the process under test and the server."""
    monkeypatch.setenv("INTERLOCK_KEY", KEY)
    made: list[Proxy] = []

    def make() -> Case:
        number, url = next(_serial), spare_databases(len(made)).reset()
        fault_server.add_repository(f"acme/case{number}")
        made.append(Proxy(url))
        return Case(url=url, through=made[-1].url, repo=f"acme/case{number}", server=fault_server, proxy=made[-1])

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture(params=["sqlite-file", "postgres"])
def make_case(request: pytest.FixtureRequest) -> Callable[[], Case]:
    """Makes cases on each engine that several processes can share."""
    return request.getfixturevalue("make_postgres_case" if request.param == "postgres" else "make_sqlite_case")
