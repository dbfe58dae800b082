"""The process that the fault tests kill: `python child.py HANDS`. One order per line on stdin; a fresh fork carries each
out. HANDS is a file with two numbers that the tests change at will, also while the fork is stopped: the seconds by which its
wall clock is off, and those by which its time has run ahead. A third one is the fork's: how often it has gone to sleep.

Everything is imported before the fork, so that a case costs a process but not its start. On stdout, one JSON line each:
`pid`; `ready` once the store is open and quiet (it then waits for the line `go` on stdin); what the flow `came_to`, or
its `error`; `stopped` when the fork was stopped; in the end its `exit` status (negative: the signal).

For SQLite the boundary of an order is found here, from the test's side: the connections that `sqlite3.connect` makes are
watched, and the signal is sent just before or just after the n-th COMMIT reaches the engine. Nothing of the package knows.
"""

import contextlib
import gc
import importlib
import json
import mmap
import os
import re
import signal
import sqlite3
import struct
import sys
import traceback
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import fault_talks
from fault_world import FLOWS, POLICY, RULES, Order, connector, service, settings
from interlock import Interlock, kernel
from interlock.kernel import InterlockError, SystemClock

HEARTBEAT = "insert owners"
NEEDED = {
    "guest_turn": ("fault_guests",),
    "agent_talks": ("interlock.adapters.memory.sqlite.provider",),
}
"""What some flows import as they go, a second of it, and others need not have: here once, and not in each fork."""
CONNECTORS = [connector().manifest]
_WRITES = re.compile(r"^\s*(INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")


def tell(**what: Any) -> None:
    os.write(1, (json.dumps(what, default=str) + "\n").encode())


class Commits:
    """Counts the commits of this process from `armed` on, and signals at the one that was ordered."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._count = 0
        self._written: list[str] = []
        self.seen: list[str] = []
        self.armed = False

    def connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        commits = self

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any, **named: Any) -> sqlite3.Cursor:  # type: ignore[override]
                counted = sql == "COMMIT" and commits.begin()
                if counted:
                    commits.boundary("before")
                result = super().execute(sql, *parameters, **named)
                if counted:
                    commits.boundary("after")
                return result

        connection = _connect(*args, **kwargs, factory=Watched)
        connection.set_trace_callback(self._note)
        return connection

    def _note(self, statement: str) -> None:
        if found := _WRITES.match(statement):
            self._written.append(f"{found[1].split()[0].lower()} {found[2]}")

    def begin(self) -> bool:
        """Whether the commit that comes is one of the flow's. A heartbeat is none: it comes whenever it is due."""
        label = ", ".join(dict.fromkeys(self._written))
        self._written.clear()
        if not self.armed or not label or (label == HEARTBEAT and HEARTBEAT in self.seen):
            return False
        self._count += 1
        self.seen.append(label)
        return True

    def boundary(self, when: str) -> None:
        if self._count == self._order.commit and when == self._order.when:
            tell(boundary=f"{when} commit {self._count} ({self.seen[-1]})")
            os.kill(os.getpid(), self._order.signal)


_connect = sqlite3.connect


class HandedClock(SystemClock):
    """The machine's clock, but for what the tests do to its hands."""

    def __init__(self, hands: mmap.mmap) -> None:
        self._hands = hands

    def now(self) -> datetime:
        wall, ahead = struct.unpack_from("dd", self._hands)
        return super().now() + timedelta(seconds=wall + ahead)

    def monotonic(self) -> float:
        return super().monotonic() + struct.unpack_from("dd", self._hands)[1]

    async def sleep(self, seconds: float) -> None:
        until = self.monotonic() + seconds
        struct.pack_into("d", self._hands, 16, struct.unpack_from("d", self._hands, 16)[0] + 1)
        while (left := until - self.monotonic()) > 0:
            await super().sleep(min(left, 0.05))


async def carry_out(order: Order, hands: mmap.mmap) -> None:
    commits = Commits(order)
    sqlite3.connect = commits.connect
    there, clock = settings(order.url, order.server_url, memory=order.memory), HandedClock(hands)
    try:
        async with Interlock.open(
            settings=there,
            file=RULES,
            policy=POLICY,
            connectors=[*CONNECTORS, service(order.server_url)],
            clock=clock,
            background=False,
            models={"fake": fault_talks.model},
        ) as il:
            tell(ready=True)
            assert await anyio.to_thread.run_sync(sys.stdin.readline) == "go\n"
            commits.armed = True
            try:
                tell(came_to=await FLOWS[order.flow](il, order))
            except InterlockError as error:
                tell(error=error.code, message=error.message, run_id=error.run_id)
        tell(commits=commits.seen)
    except* kernel.InterlockError as errors:
        tell(closing=[getattr(error, "code", repr(error)) for error in errors.exceptions])


def fork(order: Order, hands: mmap.mmap) -> None:
    for module in NEEDED.get(order.flow, ()):
        importlib.import_module(module)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            anyio.run(partial(carry_out, order, hands))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may climb into the parent's loop
            traceback.print_exc()
        finally:
            os._exit(code)  # not the parent's way out
    tell(pid=pid)
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            tell(exit=os.waitstatus_to_exitcode(status))
            return
        tell(stopped=pid)


async def warm_up() -> None:
    """Have everything imported that an open Interlock imports as it goes. Its threads have ended when it is closed."""
    async with Interlock.open(
        settings=settings(":memory:", "http://127.0.0.1:1"), policy=POLICY, connectors=CONNECTORS
    ) as il:
        await il.runs.recover()
        with contextlib.suppress(kernel.InterlockError):
            await il.connections.connect_token("acme", "a token for nothing", base_url="http://127.0.0.1:1")


def main(path: Path) -> None:
    with path.open("r+b") as file:
        hands = mmap.mmap(file.fileno(), 24)
    for module in ("psycopg", "interlock.adapters.sql.postgres_store"):
        importlib.import_module(module)
    anyio.run(warm_up)
    gc.freeze()  # forks share what is there, and none of them looks through it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tell(serving=os.getpid())
    while line := sys.stdin.readline():
        if line.startswith("{"):  # a `go` that came too late is nobody's
            fork(Order(**json.loads(line)), hands)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
