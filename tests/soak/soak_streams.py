"""200 MB through each lane that streams, in memory that stays flat."""

import tracemalloc
from collections.abc import Generator
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from websockets.frames import Opcode

from fix_peer import Conversation, Script, listen
from fix_streams import END, HEAD, LOOPBACK, Call, Vault, chunk, close, fields, frame, shake_hands
from interlock import plane, testing
from interlock.adapters.lanes.http import HttpLane
from interlock.adapters.lanes.sse import SseLane
from interlock.adapters.lanes.websocket import WebSocketLane

pytestmark = [pytest.mark.soak, pytest.mark.anyio, pytest.mark.timeout(1800)]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"x" * 50_000
PIECES = 4_000
MOST = 8_000_000
"""Bytes that may be held at any time, by both sides together: the log's window, and what is on its way."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def flat() -> Generator[None]:
    tracemalloc.start()
    yield
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST


async def count(call: Call, log: plane.EventLog) -> int:
    """Run it and follow it, and say how much it said."""
    size = 0
    async with anyio.create_task_group() as tasks, aclosing(log.follow()) as events:
        tasks.start_soon(call.run)
        async for event in events:
            size += event.size
            if size == len(PIECE) * PIECES:
                break
    call.succeeded()
    return size


@pytest.mark.usefixtures("flat")
async def test_events() -> None:
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD)
        for _ in range(PIECES):
            await peer.send(chunk(b"data: %b\n\n" % PIECE))
        await peer.send(END)

    clock = testing.ManualClock()
    log = plane.EventLog("exe_1", clock)
    lane = SseLane(credentials=Vault(), addresses=LOOPBACK)
    async with listen(script) as peer:
        intent = plane.SseIntent(**fields(clock, peer.url + "/", peer.host))
        assert await count(Call(lane, intent, clock, plane.Channel(log, plane.Inbox())), log) == len(PIECE) * PIECES


@pytest.mark.usefixtures("flat")
@pytest.mark.parametrize("fragments", [1, 10])
async def test_messages(fragments: int) -> None:
    part = PIECE[: len(PIECE) // fragments]

    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        for _ in range(PIECES):
            for number in range(fragments):
                opcode = Opcode.CONT if number else Opcode.BINARY
                await peer.send(frame(opcode, part, fin=number == fragments - 1))
        await peer.send(close(1000))
        await peer.receive()

    clock = testing.ManualClock()
    log = plane.EventLog("exe_1", clock)
    await follow_websocket(script, clock, log)


async def follow_websocket(script: Script, clock: testing.ManualClock, log: plane.EventLog) -> None:
    lane = WebSocketLane(credentials=Vault(), addresses=LOOPBACK)
    async with listen(script) as peer:
        intent = plane.WebSocketIntent(**fields(clock, f"ws://{peer.host}/", peer.host))
        assert await count(Call(lane, intent, clock, plane.Channel(log, plane.Inbox())), log) == len(PIECE) * PIECES


@pytest.mark.usefixtures("flat")
async def test_messages_out() -> None:
    received = 0

    async def script(peer: Conversation) -> None:
        nonlocal received
        await shake_hands(peer)
        while received < len(PIECE) * PIECES:
            received += len(await peer.receive())
        await peer.send(close(1000))
        await peer.receive()

    clock = testing.ManualClock()
    inbox = plane.Inbox()
    lane = WebSocketLane(credentials=Vault(), addresses=LOOPBACK)
    async with listen(script) as peer, anyio.create_task_group() as tasks:
        intent = plane.WebSocketIntent(**fields(clock, f"ws://{peer.host}/", peer.host))
        call = Call(lane, intent, clock, plane.Channel(plane.EventLog("exe_1", clock), inbox))
        tasks.start_soon(call.run)
        for _ in range(PIECES):
            await inbox.send(plane.Input(data=PIECE))
        await call.ended.wait()
        call.succeeded()


@pytest.mark.usefixtures("flat")
async def test_http_both_ways_at_once() -> None:
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        received = 0
        while received < len(PIECE) * PIECES:  # an echo, near enough
            data = await peer.receive()
            received += len(data)
            await peer.send(chunk(data))
        await peer.send(END)

    clock = testing.ManualClock()
    inbox, log = plane.Inbox(), plane.EventLog("exe_1", clock)
    lane = HttpLane(credentials=Vault(), addresses=LOOPBACK)
    async with listen(script) as peer:
        values: dict[str, Any] = {"method": "POST", "request_mode": "stream", "response_mode": "stream"}
        values |= {"max_response_bytes": 2**31, **fields(clock, peer.url + "/", peer.host)}
        call = Call(lane, plane.HttpIntent(**values), clock, plane.Channel(log, inbox))

        async with anyio.create_task_group() as tasks, aclosing(log.follow()) as events:

            async def speak() -> None:
                for _ in range(PIECES):
                    await inbox.send(plane.Input(data=PIECE))

            async def end() -> None:
                await call.run()
                tasks.cancel_scope.cancel()

            tasks.start_soon(end)
            tasks.start_soon(speak)
            async for _event in events:
                pass
        call.succeeded()
        assert isinstance(call.facts["streamed_bytes"], int)
        assert call.facts["streamed_bytes"] >= len(PIECE) * PIECES
    await lane.aclose()
