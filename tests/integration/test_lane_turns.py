"""However small the pieces in which a peer says much at once: others have their turn in between."""

from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from websockets.frames import Opcode

from fix_peer import Conversation, listen
from fix_streams import END, HEAD, LOOPBACK, Call, Vault, chunk, close, fields, frame, shake_hands
from interlock import plane, testing
from interlock.adapters import lanes
from rpc_peers import rpc_intent, tcp

pytestmark = pytest.mark.anyio

MANY = 20_000
IN_A_ROW = 2_100


class Counting(plane.Channel):
    """Takes at once what it is told."""

    def __init__(self) -> None:
        super().__init__(plane.EventLog("exe_1", testing.ManualClock()), plane.Inbox())
        self.heard = self.longest = self._in_a_row = 0

    async def output(self, stream: str, data: bytes, facts: Mapping[str, plane.Fact] | None = None) -> None:
        self.heard += 1
        self._in_a_row += 1
        self.longest = max(self.longest, self._in_a_row)

    async def watch(self) -> None:
        while True:
            self._in_a_row = 0
            await anyio.lowlevel.checkpoint()


async def chunks(peer: Conversation) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x") * MANY + END)


async def events(peer: Conversation) -> None:
    await peer.request()
    await peer.send(HEAD + chunk(b"data:x\n\n" * MANY) + END)


async def frames(peer: Conversation) -> None:
    await shake_hands(peer)
    await peer.send(frame(Opcode.TEXT, b"x") * MANY + close(1000))
    await peer.receive()


async def messages(peer: Conversation) -> None:
    await peer.send(b'{"jsonrpc":"2.0","method":"m"}\n' * MANY)
    await peer.send_eof()


@pytest.mark.parametrize("kind", ["http", "sse", "websocket", "jsonrpc"])
async def test_many_small_pieces(kind: str):
    clock, channel = testing.ManualClock(), Counting()
    script = {"http": chunks, "sse": events, "websocket": frames, "jsonrpc": messages}[kind]
    async with listen(script) as peer:
        common: dict[str, Any] = {"credentials": Vault(), "egress": LOOPBACK}
        values = fields(clock, f"{'ws' if kind == 'websocket' else 'http'}://{peer.host}/", peer.host)
        lane: plane.Lane
        intent: plane.Intent
        match kind:
            case "http":
                lane = lanes.HttpLane(**common)
                intent = plane.HttpIntent(**values, method="GET", response_mode="stream")
            case "sse":
                lane, intent = lanes.SseLane(**common), plane.SseIntent(**values)
            case "websocket":
                lane, intent = lanes.WebSocketLane(**common), plane.WebSocketIntent(**values)
            case _:
                lane, intent = lanes.JsonRpcLane(egress=LOOPBACK), rpc_intent(tcp(peer))
        call = Call(lane, intent, clock, channel=channel)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.watch)
            await call.run()
            tasks.cancel_scope.cancel()
        await lane.aclose()
    call.succeeded()
    assert channel.heard >= MANY
    assert channel.longest <= IN_A_ROW
