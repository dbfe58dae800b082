"""One node in a process of its own, whose memory is watched: `python subject.py LANE HOST AMOUNT`.

`http`, `http2`, `sse`, `websocket`, `jsonrpc` and `process` carry AMOUNT bytes each way that they have, through one execution.
`many-http` and `many-processes` have AMOUNT executions under way at once. Prints what it carried and what memory it took.
"""

import json
import resource
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import anyio

from interlock import app, kernel, plane
from interlock.adapters import lanes

PIECE: Final = b"x" * 65_536
MESSAGE: Final = b'{"jsonrpc":"2.0","method":"more","params":["' + b"x" * 1_000_000 + b'"]}'
CLASS: Final = "soak"
EVERY: Final = 4_000_000
"""Bytes from one look at the memory to the next."""

_PAGE: Final = resource.getpagesize()


class Gauge:
    """The resident set: how much more it ever was than once the first twentieth had gone through."""

    def __init__(self, amount: int) -> None:
        self._amount = amount
        self._next = 0
        self._base: int | None = None
        self._most = 0
        self.carried = 0

    def tick(self, size: int) -> None:
        """So much more has gone through."""
        self.carried += size
        if self.carried >= self._next:
            self._next = self.carried + min(EVERY, self._amount // 40)
            self.look()

    def look(self) -> None:
        """Look now."""
        now = resident()
        if self._base is None and self.carried >= self._amount // 20:
            self._base = self._most = now
        self._most = max(self._most, now)

    @property
    def growth(self) -> int:
        """Bytes."""
        assert self._base is not None, "too little went through"
        return self._most - self._base


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


class Nobody:
    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
        raise AssertionError("there are no credentials here")


class Subject:
    """A node with one lane."""

    def __init__(self, lane: plane.Lane) -> None:
        self.clock = kernel.SystemClock()
        self.lane = lane
        self._ids = kernel.Uuid7Ids(self.clock)
        self._authorizer = plane.Authorizer(clock=self.clock)
        target = plane.LocalTarget("here", target_class=CLASS, lane_id=lane.lane_id, clock=self.clock)
        verifier = self._authorizer.verifier()
        self._node = plane.Node("soak", lanes=[lane], targets=[target], verifier=verifier, clock=self.clock)

    def identity(self) -> dict[str, Any]:
        names = {"intent_id": "snd", "run_id": "run", "attempt_id": "att", "trace_id": "snd"}
        deadline = self.clock.now() + timedelta(hours=2)
        own = {name: self._ids.new(prefix) for name, prefix in names.items()}
        return {**own, "tenant_id": "soak", "deadline_at": deadline}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[plane.Executions]:
        async with plane.Executions(self._node, clock=self.clock, ids=self._ids) as executions:
            yield executions
        await self.lane.aclose()

    async def start(self, executions: plane.Executions, intent: plane.Intent) -> plane.ExecutionRef:
        authority = self._authorizer.issue(intent.digest, audience="soak", target_class=CLASS)
        return await executions.start(intent, authority=authority, target_class=CLASS)

    async def carry(self, intent: plane.Intent, gauge: Gauge, *, pieces: int, piece: bytes) -> plane.Receipt:
        """Send in so many pieces, follow what comes out, to the end."""
        receipt: plane.Receipt | None = None
        async with self.open() as executions, anyio.create_task_group() as tasks:
            ref = await self.start(executions, intent)

            async def speak() -> None:
                for _ in range(pieces):
                    await executions.send_input(ref, plane.Input(data=piece))
                    gauge.tick(len(piece))
                if pieces:
                    await executions.end_input(ref)

            tasks.start_soon(speak)
            async for event in executions.subscribe(ref):
                gauge.tick(event.size)
                receipt = event.receipt
            tasks.cancel_scope.cancel()
        assert receipt is not None
        return receipt


def web(host: str, **fields: Any) -> dict[str, Any]:
    return {"allowed_hosts": (host,), "url": f"http://{host}/", **fields}


def made(lane_id: str, host: str) -> Subject:
    return Subject(app.make_lane(lane_id, credentials=Nobody(), addresses=plane.AddressPolicy(allow=(host,))))


async def stream(kind: str, host: str, amount: int, gauge: Gauge) -> plane.Receipt:
    lane_id = "http" if kind == "http2" else kind
    subject = made(lane_id, host)
    whose, hour, piece, pieces = subject.identity(), 3_600_000, PIECE, -(-amount // len(PIECE))
    intent: plane.Intent
    if kind in {"http", "http2"}:
        modes: dict[str, Any] = {"method": "POST", "request_mode": "stream", "response_mode": "stream"}
        if kind == "http2":
            modes |= {"http_versions": ("2",), "url": f"http://{host}/echo"}
        times = plane.Timeouts(total_ms=hour)
        intent = plane.HttpIntent(**whose, **web(host, **modes, timeouts=times, max_response_bytes=2**31))
    elif lane_id == "sse":
        pieces = 0
        intent = plane.SseIntent(**whose, **web(host, timeouts=plane.StreamTimeouts(total_ms=hour), max_bytes=2**40))
    elif lane_id == "websocket":
        times = plane.WebSocketTimeouts(total_ms=hour)
        intent = plane.WebSocketIntent(
            **whose, url=f"ws://{host}/", allowed_hosts=(host,), timeouts=times, max_bytes=2**40
        )
    elif lane_id == "jsonrpc":
        piece, pieces = MESSAGE, -(-amount // len(MESSAGE))
        transport = plane.TcpTransport(address=host, tls=False, framing="newline", allowed_hosts=(host,))
        times = plane.RpcTimeouts(total_ms=hour, close_ms=hour)  # the peer may have more to say than we
        intent = plane.JsonRpcIntent(**whose, transport=transport, mode="session", timeouts=times)
    else:
        intent = plane.ProcessIntent(**whose, argv=("/bin/cat",), interactive=True, max_ms=hour, max_output_bytes=2**40)
    return await subject.carry(intent, gauge, pieces=pieces, piece=piece)


async def many(subject: Subject, intents: list[plane.Intent], gauge: Gauge, *, begin: Callable[[], None]) -> int:
    """All of them at once. How many did what they should."""
    done = 0

    async def one(executions: plane.Executions, ref: plane.ExecutionRef) -> None:
        nonlocal done
        async for event in executions.subscribe(ref):
            if event.receipt is not None:
                done += event.receipt.failure is None

    async with subject.open() as executions, anyio.create_task_group() as tasks:
        refs = [await subject.start(executions, intent) for intent in intents]
        for ref in refs:
            tasks.start_soon(one, executions, ref)
        begin()
        if isinstance(intents[0], plane.ProcessIntent):
            for ref in refs:
                await executions.send_input(ref, plane.Input(data=b"go\n"))
                await executions.end_input(ref)
    gauge.look()
    return done


async def run_many(kind: str, host: str, amount: int, gauge: Gauge) -> int:
    """The gauge's base is one execution's work."""
    make: Callable[[], plane.Intent]
    if kind == "many-http":
        egress = lanes.Egress(addresses=plane.AddressPolicy(allow=(host,)), max_connections=amount)
        subject = Subject(lanes.HttpLane(credentials=Nobody(), egress=egress))
        times = plane.Timeouts(pool_ms=3_600_000, connect_ms=600_000, read_ms=600_000, total_ms=3_600_000)
        values: dict[str, Any] = web(host, method="GET", timeouts=times)
        make = lambda: plane.HttpIntent(**subject.identity(), **values)  # noqa: E731
    else:
        subject = made("process", host)
        values = {"argv": ("/bin/sh", "-c", "read word; echo $word"), "interactive": True, "max_ms": 3_600_000}
        make = lambda: plane.ProcessIntent(**subject.identity(), **values)  # noqa: E731
    intents: list[plane.Intent] = [make() for _ in range(amount)]
    gauge.tick(amount)
    return await many(subject, intents, gauge, begin=gauge.look)


def main() -> None:
    kind, host, amount = sys.argv[1], sys.argv[2], int(sys.argv[3])
    gauge = Gauge(amount)
    told: dict[str, Any] = {}
    if kind.startswith("many-"):
        told["done"] = anyio.run(run_many, kind, host, amount, gauge)
    else:
        receipt = anyio.run(stream, kind, host, amount, gauge)
        told["failure"] = None if receipt.failure is None else receipt.failure.code
        told["facts"] = receipt.facts
    print(json.dumps({**told, "carried": gauge.carried, "growth": gauge.growth}))


if __name__ == "__main__":
    main()
