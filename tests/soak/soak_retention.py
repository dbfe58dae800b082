"""A million finished runs (`SOAK_FINISHED`) slow nothing that people and workers do, and leave while they work.

Before and after, the same is done some times over; no statement of it may look through a whole table of runs, which is what the
database's own plan says. The times are printed.
"""

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

import many_runs
from interlock import dispatch, policy, runs
from interlock.adapters import sql
from interlock.app import Interlock, Settings
from interlock.kernel import JSON, Tx

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600), pytest.mark.anyio]

RUNS = int(os.environ.get("SOAK_FINISHED", "1000000"))
TIMES = 15
LARGE = {"runs", "attempts", "events", "artifacts"}
"""What the runs of handlers fill."""

SLOWER = 4.0
"""What takes longer than that many times is no longer the same. A busy machine alone does so now and then: what takes less than
`NOISE` seconds is not compared."""
NOISE = 0.1


@dispatch.handler("noted")
async def noted(event: dispatch.Event, context: dispatch.Context) -> JSON:
    if event.payload.get("bad"):
        raise dispatch.Reject("it is broken")
    return {"done": True}


Ask = Callable[[], Awaitable[object]]


def asked(il: Interlock, last: str) -> dict[str, Ask]:
    """What people and workers do."""
    parts = il._parts  # pyright: ignore[reportPrivateUsage] - what goes on in the background is asked for here
    worker, state = il.worker(noted), runs.State

    async def one_more() -> None:
        await il.dispatch.submit("noted")
        (waiting,) = await il.dispatch.list(handler="noted", limit=1)
        await worker.handle(waiting.due.job)

    return {
        "runs list": lambda: il.runs.list(limit=50),
        "runs list --cursor": lambda: il.runs.list(cursor=last, limit=50),
        "runs list --state failed": lambda: il.runs.list(states=[state.FAILED, state.DEAD], limit=50),
        "runs list --state completed": lambda: il.runs.list(states=[state.COMPLETED], limit=50),
        "runs list --capability": lambda: il.runs.list(capability="handler.noted", limit=50),
        "runs list --capability none": lambda: il.runs.list(capability="acme.none", limit=50),
        "runs list --since": lambda: il.runs.list(since=parts.wiring.clock.now() - timedelta(hours=1), limit=50),
        "runs list --trace": lambda: il.runs.list(trace_id=last.removeprefix("run_"), limit=50),
        "runs list --parent": lambda: il.runs.list(parent_run_id=last, limit=50),
        "runs list --connection none": lambda: il.runs.list(connection_id="con_" + "0" * 32, limit=50),
        "runs list --by nobody": lambda: il.runs.list(actor="nobody", limit=50),
        "runs show": lambda: il.runs.history(last),
        "runs events": lambda: il.runs.events(last),
        "review export": lambda: il.runs.packet(last),
        "submit, claim and carry out": one_more,
        "submit under a key that is taken": lambda: il.dispatch.submit("noted", idempotency_key="taken"),
        "dispatch list": lambda: il.dispatch.list(limit=50),
        "dispatch dead": lambda: il.dispatch.list(standing=dispatch.Standing.DEAD, limit=50),
        "dispatch stats": il.dispatch.stats,
        "approvals list": lambda: il.approvals.list(limit=50),
        "deliveries list": lambda: il.deliveries.list(limit=50),
        "the recovery's sweep": parts.recovery.sweep,
        "the dispatcher's sweep": parts.workshop.sweeping.sweep,
        "the queue's age": parts.workshop.sweeping.look,
        "housekeeping": lambda: parts.wiring.sweep(parts.wiring.clock.now()),
    }


async def timed(asks: dict[str, Ask]) -> dict[str, float]:
    """The median of each, in seconds."""
    found: dict[str, float] = {}
    for name, ask in asks.items():
        took: list[float] = []
        for _ in range(TIMES):
            began = time.perf_counter()
            await ask()
            took.append(time.perf_counter() - began)
        found[name] = statistics.median(took)
    return found


@contextmanager
def statements() -> Generator[dict[str, Any]]:
    """What is executed by way of SQLAlchemy, with the parameters of the first time."""
    found: dict[str, Any] = {}

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")) and not many:
            found.setdefault(statement, parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def scans(session: Connection, statement: str, parameters: Any) -> list[str]:
    """The tables that a statement would look through from end to end."""
    sqlite = session.dialect.name == "sqlite"
    cursor = session.connection.cursor()
    try:
        cursor.execute(f"EXPLAIN {'QUERY PLAN' if sqlite else ''} {statement}", parameters)
        rows = cursor.fetchall()
    finally:
        cursor.close()
    lines = [str(row[-1]).strip(" ->") for row in rows]
    if sqlite:
        return [
            each for each in lines if each.startswith("SCAN ") and " USING " not in each and _table(each, 1) in LARGE
        ]
    return [each for each in lines if "Seq Scan on" in each and each.split("Seq Scan on ")[1].split()[0] in LARGE]


def _table(line: str, place: int) -> str:
    return line.split()[place]


async def test_many_finished_runs(root_key: None, store_url: str, tmp_path: Path) -> None:
    settings = Settings(store=store_url, folder=tmp_path, blobs=str(tmp_path / "blobs"))
    async with Interlock.open(settings=settings, policy=policy.Policy(), background=False) as il:
        store, worker = il._parts.store, il.worker(noted)  # pyright: ignore[reportPrivateUsage] - to see its plans
        done = [(await il.dispatch.submit("noted")).run_id for _ in range(60)]
        for _ in range(60):
            await il.dispatch.submit("noted", {"bad": True})
        await il.dispatch.submit("noted", idempotency_key="taken")
        while due := await il.dispatch.list(limit=200):
            for each in due:
                await worker.handle(each.due.job)
        few = await timed(asked(il, done[0]))
        began = time.perf_counter()
        many_runs.fill(store_url, done[0], RUNS)
        print(f"\n{RUNS} finished runs were put there in {time.perf_counter() - began:.0f} s")
        with statements() as seen:
            many = await timed(asked(il, done[0]))
        for name in many:
            print(f"{name:36} {few[name] * 1000:9.2f} ms {many[name] * 1000:9.2f} ms {many[name] / few[name]:7.2f}")

        def looked_through(tx: Tx) -> dict[str, list[str]]:
            session = sql.connection(tx)
            return {text: found for text, given in seen.items() if (found := scans(session, text, given))}

        through = await store.read(looked_through)
        print("looked through:", *(f"{text}: {found}" for text, found in through.items()), sep="\n")
        assert not through
        assert not {name for name in many if many[name] > max(SLOWER * few[name], NOISE)}
        await leave(il, tmp_path / "archives")


async def leave(il: Interlock, folder: Path) -> None:
    """Some thousands are archived, and what is asked meanwhile is answered."""
    began, most = time.perf_counter(), 3000
    longest = 0.0

    class Enough(Exception):
        pass

    def told(done: runs.Done) -> None:
        nonlocal longest
        if done.runs >= most:
            print(
                f"{done.runs} archived in {time.perf_counter() - began:.1f} s, {done.size / done.runs:.0f} bytes each"
            )
            raise Enough

    plan_began = time.perf_counter()
    plan = await il.archives.plan(older_than=timedelta(minutes=1))
    print(f"plan: {plan.runs} in {time.perf_counter() - plan_began:.2f} s")
    with pytest.raises(Enough):
        await il.archives.write(older_than=timedelta(minutes=1), folder=folder, on_progress=told)
    left = await il.archives.plan(older_than=timedelta(minutes=1))
    assert plan.runs - left.runs == most
