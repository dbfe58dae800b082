"""The lanes that stream, and certificates: verified against the host's name, before a byte of the request is sent."""

from dataclasses import replace
from pathlib import Path

import pytest
from websockets.frames import Opcode

from fix_peer import Conversation, listen
from fix_streams import END, HEAD, LOOPBACK, REF, Call, Vault, chunk, close, fields, frame, shake_hands
from fix_tls import believed, certificate, server_side
from interlock import plane, testing
from interlock.adapters.lanes.sse import SseLane
from interlock.adapters.lanes.websocket import WebSocketLane

pytestmark = pytest.mark.anyio


async def events(peer: Conversation) -> None:
    await peer.request()
    await peer.send(HEAD + chunk(b"data: x\n\n") + END)


async def messages(peer: Conversation) -> None:
    await shake_hands(peer)
    await peer.send(frame(Opcode.TEXT, b"x") + close(1000))
    await peer.receive()


@pytest.mark.parametrize("kind", ["sse", "websocket"])
@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", True), ("127.0.0.1", False), ("10.0.0.1", True)])
async def test_certificates(tmp_path: Path, kind: str, name: str, *, trusted: bool):
    path = certificate(tmp_path, name)
    egress = replace(LOOPBACK, authorities=believed(path)) if trusted else LOOPBACK
    clock = testing.ManualClock()
    async with listen(events if kind == "sse" else messages, tls=server_side(path)) as peer:
        if kind == "sse":
            lane = SseLane(credentials=Vault(), egress=egress)
            values = fields(clock, f"https://{peer.host}/", peer.host)
            call = await Call(lane, plane.SseIntent(**values, credentials=(REF,)), clock).run()
        else:
            lane = WebSocketLane(credentials=Vault(), egress=egress)
            values = fields(clock, f"wss://{peer.host}/", peer.host)
            call = await Call(lane, plane.WebSocketIntent(**values, credentials=(REF,)), clock).run()
        await lane.aclose()
    if trusted and name == "127.0.0.1":
        call.succeeded()
        assert call.ear.data == [b"x"]
    else:
        call.failed(plane.FailureClass.TLS_FAILED)
        assert call.exchange.bytes_sent == 0
        assert peer.bytes_received == 0
