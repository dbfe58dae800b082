"""How much a node carries in memory that stays flat: `SOAK_BYTES` (1 GB) each way through each lane that streams, 1,000
exchanges and 200 commands at once. The node is a process of its own, whose resident set is watched; the peers are here."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.frames import Opcode

from fix_peer import Conversation, Script, listen
from fix_streams import END, HEAD, chunk, close, frame, shake_hands
from http2_peer import nghttp2

pytestmark = [pytest.mark.soak, pytest.mark.anyio, pytest.mark.timeout(3600)]

BYTES = int(os.environ.get("SOAK_BYTES", str(10**9)))
PIECE = b"x" * 65_536
MESSAGE = b'{"jsonrpc":"2.0","method":"more","params":["' + b"x" * 1_000_000 + b'"]}\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MOST = 32_000_000
"""Bytes that the resident set may grow by: windows both ways, and what Python keeps for the next piece."""
MOST_WITH_MESSAGES = 64_000_000
"""The same where a message is a megabyte, and there are some copies of it on its way."""


async def subject(kind: str, host: str, amount: int) -> dict[str, Any]:
    """What the node's process says in the end."""
    program = str(Path(__file__).with_name("subject.py"))
    answer = await anyio.run_process(
        [sys.executable, program, kind, host, str(amount)], stderr=subprocess.STDOUT, check=False
    )
    assert answer.returncode == 0, answer.stdout.decode()
    return json.loads(answer.stdout.splitlines()[-1])


async def told(kind: str, script: Script, amount: int = BYTES) -> dict[str, Any]:
    async with listen(script) as peer:
        return await subject(kind, peer.host, amount)


async def both(hear: Callable[[], Coroutine[Any, Any, None]], speak: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear)
        await speak()


async def test_http_both_ways_at_once() -> None:
    async def script(peer: Conversation) -> None:
        await peer.receive_until(b"\r\n\r\n")
        await peer.send(CHUNKED)
        tail = b""
        while not tail.endswith(END):
            data = await peer.receive()
            tail = (tail + data)[-len(END) :]
            await peer.send(chunk(data))
        await peer.send(END)

    found = await told("http", script)
    assert (found["failure"], found["carried"] >= 2 * BYTES) == (None, True), found
    assert found["growth"] < MOST, found


async def test_http_2_both_ways_at_once() -> None:
    with nghttp2() as host:
        found = await subject("http2", host, BYTES)
    assert (found["failure"], found["carried"] >= 2 * BYTES) == (None, True), found
    assert found["growth"] < MOST, found


async def test_events() -> None:
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD)
        for _ in range(-(-BYTES // len(PIECE))):
            await peer.send(chunk(b"data: %b\n\n" % PIECE))
        await peer.send(END)

    found = await told("sse", script)
    assert (found["failure"], found["carried"] >= BYTES) == (None, True), found
    assert found["growth"] < MOST, found


@pytest.mark.parametrize("fragments", [1, 8])
async def test_websocket_both_ways_at_once(fragments: int) -> None:
    part = PIECE[: len(PIECE) // fragments]

    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        heard = 0

        async def hear() -> None:
            nonlocal heard
            while heard < BYTES:
                heard += len(await peer.receive())

        async def speak() -> None:
            for _ in range(-(-BYTES // len(PIECE))):
                for number in range(fragments):
                    opcode = Opcode.CONT if number else Opcode.BINARY
                    await peer.send(frame(opcode, part, fin=number == fragments - 1))

        await both(hear, speak)
        await peer.send(close(1000))
        with suppress(anyio.EndOfStream):
            while True:  # who leaves something unread cuts off what is still on its way to the other side
                await peer.receive()

    found = await told("websocket", script)
    assert (found["failure"], found["carried"] >= 2 * BYTES) == (None, True), found
    assert found["growth"] < MOST, found


async def test_json_rpc_both_ways_at_once() -> None:
    async def script(peer: Conversation) -> None:
        async def hear() -> None:
            with suppress(anyio.EndOfStream):
                while True:
                    await peer.receive()

        async def speak() -> None:
            for _ in range(-(-BYTES // len(MESSAGE))):
                await peer.send(MESSAGE)

        await both(hear, speak)

    found = await told("jsonrpc", script)
    assert (found["failure"], found["carried"] >= 2 * BYTES) == (None, True), found
    assert found["growth"] < MOST_WITH_MESSAGES, found


async def test_a_command_both_ways_at_once() -> None:
    found = await subject("process", "127.0.0.1:1", BYTES)
    assert (found["failure"], found["carried"] >= 2 * BYTES) == (None, True), found
    assert found["growth"] < MOST, found


async def test_a_thousand_exchanges_at_once() -> None:
    count, there, all_there = 1_000, 0, anyio.Event()

    async def script(peer: Conversation) -> None:
        nonlocal there
        await peer.request()
        there += 1
        if there == count:
            all_there.set()
        await all_there.wait()  # nobody is answered before all have asked
        await peer.answer(b"{}")

    found = await told("many-http", script, count)
    assert found["done"] == count == there
    assert found["growth"] < count * 100_000, found


async def test_two_hundred_commands_at_once() -> None:
    count = 200
    found = await subject("many-processes", "127.0.0.1:1", count)
    assert found["done"] == count
    assert found["growth"] < count * 200_000, found
