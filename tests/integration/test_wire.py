"""What a connection knows of itself, in the clear and under TLS: what has left, and what has begun to arrive."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.tls import TLSStream

from fix_peer import Conversation, Script, listen
from fix_streams import LOOPBACK, PATIENCE
from fix_tls import believed, certificate, server_side
from interlock import plane, testing
from interlock.adapters.lanes.wire import Dialler, Wire

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("tls", [False, True])


@asynccontextmanager
async def wire_to(
    script: Script, folder: Path, *, tls: bool, receive_buffer: int | None = None
) -> AsyncGenerator[tuple[Wire, plane.Exchange]]:
    pem = certificate(folder, "127.0.0.1")
    dialler = Dialler(replace(LOOPBACK, authorities=believed(pem)))
    async with listen(script, tls=server_side(pem) if tls else None, receive_buffer=receive_buffer) as peer:
        wire = await dialler.dial(plane.parse_url(f"{peer.url}/"), PATIENCE)
        try:
            yield wire, plane.Exchange(testing.ManualClock())
        finally:
            wire.close()


async def echo(peer: Conversation) -> None:
    while True:
        await peer.send(await peer.receive())


async def silent(_peer: Conversation) -> None:
    await anyio.sleep_forever()


async def leaves(_peer: Conversation) -> None:
    """Hangs up at once, properly."""


async def stirred(wire: Wire) -> None:
    """Wait until the peer has done something."""
    with anyio.fail_after(PATIENCE):
        while wire.is_idle():
            await anyio.lowlevel.checkpoint()


@BOTH
async def test_both_directions(tmp_path: Path, *, tls: bool):
    async with wire_to(echo, tmp_path, tls=tls) as (wire, exchange):
        await wire.write(b"x" * 300_000, PATIENCE, exchange)
        size = 0
        while size < 300_000:
            size += len(await wire.read(PATIENCE))
        assert wire.is_idle()
    assert (exchange.bytes_sent, exchange.peer) == (300_000, "127.0.0.1")


@BOTH
async def test_a_peer_that_does_not_read_is_noticed_by_the_writer(tmp_path: Path, *, tls: bool):
    async with wire_to(silent, tmp_path, tls=tls, receive_buffer=4096) as (wire, exchange):
        with pytest.raises(TimeoutError):
            await wire.write(b"x" * 16_000_000, 0.05, exchange)
        assert not wire.is_idle()
    assert 0 < exchange.bytes_sent < 16_000_000


@BOTH
async def test_what_is_written_after_the_end_has_not_left(tmp_path: Path, *, tls: bool):
    async with wire_to(leaves, tmp_path, tls=tls) as (wire, exchange):
        assert await wire.read(PATIENCE) == b""
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ConnectionError):
            await wire.write(b"x", PATIENCE, exchange)
    assert exchange.bytes_sent == 0


@BOTH
async def test_what_the_system_refuses_has_not_left(tmp_path: Path, *, tls: bool):
    """The connection has broken, and the event loop has not heard of it yet."""
    reset = anyio.Event()

    async def script(peer: Conversation) -> None:
        await peer.send(b"hello")
        await reset.wait()
        await peer.reset()

    async with wire_to(script, tmp_path, tls=tls) as (wire, exchange):
        await wire.write(b"first", PATIENCE, exchange)
        assert await wire.read(PATIENCE) == b"hello"
        wire._transport.pause_reading()
        reset.set()
        await stirred(wire)
        with pytest.raises(ConnectionError):
            await wire.write(b"second", PATIENCE, exchange)
    assert exchange.bytes_sent == len(b"first")


async def test_a_line_with_half_a_record_is_not_idle(tmp_path: Path):
    async def script(peer: Conversation) -> None:
        stream = peer._stream
        assert isinstance(stream, TLSStream)
        await peer.send(b"whole")
        await peer.receive()
        await stream.transport_stream.send(b"\x17\x03\x03\x00\x20" + b"x" * 7)
        await anyio.sleep_forever()

    async with wire_to(script, tmp_path, tls=True) as (wire, exchange):
        assert await wire.read(PATIENCE) == b"whole"
        assert wire.is_idle()
        await wire.write(b"go on", PATIENCE, exchange)
        await stirred(wire)
        await anyio.wait_all_tasks_blocked()  # now it has been read
        assert not wire.is_idle()


@BOTH
async def test_small_pieces_do_not_wait_for_acknowledgements(tmp_path: Path, *, tls: bool):
    async with wire_to(echo, tmp_path, tls=tls) as (wire, _exchange):
        raw: socket.socket = wire._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
