"""The way out of a sandbox, asked as a command asks it: the hosts that are listed, and no other. (That a sandbox has no
other way is shown by its probe, and in tests/rig.)"""

import asyncio
import contextlib
import os
import resource
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from fix_peer import Conversation, Peer, listen
from fix_streams import LOOPBACK
from interlock import plane, testing
from interlock.adapters.lanes import Egress
from interlock.adapters.lanes.process.gate import dialler_for, gated
from interlock.kernel import SystemClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Door:
    """The gate, from inside: where to ask, and what was written down."""

    port: int
    exchange: plane.Exchange
    callers: list[anyio.abc.SocketStream] = field(default_factory=list[anyio.abc.SocketStream])

    async def ask(self, words: bytes) -> anyio.abc.SocketStream:
        caller = await anyio.connect_tcp("127.0.0.1", self.port)
        self.callers.append(caller)
        await caller.send(words)
        return caller

    @property
    def notes(self) -> list[tuple[str, dict[str, plane.Fact]]]:
        return [(kind, dict(facts)) for kind, _at, facts in self.exchange.notes]


async def open_gate(
    work: Callable[[Door], Awaitable[None]],
    *hosts: str,
    egress: Egress = LOOPBACK,
    may_leave: Callable[[], bool] = lambda: True,
) -> plane.Exchange:
    exchange = plane.Exchange(SystemClock(), may_leave=may_leave)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            door = Door(listener.getsockname()[1], exchange)
            socket.send_fds(theirs, [b"l"], [listener.fileno()])

        async def go() -> None:
            try:
                await work(door)
            finally:
                for caller in door.callers:
                    await caller.aclose()

        await gated(go, ours.fileno(), hosts, exchange, dialler_for(egress, {}))
    return exchange


async def read_all(caller: anyio.abc.SocketStream) -> bytes:
    said = b""
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            said += await caller.receive()
    return said


async def shout(peer: Conversation) -> None:
    """Say it back, louder, and hang up."""
    await peer.send((await peer.receive_until(b".")).upper())


@asynccontextmanager
async def shouter() -> AsyncGenerator[Peer]:
    async with listen(shout) as peer:
        yield peer


def connect(host_port: str) -> bytes:
    return f"CONNECT {host_port} HTTP/1.1\r\nHost: {host_port}\r\n\r\n".encode()


def socks(host: str, port: int) -> bytes:
    try:
        address = b"\x01" + socket.inet_aton(host)
    except OSError:
        address = b"\x03" + bytes([len(host)]) + host.encode()
    return b"\x05\x01\x00" + b"\x05\x01\x00" + address + struct.pack("!H", port)


async def test_connect_leads_to_a_listed_host_and_is_written_down():
    async with shouter() as peer:

        async def work(door: Door) -> None:
            caller = await door.ask(connect(peer.host) + b"words.")  # what is sent too early goes there, too
            assert await read_all(caller) == b"HTTP/1.1 200 Connected\r\n\r\nWORDS."

        exchange = await open_gate(work, peer.host)
    ((kind, _at, facts),) = exchange.notes
    assert (kind, facts) == (
        "host_reached",
        {"host": peer.host, "peer": "127.0.0.1", "sent": 6, "received": 6},
    )
    assert exchange.facts == {"hosts_reached": 1}
    assert exchange.bytes_sent == 0, "those are not the lane's own"


async def test_socks_by_address_and_by_name():
    async with shouter() as peer:

        async def work(door: Door) -> None:
            for host in ("127.0.0.1", "LOCALHOST."):
                caller = await door.ask(socks(host, peer.port))
                said = b""
                while len(said) < 12:
                    said += await caller.receive()
                assert said == b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6)
                await caller.send(b"words.")
                assert await read_all(caller) == b"WORDS."

        exchange = await open_gate(work, peer.host, f"localhost:{peer.port}")
    assert [facts["host"] for _kind, _at, facts in exchange.notes] == [peer.host, f"localhost:{peer.port}"]


async def test_a_plain_request_is_passed_on_and_is_the_only_one():
    async def answer(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"ok")
        await peer.request()

    async with listen(answer) as peer:

        async def work(door: Door) -> None:
            head = f"POST {peer.url}/p?q=1 HTTP/1.1\r\nHost: elsewhere\r\nProxy-Connection: keep-alive\r\n"
            caller = await door.ask(f"{head}X-Y: z\r\nContent-Length: 2\r\n\r\nhi".encode())
            with anyio.fail_after(60):
                assert (await caller.receive()).startswith(b"HTTP/1.1 200 OK")

        await open_gate(work, peer.host)
    (request,) = peer.requests
    lines = request.split(b"\r\n")
    assert lines[0] == b"POST /p?q=1 HTTP/1.1"
    assert f"Host: {peer.host}".encode() in lines
    assert b"Connection: close" in lines
    assert b"x-y: z" in lines
    assert not [line for line in lines if b"elsewhere" in line or b"roxy" in line]
    assert request.endswith(b"\r\n\r\nhi")


@pytest.mark.parametrize("kind", ["connect", "socks", "plain"])
@pytest.mark.parametrize("host", ["s3cr3t.acme.dev", "127.0.0.1", "0x7f.1", "127.0.0.1:80@acme.dev"])
async def test_what_is_not_listed_is_refused_and_not_named(kind: str, host: str):
    async with shouter() as peer, shouter() as other:
        words = {
            "connect": connect(f"{host}:{other.port}"),
            "socks": socks(host, other.port),
            "plain": f"GET http://{host}:{other.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        }[kind]

        async def work(door: Door) -> None:
            said = await read_all(await door.ask(words))
            assert said[2:4] == b"\x05\x02" if kind == "socks" else said.startswith(b"HTTP/1.1 403 "), said

        exchange = await open_gate(work, peer.host, f"localhost:{peer.port}")
    assert (peer.connections, other.connections) == (0, 0)
    assert (exchange.notes, exchange.facts) == ([], {"hosts_refused": 1})


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET https://acme.dev/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"X" * 20_000,
    ],
)
async def test_what_is_no_request_to_a_proxy(words: bytes):
    async def work(door: Door) -> None:
        assert (await read_all(await door.ask(words))).startswith(b"HTTP/1.1 400 ")

    assert (await open_gate(work, "acme.dev:443")).notes == []


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (b"\x05\x01\x02", b"\x05\xff"),
        (b"\x05\x01\x00\x05\x02\x00\x01" + bytes(6), b"\x05\x00\x05\x07"),
        (b"\x05\x01\x00\x05\x01\x00\x09" + bytes(6), b"\x05\x00\x05\x08"),
    ],
)
async def test_socks_without_what_it_needs(words: bytes, answer: bytes):
    async def work(door: Door) -> None:
        assert (await read_all(await door.ask(words))).startswith(answer)

    await open_gate(work, "acme.dev:443")


async def test_the_operators_policy_is_the_last_word():
    async with shouter() as peer:

        async def work(door: Door) -> None:
            assert b" 502 " in await read_all(await door.ask(connect(peer.host)))

        exchange = await open_gate(work, peer.host, egress=Egress(addresses=plane.AddressPolicy()))
    assert peer.connections == 0
    assert [(kind, facts["code"]) for kind, _at, facts in exchange.notes] == [("host_failed", "address_refused")]


async def test_nothing_leaves_once_the_hold_is_lost():
    held = True

    async with shouter() as peer:

        async def work(door: Door) -> None:
            nonlocal held
            caller = await door.ask(connect(peer.host))
            assert await caller.receive()
            held = False
            await caller.send(b"words.")
            assert await read_all(caller) == b""

        exchange = await open_gate(work, peer.host, may_leave=lambda: held)
    assert [facts["sent"] for _kind, _at, facts in exchange.notes] == [0]


async def test_what_is_open_at_the_end_is_closed_and_written_down():
    async def keep(peer: Conversation) -> None:
        await peer.receive_until(b"never")

    async with listen(keep) as peer:

        async def work(door: Door) -> None:
            caller = await door.ask(connect(peer.host) + b"abc")
            assert await caller.receive()
            while not peer.bytes_received:
                await anyio.lowlevel.checkpoint()
            raise plane.LaneFailure(plane.FailureClass.CANCELLED, "enough")

        seen: list[plane.Exchange] = []

        async def noted(door: Door) -> None:
            seen.append(door.exchange)
            await work(door)

        with pytest.raises(plane.LaneFailure):
            await open_gate(noted, peer.host)
        await peer.ended.wait()
    assert [facts["sent"] for _kind, _at, facts in seen[0].notes] == [3]


async def test_a_sandbox_that_never_opens_leaves_the_gate_shut():
    ours, theirs = socket.socketpair()
    exchange = plane.Exchange(SystemClock())
    with ours:
        ours.setblocking(False)
        theirs.close()

        async def work() -> int:
            return os.getpid()

        assert await gated(work, ours.fileno(), ["acme.dev:443"], exchange, dialler_for(LOOPBACK, {})) == os.getpid()


class Patient(testing.ManualClock):
    """Says when somebody begins to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        self.waits.set()
        await super().sleep(seconds)


async def test_a_caller_for_whom_there_is_no_descriptor_waits_until_there_is_one():
    clock, loop, limit = Patient(), asyncio.get_running_loop(), resource.RLIMIT_NOFILE
    before = resource.getrlimit(limit)
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket() as one,
        socket.socket() as two,
    ):
        for each in (ours, one, two):
            each.setblocking(False)
        socket.send_fds(theirs, [b"l"], [listener.fileno()])

        async def ask(caller: socket.socket) -> bytes:
            await loop.sock_sendall(caller, b"nonsense\r\n\r\n")
            return await loop.sock_recv(caller, 12)

        async def work() -> list[bytes]:
            await loop.sock_connect(one, listener.getsockname())
            said = [await ask(one)]
            resource.setrlimit(limit, (1, before[1]))
            await loop.sock_connect(two, listener.getsockname())
            await clock.waits.wait()
            resource.setrlimit(limit, before)
            return [*said, await ask(two)]

        try:
            with anyio.fail_after(60):
                said = await gated(
                    work, ours.fileno(), ["acme.dev:443"], plane.Exchange(clock), dialler_for(LOOPBACK, {})
                )
        finally:
            resource.setrlimit(limit, before)
    assert said == [b"HTTP/1.1 400"] * 2
