"""The WebSocket lane against real sockets: a good server, and peers that break every rule."""

import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from fix_peer import Conversation, Peer, closed_port, listen
from fix_plane import Bench, Intents
from fix_streams import LOOPBACK, REF, TOKEN, Call, Vault, close, fields, frame, running, shake_hands
from interlock import plane, testing
from interlock.adapters.lanes.websocket import WebSocketLane

pytestmark = pytest.mark.anyio

SHORT = plane.WebSocketTimeouts(close_ms=50, idle_ms=5_000)


class Sockets:
    """Makes calls of one lane."""

    def __init__(self) -> None:
        self.clock = testing.ManualClock()
        self.lane = WebSocketLane(credentials=Vault(), egress=LOOPBACK)

    def __call__(self, peer: Peer | str, channel: plane.Channel | None = None, **changes: Any) -> Call:
        url = peer if isinstance(peer, str) else f"ws://{peer.host}/chat?x=1"
        values = fields(self.clock, url, plane.parse_websocket_url(url).host_port) | changes
        return Call(self.lane, plane.WebSocketIntent(**values), self.clock, channel)


@pytest.fixture
async def socket() -> AsyncGenerator[Sockets]:
    sockets = Sockets()
    yield sockets
    await sockets.lane.aclose()


# -- a good server


@asynccontextmanager
async def server(handler: Callable[[ServerConnection], Awaitable[None]], **settings: Any) -> AsyncGenerator[str]:
    async with serve(handler, "127.0.0.1", 0, **settings) as listening:
        yield f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def say(call: Call, data: bytes, kind: plane.InputKind = plane.InputKind.DATA) -> None:
    assert call.exchange.channel is not None
    await call.exchange.channel.inbox.send(plane.Input(kind=kind, data=data))


def hang_up(call: Call) -> None:
    assert call.exchange.channel is not None
    call.exchange.channel.inbox.end()


async def test_both_ways(socket: Sockets):
    seen: list[ServerConnection] = []

    async def handler(connection: ServerConnection) -> None:
        seen.append(connection)
        await echo(connection)

    async with server(handler, subprotocols=["b", "c"]) as url:
        call = socket(url, subprotocols=("a", "b"), credentials=(REF,), headers=(("Origin", "https://me.test"),))
        async with running(call):
            await say(call, "grüße".encode(), plane.InputKind.TEXT)
            await say(call, b"\xff\x00")
            await say(call, b"")
            await say(call, b"", plane.InputKind.RESIZE)
            await call.ear.heard(3)
            hang_up(call)
    call.succeeded()
    assert call.ear.outputs == [
        ("message", "grüße".encode(), {"kind": "text"}),
        ("message", b"\xff\x00", {"kind": "data"}),
        ("message", b"", {"kind": "data"}),
    ]
    assert call.exchange.status == 101
    assert call.facts == {
        "subprotocol": "b",
        "messages_in": 3,
        "messages_out": 3,
        "bytes_in": call.facts["bytes_in"],
        "close_code": 1000,
        "close_reason": "",
    }
    request = seen[0].request
    assert request is not None
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Origin"] == "https://me.test"
    assert "Sec-WebSocket-Extensions" not in request.headers


async def test_the_peer_closes(socket: Sockets):
    async def handler(connection: ServerConnection) -> None:
        await connection.send("bye")
        await connection.close(4001, f"enough of {TOKEN}")

    async with server(handler) as url:
        call = await socket(url, credentials=(REF,)).run()
    call.succeeded()
    assert call.ear.data == [b"bye"]
    assert (call.facts["close_code"], call.facts["close_reason"]) == (4001, "enough of [redacted]")


async def test_large_messages_both_ways_at_once(socket: Sockets):
    """Neither side listens before it has spoken: whoever waits to write must still read."""
    size = 6_000_000

    async def handler(connection: ServerConnection) -> None:
        await connection.send(b"p" * size)
        assert len(await connection.recv()) == size

    async with server(handler, max_size=None) as url:
        call = socket(url, max_message_bytes=size)
        async with running(call):
            await say(call, b"w" * size)
            await call.ear.heard(1)
    call.succeeded()
    assert call.ear.data == [b"p" * size]


async def test_a_ping_before_a_large_message_is_answered_after_it(socket: Sockets):
    """The answer stands behind what the peer does not take before it has spoken: to wait for it would be for ever."""
    size = 24_000_000

    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        received = len(await peer.receive())
        await peer.send(frame(Opcode.PING) + frame(Opcode.BINARY, b"p" * size))
        while received < size:
            received += len(await peer.receive())
        await peer.send(close(1000))
        await peer.receive()

    async with listen(script, receive_buffer=65_536) as peer:
        call = socket(peer, max_message_bytes=size)
        await say(call, b"w" * size)
        await call.run()
    call.succeeded()
    assert call.ear.data == [b"p" * size]


async def test_an_echo_of_many_messages(socket: Sockets):
    async with server(echo) as url:
        call = socket(url)
        async with running(call), anyio.create_task_group() as tasks:

            async def speak() -> None:
                for number in range(500):
                    await say(call, b"%d" % number * 50)

            tasks.start_soon(speak)
            await call.ear.heard(500)
            hang_up(call)
    call.succeeded()
    assert call.ear.data == [b"%d" % number * 50 for number in range(500)]


async def test_a_slow_reader_holds_the_peer(socket: Sockets):
    sent = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(400):
            await connection.send(b"x" * 65_536)
            sent += 1

    log = plane.EventLog("exe_1", socket.clock)
    async with server(handler) as url:
        call = socket(url, plane.Channel(log, plane.Inbox()))
        async with running(call):
            events = log.follow()
            assert (await anext(events)).data == b"x" * 65_536
            before = -1
            while before != sent:  # as long as the peer gets rid of more
                before = sent
                with anyio.move_on_after(0.1):
                    await call.ended.wait()
            assert sent < 350
            await events.aclose()
    call.succeeded()
    assert call.facts["messages_in"] == 400


@pytest.mark.faults
async def test_a_thousand_at_once(socket: Sockets):
    everyone, arrived = anyio.Event(), 0

    async def script(peer: Conversation) -> None:
        nonlocal arrived
        await shake_hands(peer)
        arrived += 1
        if arrived == 1000:
            everyone.set()
        await everyone.wait()
        await peer.send(frame(Opcode.TEXT, b"x") + close(1000))
        await peer.receive()

    async with listen(script) as peer:
        calls = [socket(peer) for _ in range(1000)]
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(call.run)
    for call in calls:
        call.succeeded()
        assert call.ear.data == [b"x"]


# -- peers that speak by hand


def saying(*pieces: bytes) -> Callable[[Conversation], Awaitable[None]]:
    """A peer that says this after the handshake, and then waits for what we say until we are gone."""

    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        for piece in pieces:
            await peer.send(piece)
        while True:
            await peer.receive()

    return script


@pytest.mark.parametrize(
    ("changes", "asked", "failure_class", "code"),
    [
        ({"Sec_WebSocket_Accept": "bm9wZQ=="}, (), plane.FailureClass.PROTOCOL_ERROR, "handshake_failed"),
        ({"Sec_WebSocket_Accept": None}, (), plane.FailureClass.PROTOCOL_ERROR, "handshake_failed"),
        ({"Upgrade": "h2c"}, (), plane.FailureClass.PROTOCOL_ERROR, "handshake_failed"),
        ({"Connection": "close"}, (), plane.FailureClass.PROTOCOL_ERROR, "handshake_failed"),
        (
            {"Sec_WebSocket_Extensions": "permessage-deflate"},
            (),
            plane.FailureClass.PROTOCOL_ERROR,
            "handshake_failed",
        ),
        ({"Sec_WebSocket_Protocol": "x"}, (), plane.FailureClass.SUBPROTOCOL_REFUSED, None),
        ({"Sec_WebSocket_Protocol": "x"}, ("a",), plane.FailureClass.SUBPROTOCOL_REFUSED, None),
        ({}, ("a",), plane.FailureClass.SUBPROTOCOL_REFUSED, None),
    ],
)
async def test_a_handshake_that_is_none(
    socket: Sockets,
    changes: dict[str, str | None],
    asked: tuple[str, ...],
    failure_class: plane.FailureClass,
    code: str | None,
):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer, **changes)

    async with listen(script) as peer:
        call = await socket(peer, subprotocols=asked).run()
    call.failed(failure_class, code)
    assert call.ear.outputs == []


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "500 Internal Server Error"])
async def test_another_status_is_refused(socket: Sockets, status: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"why", status)

    async with listen(script) as peer:
        call = await socket(peer).run()
    call.failed(plane.FailureClass.STATUS_REFUSED, f"status_{status[:3]}")
    assert (call.exchange.body, call.exchange.answered) == (b"why", True)


async def test_no_http_at_all(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

    async with listen(script) as peer:
        call = await socket(peer).run()
    call.failed(plane.FailureClass.PROTOCOL_ERROR)


async def test_nobody_there(socket: Sockets):
    call = await socket(f"ws://127.0.0.1:{closed_port()}/").run()
    call.failed(plane.FailureClass.CONNECT_FAILED)
    assert call.exchange.bytes_sent == 0


async def test_fragments_and_what_stands_between(socket: Sockets):
    text = "a€😀".encode()
    pieces = [
        frame(Opcode.TEXT, text[:2], fin=False),
        frame(Opcode.PING, b"there?"),
        frame(Opcode.CONT, fin=False),
        frame(Opcode.CONT, text[2:6], fin=False),
        frame(Opcode.PONG, b"unasked"),
        frame(Opcode.CONT, text[6:]),
        frame(Opcode.BINARY, b"\x00"),
        close(1000, "done"),
    ]
    received = bytearray()

    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        for byte in b"".join(pieces):
            await peer.send(bytes([byte]))
        while True:
            received.extend(await peer.receive())

    async with listen(script) as peer:
        call = await socket(peer, max_message_bytes=8).run()
        await peer.ended.wait()
    call.succeeded()
    assert call.ear.outputs == [("message", text, {"kind": "text"}), ("message", b"\x00", {"kind": "data"})]
    assert (call.facts["close_code"], call.facts["close_reason"]) == (1000, "done")
    assert unmasked(bytes(received)) == [(Opcode.PONG, b"there?"), (Opcode.CLOSE, b"\x03\xe8done")]


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """Short frames from a client."""
    found: list[tuple[int, bytes]] = []
    while data:
        length, mask = data[1] & 0x7F, data[2:6]
        assert data[1] & 0x80
        found.append((data[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data[6 : 6 + length]))))
        data = data[6 + length :]
    return found


@pytest.mark.parametrize(
    ("piece", "code", "close_code"),
    [
        pytest.param(frame(Opcode.TEXT, b"x", mask=True), "framing_failed", 1002, id="masked"),
        pytest.param(b"\x83\x00", "framing_failed", 1002, id="opcode"),
        pytest.param(b"\xc1\x00", "framing_failed", 1002, id="reserved bit"),
        pytest.param(frame(Opcode.CONT, b"x"), "framing_failed", 1002, id="nothing to continue"),
        pytest.param(frame(Opcode.TEXT, fin=False) + frame(Opcode.TEXT), "framing_failed", 1002, id="not continued"),
        pytest.param(b"\x09\x00", "framing_failed", 1002, id="a fragmented ping"),
        pytest.param(b"\x89\x7e\x00\x7e" + b"x" * 126, "framing_failed", 1002, id="a long ping"),
        pytest.param(b"\x88\x01\x03", "framing_failed", 1002, id="half a close code"),
        pytest.param(b"\x88\x02\x03\xed", "framing_failed", 1002, id="a close code that is not for the wire"),
        pytest.param(b"\x88\x03\x03\xe8\xff", "framing_failed", 1007, id="a reason that is no text"),
        pytest.param(frame(Opcode.TEXT, b"\xf0\x9f"), "text_not_utf8", 1007, id="a text that is none"),
        pytest.param(frame(Opcode.TEXT, b"x" * 9), "message_too_large", 1009, id="too large"),
        pytest.param(b"\x82\x7f" + struct.pack("!Q", 2**40), "message_too_large", 1009, id="an announced terabyte"),
        pytest.param(b"\x82\x7f" + struct.pack("!Q", 2**63), "message_too_large", 1009, id="an impossible length"),
        pytest.param(
            frame(Opcode.TEXT, b"x" * 8, fin=False) + frame(Opcode.CONT, b"x"),
            "message_too_large",
            1009,
            id="in pieces",
        ),
    ],
)
async def test_a_peer_that_breaks_the_rules(socket: Sockets, piece: bytes, code: str, close_code: int):
    received = bytearray()

    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        await peer.send(frame(Opcode.TEXT, b"before") + piece)
        while True:
            received.extend(await peer.receive())

    async with listen(script) as peer:
        call = await socket(peer, max_message_bytes=8, ping_ms=None).run()
        await peer.ended.wait()
    too_large = code == "message_too_large"
    call.failed(plane.FailureClass.RESPONSE_TOO_LARGE if too_large else plane.FailureClass.FRAMING_FAILED, code)
    assert call.ear.data == [b"before"]
    [(opcode, data)] = unmasked(bytes(received))
    assert (opcode, int.from_bytes(data[:2])) == (Opcode.CLOSE, close_code)
    assert not call.exchange.answered


async def test_a_stream_that_is_too_large(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        while True:
            await peer.send(frame(Opcode.BINARY, b"x" * 1000))

    async with listen(script) as peer:
        call = await socket(peer, max_bytes=50_000).run()
    call.failed(plane.FailureClass.RESPONSE_TOO_LARGE, "stream_too_large")


@pytest.mark.parametrize("ping_ms", [None, 10])
async def test_silence_ends_it(socket: Sockets, ping_ms: int | None):
    received = bytearray()

    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        while True:
            received.extend(await peer.receive())

    async with listen(script) as peer:
        call = await socket(peer, timeouts=plane.WebSocketTimeouts(idle_ms=80), ping_ms=ping_ms).run()
        await peer.ended.wait()
    call.failed(plane.FailureClass.IDLE_TIMEOUT)
    *pings, last = unmasked(bytes(received))
    assert last == (Opcode.CLOSE, b"\x03\xe9")
    assert set(pings) <= (set() if ping_ms is None else {(Opcode.PING, b"")})


async def test_a_silent_peer_is_pinged(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        data = await peer.receive()
        assert unmasked(data)[0] == (Opcode.PING, b"")
        await peer.send(close(1000))
        await peer.receive()

    async with listen(script) as peer:
        call = await socket(peer, ping_ms=10).run()
    call.succeeded()


async def test_a_peer_that_answers_pings_is_not_idle(socket: Sockets):
    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with server(handler) as url:
        call = socket(url, timeouts=plane.WebSocketTimeouts(idle_ms=1_500), ping_ms=300)
        with anyio.move_on_after(2):
            await call.run()
    assert call.failure is None
    assert call.facts["messages_in"] == 0
    assert isinstance(call.facts["bytes_in"], int)
    assert call.facts["bytes_in"] >= 4


async def test_a_peer_that_never_closes_costs_little(socket: Sockets):
    async with listen(saying(frame(Opcode.TEXT, b"x"))) as peer:
        call = socket(peer, timeouts=SHORT)
        async with running(call):
            await call.ear.heard(1)
            started = anyio.current_time()
            hang_up(call)
    assert anyio.current_time() - started < 10
    call.failed(plane.FailureClass.CLOSE_TIMEOUT)
    assert call.facts["close_code"] == 1006


async def test_a_peer_that_keeps_the_connection_after_its_error(socket: Sockets):
    async with listen(saying(frame(Opcode.TEXT, b"x", mask=True))) as peer:
        started = anyio.current_time()
        call = await socket(peer).run()
        await peer.ended.wait()
    assert anyio.current_time() - started < 10
    call.failed(plane.FailureClass.FRAMING_FAILED)


async def test_a_peer_that_keeps_the_connection_after_the_handshake(socket: Sockets):
    async with listen(saying(close(1000))) as peer:
        started = anyio.current_time()
        call = await socket(peer).run()
        await peer.ended.wait()
    assert anyio.current_time() - started < 10
    call.succeeded()


async def test_what_is_said_after_we_close_still_arrives(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        await peer.receive()
        await peer.send(frame(Opcode.TEXT, b"last words") + close(1000))
        await peer.receive()

    async with listen(script) as peer:
        call = socket(peer)
        hang_up(call)
        await call.run()
    call.succeeded()
    assert call.ear.data == [b"last words"]


async def test_a_slow_reader_is_not_taken_for_a_peer_that_does_not_close(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        await peer.receive()
        await peer.send(frame(Opcode.BINARY, b"x" * 500_000) * 8 + close(1000))

    log = plane.EventLog("exe_1", socket.clock)
    async with listen(script) as peer:
        call = socket(peer, plane.Channel(log, plane.Inbox()), timeouts=plane.WebSocketTimeouts(close_ms=1_000))
        hang_up(call)
        async with running(call):
            events = log.follow()
            await anext(events)
            with anyio.move_on_after(1.5):
                await call.ended.wait()
            assert not call.ended.is_set()
            await events.aclose()
    call.succeeded()
    assert call.facts["messages_in"] == 8


@pytest.mark.parametrize("way", ["end", "reset", "half a frame"])
async def test_a_peer_that_is_lost(socket: Sockets, way: str):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        await peer.send(frame(Opcode.TEXT, b"x"))
        if way == "half a frame":
            await peer.send(b"\x82\x7e\xff")
        if way == "reset":
            await peer.receive()
            await peer.reset()

    async with listen(script) as peer:
        call = socket(peer)
        async with running(call):
            await call.ear.heard(1)
            if way == "reset":
                await say(call, b"anything")
    call.failed(plane.FailureClass.PEER_LOST)
    assert (call.ear.data, call.facts["close_code"]) == ([b"x"], 1006)


async def test_a_peer_that_only_stops_sending(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        await peer.send_eof()
        while True:
            await peer.receive()

    async with listen(script) as peer:
        call = await socket(peer).run()
        await peer.ended.wait()
    call.failed(plane.FailureClass.PEER_LOST)


async def test_a_peer_that_does_not_read(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        await held.wait()

    held = anyio.Event()
    async with listen(script, receive_buffer=4096) as peer:
        call = socket(peer, timeouts=plane.WebSocketTimeouts(write_ms=100))
        async with running(call):
            await say(call, b"x" * 20_000_000)
        held.set()
    call.failed(plane.FailureClass.WRITE_TIMEOUT)


async def test_a_flood_of_pings_that_nobody_hears_the_answers_to(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        while True:
            await peer.send(frame(Opcode.PING, b"x" * 125) * 500)

    async with listen(script, receive_buffer=4096) as peer:
        call = await socket(peer, timeouts=plane.WebSocketTimeouts(write_ms=200)).run()
    call.failed(plane.FailureClass.WRITE_TIMEOUT)
    assert isinstance(call.facts["bytes_in"], int)
    assert call.facts["bytes_in"] < 100_000_000


async def test_a_text_that_is_none_is_not_sent(socket: Sockets):
    async with listen(saying()) as peer:
        call = socket(peer)
        async with running(call):
            await say(call, b"\xff", plane.InputKind.TEXT)
        await peer.ended.wait()
    call.failed(plane.FailureClass.FRAMING_FAILED, "input_no_text")


async def test_cancelled(socket: Sockets):
    async with listen(saying(frame(Opcode.TEXT, b"x"))) as peer:
        call = socket(peer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run)
            await call.ear.heard(1)
            tasks.cancel_scope.cancel()
        await peer.ended.wait()
    assert not call.exchange.answered
    assert call.facts["messages_in"] == 1


async def test_a_closed_lane(socket: Sockets):
    async with listen(saying(frame(Opcode.TEXT, b"x"))) as peer:
        call = socket(peer)
        async with running(call):
            await call.ear.heard(1)
            await socket.lane.aclose()
        late = await socket(peer).run()
    call.failed(plane.FailureClass.PEER_LOST)
    late.failed(plane.FailureClass.LANE_UNAVAILABLE, "lane_closed")


async def test_input_after_the_peers_close_is_not_sent(socket: Sockets):
    async def handler(connection: ServerConnection) -> None:
        await connection.send("x")
        try:
            await connection.recv()
        except ConnectionClosed:
            return
        await connection.close(1001)

    async with server(handler) as url:
        call = socket(url)
        async with running(call):
            await call.ear.heard(1)
            for _ in range(5):
                await say(call, b"y")
    call.succeeded()
    assert call.facts["close_code"] == 1001


@pytest.mark.parametrize(
    ("change", "failure_class"),
    [
        ({"allowed_hosts": ("127.0.0.1:1",)}, plane.FailureClass.HOST_NOT_ALLOWED),
        ({"url": "ws://10.0.0.1/", "allowed_hosts": ("10.0.0.1:80",)}, plane.FailureClass.ADDRESS_REFUSED),
    ],
)
async def test_where_it_may_not_go(socket: Sockets, change: dict[str, Any], failure_class: plane.FailureClass):
    call = await socket("ws://127.0.0.1:9/", **change).run()
    call.failed(failure_class)
    assert call.exchange.bytes_sent == 0


async def test_through_a_node(socket: Sockets):
    async def script(peer: Conversation) -> None:
        await shake_hands(peer)
        await peer.send(frame(Opcode.TEXT, b"a") + frame(Opcode.TEXT, b"b") + close(1000, "bye"))
        await peer.receive()

    intents = Intents()
    target = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="websocket", clock=intents.clock)
    async with listen(script) as peer:
        receipt = await Bench(intents, socket.lane, [target]).execute(socket(peer).intent)
    assert receipt.failure is None
    assert (receipt.lane_id, receipt.status, receipt.body) == ("websocket", 101, b"ab")
    assert (receipt.facts["close_code"], receipt.facts["close_reason"]) == (1000, "bye")
