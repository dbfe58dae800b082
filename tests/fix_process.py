"""Fixtures of the process lane: commands, what they say, and proof that nothing of them is left."""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from interlock import plane
from interlock.adapters import lanes
from interlock.kernel import Secret, SystemClock

PYTHON = (sys.executable, "-I", "-S", "-c")
REAL_PYTHON = os.path.realpath(sys.executable)
"""The interpreter itself, not the link to it in a virtual environment."""

SPAWN_ESCAPED = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        print("away", flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
"""
"""Detaches a grandchild twice over, which says so."""


class Leases:
    """A resolver that knows some secrets by their handle."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        del host, tenant_id, run_id
        return Secret(self.secrets[ref.handle])


@dataclass
class Told:
    """What one execution came to."""

    exchange: plane.Exchange
    failure: plane.Failure | None = None
    pieces: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    over: bool = False

    def said(self, stream: str = "stdout") -> bytes:
        return b"".join(data for name, data in self.pieces if name == stream)

    @property
    def facts(self) -> dict[str, Any]:
        return self.exchange.facts

    @property
    def code(self) -> str | None:
        return None if self.failure is None else self.failure.code


class Ear(plane.Channel):
    """A channel that keeps what is said, and tells when something was."""

    def __init__(self, told: Told) -> None:
        super().__init__(plane.EventLog("exe_1", told.exchange.clock), plane.Inbox())
        self._told = told
        self.heard = anyio.Event()

    async def output(self, stream: str, data: bytes, facts: Any = None) -> None:
        self._told.pieces.append((stream, data))
        self.wake()

    async def until(self, text: bytes) -> None:
        while text not in self._told.said():
            assert not self._told.over, f"it ended without a word of {text!r}: {self._told}"
            await self.heard.wait()

    def wake(self) -> None:
        heard, self.heard = self.heard, anyio.Event()
        heard.set()


def process(*argv: str, **fields: Any) -> plane.ProcessIntent:
    """A valid intent; each argument replaces one field."""
    defaults: dict[str, Any] = {
        "intent_id": "snd_1",
        "tenant_id": "default",
        "run_id": "run_1",
        "attempt_id": "att_1",
        "trace_id": "trace-1",
        "argv": argv,
        "deadline_at": SystemClock().now() + timedelta(seconds=60),
    }
    return plane.ProcessIntent(**defaults | fields)


def program(source: str, *arguments: str, **fields: Any) -> plane.ProcessIntent:
    """A Python program."""
    return process(*PYTHON, source, *arguments, **fields)


async def run(lane: plane.Lane, intent: plane.ProcessIntent) -> Told:
    """To its end."""
    async with begun(lane, intent) as (told, channel):
        channel.inbox.end()
    return told


@asynccontextmanager
async def begun(
    lane: plane.Lane, intent: plane.ProcessIntent, told: Told | None = None
) -> AsyncGenerator[tuple[Told, Ear]]:
    """While it runs; its end is waited for."""
    told = told or Told(plane.Exchange(SystemClock()))
    told.exchange.channel = channel = Ear(told)

    async def execute() -> None:
        try:
            await lane.execute(intent, told.exchange)
        except plane.LaneFailure as error:
            told.failure = error.failure
        finally:
            told.over = True
            channel.wake()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(execute)
        yield told, channel


async def cancelled(
    lane: plane.Lane, intent: plane.ProcessIntent, *, after: bytes, check: Callable[[], object] = bool
) -> Told:
    """Cancel it once it has said that, and `check` was called."""
    told = Told(plane.Exchange(SystemClock()))
    with anyio.CancelScope() as scope:
        async with begun(lane, intent, told) as (_told, channel):
            await channel.until(after)
            check()
            scope.cancel()
    return told


def alive(marker: str) -> list[int]:
    """The processes that have this text among their arguments or in their environment, our own aside."""
    found: list[int] = []
    for each in psutil.process_iter():
        try:
            words = [*each.cmdline(), *each.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if each.pid != os.getpid() and any(marker in word for word in words):
            found.append(each.pid)
    return found


@pytest.fixture
async def process_lane() -> AsyncGenerator[lanes.ProcessLane]:
    """The lane without a sandbox, from which nothing is left: no process, no descriptor, no temporary file."""
    async with whole_lane() as lane:
        yield lane


@pytest.fixture(params=["here", "guest"])
async def any_lane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[plane.Lane]:
    """The same on this host, and in a guest."""
    if request.param == "here":
        async with whole_lane() as lane:
            yield lane
        return
    from far_places import agent, placed_lane

    with agent(tmp_path_factory.mktemp("guest")) as guest, nothing_left():
        yield placed_lane(guest.place())
        guest.wait()


@asynccontextmanager
async def whole_lane(**options: Any) -> AsyncGenerator[lanes.ProcessLane]:
    """A lane, and a check at its end that nothing of it is left."""
    with nothing_left():
        lane = lanes.ProcessLane(credentials=Leases(token="s3cr3t-value"), **options)
        try:
            yield lane
        finally:
            await lane.aclose()


class nothing_left:  # noqa: N801 - reads as what it says
    """Whatever is opened or started inside is gone afterwards."""

    def __enter__(self) -> None:
        self._before = self._seen()

    def __exit__(self, error: object, *_rest: object) -> None:
        assert error is not None or self._seen() == self._before

    @staticmethod
    def _seen() -> tuple[int, set[int], set[str]]:
        own = psutil.Process()
        groups = {str(path) for path in Path("/sys/fs/cgroup").glob(f"*/interlock-{os.getpid()}-*")}
        return own.num_fds(), {child.pid for child in own.children(recursive=True)}, groups


@pytest.fixture
def marker(request: pytest.FixtureRequest) -> Generator[str]:
    """A text by which a test finds its processes again; none may be left."""
    text = f"interlock-marker-{os.getpid()}-{abs(hash(request.node.nodeid))}"
    yield text
    assert alive(text) == []
