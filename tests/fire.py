"""What processes and their database go through in `soak_under_fire.py`, as a plan that a seed makes again."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import anyio
import anyio.abc
import psutil
import psycopg

from fix_store import embedded_postgres

Kind: TypeAlias = Literal["kill", "freeze", "immediate", "fast"]
"""The last two are restarts of the database: as after a loss of power, and as an administrator does it."""

KEY: Final = bytes(range(7, 39)).hex()
STORE_GONE: Final = 7
"""The exit code."""

LONGEST_FREEZE: Final = 60.0
ON_POSTGRES: Final[dict[Kind, float]] = {"kill": 6, "freeze": 4, "immediate": 0.5, "fast": 0.5}
ON_SQLITE: Final[dict[Kind, float]] = {"kill": 6, "freeze": 4}


@dataclass(frozen=True)
class Fault:
    """What happens, `after` so many seconds, and to which process. A freeze lasts `seconds`."""

    after: float
    kind: Kind
    victim: int
    seconds: float


def plan(
    seed: int, kinds: dict[Kind, float], *, victims: int, pauses: tuple[float, float], until: float
) -> list[Fault]:
    """Faults of these kinds, as often as their weights say. Most freezes are short, and some take a minute."""
    chance = random.Random(seed)
    faults: list[Fault] = []
    left = until
    while (after := chance.uniform(*pauses)) < left:
        left -= after
        kind = chance.choices(list[Kind](kinds), weights=[*kinds.values()])[0]
        faults.append(Fault(after, kind, chance.randrange(victims), LONGEST_FREEZE ** chance.random()))
    return faults


class Postgres:
    """A server of this test's own, that can fall."""

    def __init__(self, folder: Path) -> None:
        self._server = embedded_postgres().get_server(folder, cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as session:
            session.execute("ALTER SYSTEM SET max_connections = 200")
        self.fall(signal.SIGINT)

    def fall(self, by: signal.Signals) -> None:
        """Stop by that signal, and come back."""
        pid = self._server.get_pid()
        os.kill(pid, by)
        with suppress(psutil.NoSuchProcess):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
        while True:
            with suppress(subprocess.TimeoutExpired):  # it still reads what it had written
                self._server.ensure_postgres_running()
                return

    def close(self) -> None:
        self._server.cleanup()


class Process:
    """A command of `interlock` that goes on, on the settings of a folder, in a process that is started again when it ends."""

    def __init__(self, folder: Path, words: Sequence[str], log: Path) -> None:
        self._folder = folder
        self._words = [sys.executable, "-m", "interlock", *words, "--json"]
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

    async def is_at_work(self) -> None:
        """Wait until it has begun. Somebody watches it meanwhile."""
        while not self._ready.stat().st_size:  # noqa: ASYNC110 - it is another process that says so
            await anyio.sleep(0.1)

    async def drain(self) -> None:
        """Let it end what it has begun."""
        await self.is_at_work()
        self._process.send_signal(signal.SIGTERM)
        code = await anyio.to_thread.run_sync(self._process.wait, 120)
        assert code == 0, self._log.read_text()[-3000:]

    def close(self) -> None:
        """At once."""
        self._process.kill()
        self._process.wait()


async def trouble(
    faults: Sequence[Fault],
    processes: Sequence[Process],
    postgres: Postgres | None,
    tasks: anyio.abc.TaskGroup,
    *,
    until: float,
) -> Counter[Kind]:
    """Carry the plan out, for so many seconds. Where there is one process, each pause begins once it is at work: on a slow
    machine it would be killed before it ever is. Returns what happened."""
    happened = Counter[Kind]()
    with anyio.move_on_after(until):
        for fault in faults:
            victim = processes[fault.victim]
            if len(processes) == 1:
                await victim.is_at_work()
            await anyio.sleep(fault.after)
            happened[fault.kind] += 1
            match fault.kind:
                case "kill":
                    victim.kill()
                case "freeze":
                    tasks.start_soon(victim.freeze, fault.seconds)
                case "immediate" | "fast":
                    assert postgres is not None
                    by = signal.SIGQUIT if fault.kind == "immediate" else signal.SIGINT
                    await anyio.to_thread.run_sync(postgres.fall, by)
    return happened


async def watch(processes: Sequence[Process]) -> None:
    """Have all of them there, for ever."""
    while True:
        for each in processes:
            each.watch()
        await anyio.sleep(0.5)
