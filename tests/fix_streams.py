"""Streaming lanes without a node: what they are asked to do, and what they say."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import anyio
from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key

from fix_peer import Conversation
from interlock import kernel, plane, testing
from interlock.adapters.lanes import Egress

TOKEN = "tok_0123456789abcdef"
REF = plane.HeaderCredential(handle="lse_1", name="Authorization", template="Bearer {token}")
PATIENCE = 100
"""Seconds after which something hangs: being slow fails no test."""

LOOPBACK = Egress(addresses=plane.AddressPolicy(allow=("127.0.0.0/8",)))


class Vault:
    """Gives out one token."""

    def __init__(self) -> None:
        self.asked = 0

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
        self.asked += 1
        return kernel.Secret(TOKEN)


class Output(NamedTuple):
    stream: str
    data: bytes
    facts: Mapping[str, plane.Fact]


class Ear(plane.Channel):
    """Keeps what a lane says; `heard` is set anew with each word."""

    def __init__(self, clock: kernel.Clock) -> None:
        super().__init__(plane.EventLog("exe_1", clock), plane.Inbox())
        self.outputs: list[Output] = []
        self._changed = anyio.Event()

    async def output(self, stream: str, data: bytes, facts: Mapping[str, plane.Fact] | None = None) -> None:
        await anyio.lowlevel.checkpoint()
        self.outputs.append(Output(stream, data, dict(facts or {})))
        self._changed.set()

    async def heard(self, count: int) -> None:
        """Wait until that much has been said."""
        with anyio.fail_after(PATIENCE):
            while len(self.outputs) < count:
                self._changed = anyio.Event()
                await self._changed.wait()

    @property
    def data(self) -> list[bytes]:
        return [output.data for output in self.outputs]


@dataclass
class Call:
    """One execution of a lane."""

    lane: plane.Lane
    intent: plane.Intent
    clock: testing.ManualClock
    channel: plane.Channel | None = None
    exchange: plane.Exchange = field(init=False)
    failure: plane.Failure | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.exchange = plane.Exchange(self.clock, channel=self.channel or Ear(self.clock))

    @property
    def ear(self) -> Ear:
        assert isinstance(self.exchange.channel, Ear)
        return self.exchange.channel

    @property
    def facts(self) -> dict[str, plane.Fact]:
        return self.exchange.facts

    async def run(self) -> "Call":
        """To its end, within reason."""
        with anyio.fail_after(PATIENCE):
            try:
                await self.lane.execute(self.intent, self.exchange)
            except plane.LaneFailure as error:
                self.failure = error.failure
        self.ended.set()
        return self

    def failed(self, failure_class: plane.FailureClass, code: str | None = None) -> None:
        """It ended so, and is sure of no more than it may be."""
        assert self.failure is not None
        assert self.failure.failure_class is failure_class, self.failure
        assert self.failure.code == (code or failure_class.value)
        assert self.failure.effect != "none" or not self.exchange.bytes_sent
        assert TOKEN not in f"{self.failure}{self.exchange}"

    def succeeded(self) -> None:
        assert self.failure is None
        assert self.exchange.answered
        assert TOKEN not in f"{self.exchange}"


def fields(clock: kernel.Clock, url: str, host: str) -> dict[str, Any]:
    """What every intent needs."""
    return {
        "intent_id": "snd_1",
        "tenant_id": "default",
        "run_id": "run_1",
        "attempt_id": "att_1",
        "trace_id": "trace-1",
        "url": url,
        "allowed_hosts": (host,),
        "deadline_at": clock.now() + timedelta(seconds=60),
    }


@asynccontextmanager
async def running(call: Call) -> AsyncGenerator[Call]:
    """Run it beside the block, which it must not outlast by much."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.run)
        yield call
        with anyio.fail_after(PATIENCE):
            await call.ended.wait()


# -- a server of events by hand

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# -- a WebSocket server by hand


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True, mask: bool = False) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


def close(code: int, reason: str = "") -> bytes:
    return frame(Opcode.CLOSE, Close(code, reason).serialize())


async def shake_hands(peer: Conversation, **changes: str | None) -> None:
    """The server's part in the opening handshake, with other headers where that is asked for."""
    head = (await peer.request()).decode()
    key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    headers: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(key),
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    await peer.send("\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode())
