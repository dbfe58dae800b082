"""Suite `crowd`: what people and workers do every day, on a store with a hundred thousand finished runs, against one with a
hundred. The runs are one real run, of a webhook, copied by SQL with ids and moments of their own."""

import hmac
import itertools
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import anyio
from sqlalchemy import Connection, text

from bench.intake import HUB, KEY, SECRET
from bench.place import Place
from bench.report import Row, compare
from bench.timing import Contestant, Once, race
from interlock import Interlock, dispatch, runs
from interlock.adapters import sql
from interlock.adapters.sql import tables
from interlock.kernel import Secret, Tx
from interlock.triggers import webhooks

FEW: Final = 100
MANY: Final = 100_000
_KNOWN: Final = "a key that is known"

_IDS: Final = {
    "run_id": "run_",
    "trace_id": "run_",
    "attempt_id": "att_",
    "event_id": "evt_",
    "decision_id": "dec_",
    "artifact_id": "art_",
    "delivery_id": "dlv_",
    "key": "id:",
}
_MOMENTS: Final = frozenset({"created_at", "updated_at", "finished_at", "started_at", "at", "received_at"})
_OF_RUN: Final = (tables.runs, tables.attempts, tables.events, tables.decisions, tables.artifacts)
_OF_ROUTE: Final = (tables.deliveries, tables.dedupe_keys)


async def run(place: Place) -> list[Row]:
    """On both databases."""
    rows: list[Row] = []
    os.environ["INTERLOCK_KEY"] = KEY
    for engine, name in (("sqlite", "SQLite"), ("postgres", "Postgres")):
        async with AsyncExitStack() as stack:
            few, many = [
                await stack.enter_async_context(_filled(await stack.enter_async_context(place.store(engine)), count))
                for count in (FEW, MANY)
            ]
            contestants = [Contestant(once) for does in few for once in (few[does], many[does])]
            trials = await race(contestants, place.pace)
        for does, small, large in zip(few, trials[::2], trials[1::2], strict=True):
            rows.append(compare(f"{does}, {name}", large, f"{FEW} runs (time)", small, key="crowd"))
    return rows


@asynccontextmanager
async def _filled(url: str, count: int) -> AsyncGenerator[dict[str, Once]]:
    """What is done on a store with so many finished runs."""
    called: dict[str, anyio.Event] = {}

    @dispatch.handler("triage")
    async def triage(event: dispatch.Event, _: dispatch.Context) -> dict[str, str]:
        if (waiting := called.pop(str(event.payload.get("key")), None)) is not None:
            waiting.set()
        return {"text": "x" * 100}

    async with Interlock.open(url, connectors=[HUB], background=False) as il, anyio.create_task_group() as tasks:
        wanted = webhooks.Wanted(name="issues", handler="triage")
        made = await il.routes.create("hub", on=[wanted], secret=Secret(SECRET))
        assert made.address is not None
        deliver = partial(_deliver, il, made.address.reveal().rpartition("/")[2], itertools.count(1))
        tasks.start_soon(il.worker(triage).run)
        await deliver()
        (first,) = await il.runs.list()
        await il.dispatch.wait(first.run_id)
        store = il._parts.store  # pyright: ignore[reportPrivateUsage] - nothing that is public copies runs
        await store.write(lambda tx: _copy(tx, first.run_id, made.route.route_id, count))
        if url.startswith("postgres"):
            await store.write(lambda tx: sql.connection(tx).execute(text("ANALYZE")))
        await il.dispatch.submit("nobody", {}, idempotency_key=_KNOWN)
        yield _daily(il, first.run_id, deliver, called)
        tasks.cancel_scope.cancel()


def _daily(
    il: Interlock, run_id: str, deliver: Callable[[], Awaitable[None]], called: dict[str, anyio.Event]
) -> dict[str, Once]:
    numbers = itertools.count(1)

    async def work() -> None:
        key = str(next(numbers))
        waiting = called[key] = anyio.Event()
        await il.dispatch.submit("triage", {"key": key})
        await waiting.wait()

    return {
        "list runs": partial(il.runs.list, limit=20),
        "list failed runs": lambda: il.runs.list(states=[runs.State.FAILED], limit=20),
        "show a run": lambda: il.runs.history(run_id),
        "list what is due": lambda: il.dispatch.list(limit=20),
        "list dead letters": lambda: il.dispatch.list(standing=dispatch.Standing.DEAD, limit=20),
        "count what is due": il.dispatch.stats,
        "list deliveries": lambda: il.deliveries.list(limit=20),
        "take a webhook": deliver,
        "find a key": lambda: il.dispatch.submit("nobody", {}, idempotency_key=_KNOWN),
        "submit until the handler is called": work,
    }


async def _deliver(il: Interlock, token: str, numbers: "itertools.count[int]") -> None:
    number = next(numbers)
    body = json.dumps({"number": number, "text": "Signal 7 fails. " * 20}).encode()
    headers = (
        ("x-hub-event", "issues"),
        ("x-github-delivery", f"d-{number}"),
        ("x-hub-signature-256", f"sha256={hmac.digest(SECRET.encode(), body, 'sha256').hex()}"),
        ("content-type", "application/json"),
    )
    incoming = webhooks.Incoming(method="POST", url="https://x.dev/hooks", headers=headers, body=body)
    outcome = await il.intake.take(token, incoming)
    assert outcome.came is webhooks.Came.ACCEPTED, outcome


def _copy(tx: Tx, run_id: str, route_id: str, count: int) -> None:
    session = sql.connection(tx)
    for table in _OF_RUN:
        _copy_rows(session, table.name, [each.name for each in table.columns], "run_id", run_id, count)
    for table in _OF_ROUTE:
        _copy_rows(session, table.name, [each.name for each in table.columns], "route_id", route_id, count)


def _copy_rows(session: Connection, table: str, columns: list[str], by: str, value: str, count: int) -> None:
    number = "lpad(i::text, 32, '0')" if session.dialect.name == "postgresql" else "printf('%032d', i)"

    def drawn(column: str) -> str:
        if column in _IDS:
            return f"'{_IDS[column]}' || {number}"
        return f"x.{column} - CAST(i AS bigint) * 1000000" if column in _MOMENTS else f"x.{column}"

    query = (
        f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(map(drawn, columns))} "
        f"FROM {table} x CROSS JOIN n WHERE x.{by} = :value"
    )
    session.execute(text(query), {"value": value})
