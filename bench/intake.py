"""Suite `intake`: a webhook that is verified, told from those before, admitted and enqueued, against a Starlette route that
inserts and commits one row; each in a server process of its own.

`python -m bench.intake bare|ours URL` prints a port and a path, and serves until its standard input is closed.
"""

import asyncio
import gc
import hmac
import itertools
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import anyio
import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.place import Place
from bench.report import Row, compare
from bench.timing import Contestant, Pace, race
from interlock import Interlock, sdk, server
from interlock.kernel import Secret
from interlock.triggers import webhooks

_CALLERS: Final = (1, 64)
SECRET: Final = "the-secret-of-the-bench-0123456789"
KEY: Final = bytes(range(7, 39)).hex()
_TABLE: Final = "CREATE TABLE bare (n INTEGER, value TEXT NOT NULL)"
_TEXT: Final = "Signal 7 fails. " * 60
_AT_ONCE: Final = 16
_FLOOD: Final = 10_000
HUB: Final = sdk.Connector(
    "hub",
    version="1.0.0",
    description="Reports issues.",
    base_url="https://api.hub.dev",
    auth=[sdk.no_auth()],
    triggers=[
        sdk.trigger(
            "issues",
            "webhook",
            signal={"type": "object", "properties": {"number": {"type": "integer"}}},
            about="An issue changed.",
            event={"header": "X-Hub-Event", "values": ["issues"]},
            verification={"scheme": "github"},
        )
    ],
).manifest
_Line: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_numbers = itertools.count(1)


async def run(place: Place) -> list[Row]:
    """On both databases."""
    rows: list[Row] = []
    for engine, name in (("sqlite", "SQLite"), ("postgres", "Postgres")):
        for callers in _CALLERS:
            async with AsyncExitStack() as stack:
                bare = await _service(stack, place, "bare", engine)
                ours = await _service(stack, place, "ours", engine)
                baseline, measured = await race([Contestant(bare, callers), Contestant(ours, callers)], place.pace)
                if callers == max(_CALLERS):
                    (flood,) = await race([Contestant(ours, callers, count=_FLOOD)], Pace(rounds=1, seconds=0.1))
                    what, p99 = f"{_FLOOD:,} webhooks, {name}, {callers} connections", flood.quantile(0.99) * 1e6
                    rows.append(Row(what=what, measured=flood, values=[p99], baseline="p99 of the answer, µs"))
            what = f"webhook intake, {name}, {callers:>2} connections"
            rows.append(compare(what, measured, "Starlette, one row", baseline, key=f"intake-{engine}-{callers}"))
    return rows


async def _service(stack: AsyncExitStack, place: Place, kind: str, engine: str) -> Callable[[], Awaitable[None]]:
    """What one delivery takes, over connections that stay open."""
    url = await stack.enter_async_context(place.store(engine))
    process = await stack.enter_async_context(_serving(kind, url))
    assert process.stdout is not None
    port, path = json.loads(await process.stdout.readline())
    idle: list[_Line] = []
    stack.callback(lambda: [writer.close() for _, writer in idle])
    return partial(_deliver, idle, port, path)


@asynccontextmanager
async def _serving(kind: str, url: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "bench.intake", kind, url]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "INTERLOCK_KEY": KEY}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _deliver(idle: list[_Line], port: int, path: str) -> None:
    """One delivery that never came before, and its answer."""
    body = json.dumps({"number": next(_numbers), "text": _TEXT}).encode()
    signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Hub-Event: issues\r\nX-GitHub-Delivery: {next(_numbers)}\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    # Who says nothing for ten seconds is cut off, which a connection may be while the other server has its turn.
    while idle and idle[-1][0].at_eof():
        idle.pop()[1].close()
    reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    idle.append((reader, writer))


# -- servers


async def _bare(url: str) -> None:
    insert = await (_on_postgres(url) if url.startswith("postgres") else _on_sqlite(url))

    async def take(request: Request) -> Response:
        await insert((await request.body()).decode())
        return Response(headers={"Content-Length": "0"})

    app = Starlette(routes=[Route("/", take, methods=["POST"])])
    started = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    _tell(listening.getsockname()[1], "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(started.serve, [listening])
        await asyncio.to_thread(sys.stdin.read)
        started.should_exit = True


async def _on_sqlite(url: str) -> Callable[[str], Awaitable[None]]:
    raw = sqlite3.connect(url, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute(_TABLE)

    async def insert(value: str) -> None:
        raw.execute("INSERT INTO bare VALUES (1, ?)", (value,))

    return insert


async def _on_postgres(url: str) -> Callable[[str], Awaitable[None]]:
    idle: asyncio.LifoQueue[psycopg.AsyncConnection] = asyncio.LifoQueue()
    for _ in range(_AT_ONCE):
        idle.put_nowait(await psycopg.AsyncConnection.connect(url, autocommit=True))
    session = idle.get_nowait()
    await session.execute(_TABLE)
    idle.put_nowait(session)

    async def insert(value: str) -> None:
        session = await idle.get()
        await session.execute("INSERT INTO bare VALUES (1, %s)", (value,))
        idle.put_nowait(session)

    return insert


async def _ours(url: str) -> None:
    async with Interlock.open(url, connectors=[HUB], background=False) as il:
        wanted = webhooks.Wanted(name="issues", handler="triage")
        made = await il.routes.create("hub", on=[wanted], secret=Secret(SECRET))
        assert made.address is not None
        path = "/hooks/" + made.address.reveal().rpartition("/")[2]

        ports: list[int] = []

        def make(port: int) -> server.Hooks:
            ports.append(port)
            return server.Hooks(il.intake, origin="http://127.0.0.1")

        async with server.serve_pages(make, host="127.0.0.1", port=0):
            _tell(ports[0], path)
            await asyncio.to_thread(sys.stdin.read)


def _tell(port: int, path: str) -> None:
    gc.collect()
    gc.freeze()  # as `interlock serve` does
    print(json.dumps([port, path]), flush=True)


if __name__ == "__main__":
    asyncio.run({"bare": _bare, "ours": _ours}[sys.argv[1]](sys.argv[2]))
