"""What processes and their database go through in `soak_under_fire.py`, as a plan that a seed makes again."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import anyio
import anyio.abc
import psutil
import psycopg
from psycopg import sql

from fix_store import embedded_postgres

Kind: TypeAlias = Literal["kill", "freeze", "immediate", "fast", "cancel", "lock"]
"""`immediate` and `fast` are restarts of the database: as after a loss of power, and as an administrator does it. `cancel` ends
every statement that is under way, and `lock` is a session of somebody else that holds rows, or a file, for a while."""

KEY: Final = bytes(range(7, 39)).hex()
STORE_GONE: Final = 7
"""The exit code."""

LONGEST_FREEZE: Final = 60.0
LONGEST_LOCK: Final = 20.0
LOCKED: Final = ("runs", "dispatches", "owners", "interlock_pgqueuer", "schedules", "attempts")
"""Whose rows somebody else holds."""

ON_POSTGRES: Final[dict[Kind, float]] = {"kill": 6, "freeze": 4, "immediate": 0.5, "fast": 0.5, "cancel": 4, "lock": 3}
ON_SQLITE: Final[dict[Kind, float]] = {"kill": 6, "freeze": 4, "lock": 3}


@dataclass(frozen=True)
class Fault:
    """What happens, `after` so many seconds, and to which process, or to rows of which table. A freeze and a lock last
    `seconds`."""

    after: float
    kind: Kind
    victim: int
    seconds: float
    table: str


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
        victim, seconds = chance.randrange(victims), LONGEST_FREEZE ** chance.random()
        faults.append(Fault(after, kind, victim, seconds, chance.choice(LOCKED)))
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

    def cancel(self) -> None:
        """Every statement that is under way."""
        with suppress(psycopg.Error), psycopg.connect(self.url, autocommit=True) as session:
            session.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
            )

    def lock(self, table: str, seconds: float, held: Callable[[], object]) -> None:
        """Hold the newest rows of a table for so long, if there are any, and say so. The server may fall meanwhile."""
        newest = sql.SQL("SELECT 1 FROM {} ORDER BY ctid DESC LIMIT 50 FOR UPDATE").format(sql.Identifier(table))
        with suppress(psycopg.OperationalError), psycopg.connect(self.url) as session:
            if session.execute(newest).rowcount:
                held()
                time.sleep(seconds)

    def close(self) -> None:
        self._server.cleanup()


@dataclass(frozen=True)
class File:
    """A store of SQLite."""

    path: Path

    def lock(self, _table: str, seconds: float, held: Callable[[], object]) -> None:
        """Write to it, for so long, and say so."""
        opened = sqlite3.connect(self.path, timeout=LONGEST_FREEZE, isolation_level=None)
        with closing(opened) as session, suppress(sqlite3.OperationalError):
            session.execute("BEGIN IMMEDIATE")
            held()
            time.sleep(seconds)
            session.execute("ROLLBACK")


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
    store: Postgres | File,
    tasks: anyio.abc.TaskGroup,
    *,
    until: float,
) -> Counter[Kind]:
    """Carry the plan out, for so many seconds. Where there is one process, each pause begins once it is at work: on a slow
    machine it would be killed before it ever is. Returns what happened: of locks, those that were held."""
    happened = Counter[Kind]()

    def count_lock() -> None:
        happened["lock"] += 1

    with anyio.move_on_after(until):
        for fault in faults:
            victim = processes[fault.victim]
            if len(processes) == 1:
                await victim.is_at_work()
            await anyio.sleep(fault.after)
            if fault.kind != "lock":
                happened[fault.kind] += 1
            match fault.kind:
                case "kill":
                    victim.kill()
                case "freeze":
                    tasks.start_soon(victim.freeze, fault.seconds)
                case "lock":
                    lock = partial(store.lock, fault.table, min(fault.seconds, LONGEST_LOCK), count_lock)
                    tasks.start_soon(anyio.to_thread.run_sync, lock)
                case "cancel":
                    assert isinstance(store, Postgres)
                    await anyio.to_thread.run_sync(store.cancel)
                case "immediate" | "fast":
                    assert isinstance(store, Postgres)
                    by = signal.SIGQUIT if fault.kind == "immediate" else signal.SIGINT
                    await anyio.to_thread.run_sync(store.fall, by)
    return happened


async def watch(processes: Sequence[Process]) -> None:
    """Have all of them there, for ever."""
    while True:
        for each in processes:
            each.watch()
        await anyio.sleep(0.5)
