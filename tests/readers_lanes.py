"""Readers, continued (`readers.py`): lanes, whose peer on loopback says just these bytes and hangs up."""

import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)
from websockets.frames import Opcode

from fix_peer import Conversation, listen
from fix_streams import LOOPBACK, Call, Vault, chunk, close, fields, frame, shake_hands
from http2_peer import Talk
from interlock import plane, sdk, testing
from interlock.adapters import nodes
from interlock.adapters.lanes import HttpLane, SseLane, WebSocketLane
from interlock.adapters.lanes.process import asking, keepers
from interlock.adapters.lanes.tunnel import Proxy
from interlock.kernel import InvalidJson, Secret, canonical, parse_json
from interlock.triggers.webhooks import Refused, Verified, Verifier, answer_handshake
from readers import SMALL
from readers_forms import READERS, RECEIPT, reads
from rpc_peers import rpc, rpc_lane, tcp
from vectors import VECTORS, Vector

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n{}"
_TWO_HEAD: Final = HeadersFrame(1, b"\x88", flags=["END_HEADERS"])
_EVENTS: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\nid: 1\ndata: b\n\n"


def _told(
    data: bytes,
    make: Callable[[Any, testing.ManualClock], Call],
    *,
    before: Callable[[Conversation], Any] | None = None,
    speaks: type[Conversation] = Conversation,
) -> bool:
    """Have a lane talk to such a peer. It answers, or fails as lanes do, and what it says of the delivery is true."""

    async def speak(peer: Conversation) -> None:
        await (peer.request() if before is None else before(peer))
        await peer.send(data)

    async def talk() -> Call:
        async with listen(speak, speaks=speaks) as peer:
            call = make(peer, testing.ManualClock())
            try:
                return await call.run()
            finally:
                await call.lane.aclose()

    call = anyio.run(talk)
    assert call.exchange.bytes_sent, "the peer has heard something"
    assert call.failure is None or call.failure.effect != "none", call.failure
    assert call.failure is not None or call.exchange.answered
    assert call.failure is None or call.failure.failure_class is not plane.FailureClass.LANE_FAILED, call.failure
    return call.failure is None


@reads(_HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"abc") + b"0\r\nT: x\r\n\r\n")
def http_answer(data: bytes) -> bool:
    def make(peer: Any, clock: testing.ManualClock) -> Call:
        lane = HttpLane(credentials=Vault(), egress=LOOPBACK)
        values: dict[str, Any] = {"method": "GET", "max_response_bytes": 4096}
        return Call(lane, plane.HttpIntent(**fields(clock, f"{peer.url}/", peer.host), **values), clock)

    return _told(data, make)


def _two(peer: Any, clock: testing.ManualClock) -> Call:
    lane = HttpLane(credentials=Vault(), egress=LOOPBACK)
    values: dict[str, Any] = {"method": "GET", "max_response_bytes": 4096, "http_versions": ("2",)}
    return Call(lane, plane.HttpIntent(**fields(clock, f"{peer.url}/", peer.host), **values), clock)


@reads(
    _TWO_HEAD.serialize() + DataFrame(1, b"abc", flags=["END_STREAM"]).serialize(),
    PingFrame(0, b"12345678").serialize() + _TWO_HEAD.serialize() + DataFrame(1, b"", flags=["END_STREAM"]).serialize(),
    HeadersFrame(1, b"\x88", flags=["END_STREAM"]).serialize()
    + ContinuationFrame(1, flags=["END_HEADERS"]).serialize(),
    GoAwayFrame(0, last_stream_id=1).serialize()
    + HeadersFrame(1, b"\x88", flags=["END_HEADERS", "END_STREAM"]).serialize()
    + RstStreamFrame(1).serialize(),
)
def http2_answer(data: bytes) -> bool:
    return _told(data, _two, speaks=Talk)


@reads(SettingsFrame(0, {3: 100}).serialize() + _TWO_HEAD.serialize(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
def http2_greeting(data: bytes) -> bool:
    """What a peer says before it is asked. It is not asked unless it speaks HTTP/2."""

    async def speak(peer: Conversation) -> None:
        await peer.send(data)

    async def talk() -> Call:
        async with listen(speak) as peer:
            call = _two(peer, testing.ManualClock())
            try:
                return await call.run()
            finally:
                await call.lane.aclose()

    call = anyio.run(talk)
    assert call.failure is None or call.failure.failure_class is not plane.FailureClass.LANE_FAILED, call.failure
    assert call.failure is None or call.failure.effect != "none" or not call.exchange.bytes_sent
    return True


@reads(_EVENTS, _EVENTS.replace(b"data: b", b"event: x\ndata: b"))
def sse_answer(data: bytes) -> bool:
    def make(peer: Any, clock: testing.ManualClock) -> Call:
        lane = SseLane(credentials=Vault(), egress=LOOPBACK)
        values: dict[str, Any] = {"max_event_bytes": 1024}
        return Call(lane, plane.SseIntent(**fields(clock, f"{peer.url}/", peer.host), **values), clock)

    return _told(data, make)


@reads(frame(Opcode.TEXT, b"hi") + frame(Opcode.PING, b"p") + close(1000), close(3000, "enough"))
def websocket_frames(data: bytes) -> bool:
    def make(peer: Any, clock: testing.ManualClock) -> Call:
        lane = WebSocketLane(credentials=Vault(), egress=LOOPBACK)
        values: dict[str, Any] = {"max_message_bytes": 1024}
        return Call(lane, plane.WebSocketIntent(**fields(clock, f"ws://{peer.host}/", peer.host), **values), clock)

    return _told(data, make, before=shake_hands)


@reads(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
def websocket_handshake(data: bytes) -> bool:
    """Nobody can know the key that the answer must prove, so no answer opens it."""

    def make(peer: Any, clock: testing.ManualClock) -> Call:
        lane = WebSocketLane(credentials=Vault(), egress=LOOPBACK)
        return Call(lane, plane.WebSocketIntent(**fields(clock, f"ws://{peer.host}/", peer.host)), clock)

    assert not _told(data, make)
    return True


@reads(
    b'{"jsonrpc":"2.0","id":1,"result":[1]}\n', b'{"jsonrpc":"2.0","method":"x"}\n{"jsonrpc":"2.0","id":1,"result":1}\n'
)
def rpc_answer(data: bytes) -> bool:
    async def hear(peer: Conversation) -> None:
        await peer.receive_until(b"\n")

    async def speak(peer: Conversation) -> None:
        await hear(peer)
        await peer.send(data)

    async def talk() -> Call:
        async with listen(speak) as peer, rpc_lane() as lane:
            return await rpc(lane, tcp(peer), method="ask").run()

    call = anyio.run(talk)
    assert call.exchange.bytes_sent
    assert call.failure is None or call.failure.effect != "none"
    assert call.failure is not None or call.exchange.answered
    return call.failure is None


@reads(b"HTTP/1.1 407 No\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nmore")
def proxy_answer(data: bytes) -> bool:
    """A proxy that says this and hangs up: nothing has left, whatever it was."""

    async def speak(peer: Conversation) -> None:
        await peer.request()
        await peer.send(data)

    async def talk() -> Call:
        async with listen(speak) as peer:
            clock = testing.ManualClock()
            proxy = Proxy(plane.parse_url(f"http://{peer.host}/"))
            lane = HttpLane(credentials=Vault(), egress=replace(LOOPBACK, proxy=proxy))
            intent = plane.HttpIntent(**fields(clock, "http://127.0.0.1:1/", "127.0.0.1:1"), method="GET")
            try:
                return await Call(lane, intent, clock).run()
            finally:
                await lane.aclose()

    call = anyio.run(talk)
    assert call.failure is not None
    assert call.failure.failure_class is not plane.FailureClass.LANE_FAILED
    return True


@reads(
    b"CONNECT acme.dev:443 HTTP/1.1\r\nHost: acme.dev:443\r\n\r\nrest",
    b"GET http://acme.dev/p?q HTTP/1.1\r\nHost: acme.dev\r\n\r\n",
    b"\x05\x01\x00\x05\x01\x00\x03\x08acme.dev\x01\xbb",
    b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb",
)
def sandbox_asks(data: bytes) -> bool:
    """What a hostile command says to the proxy of its sandbox, and hangs up."""

    async def hear(ours: socket.socket) -> asking.Asked | None:
        try:
            return await asking.listen(ours)
        except OSError:
            return None

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(data[:65_536])
        theirs.shutdown(socket.SHUT_WR)
        asked = anyio.run(hear, ours)
        if asked is None:
            return False
        assert asking.normal(asking.normal(asked.host_port)) == asking.normal(asked.host_port)
        return True


@reads(b"x0 - 1024 0", b"x- 9 1024 3", b"e2 command", b"e13 cwd", b"e0 preparation")
def keeper_answer(data: bytes) -> bool:
    """What the keeper of a command says: somebody may have got hold of it, so it is believed no more than that."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(data[:1024])
        theirs.close()
        try:
            ended = anyio.run(keepers.KeeperClient(ours).ended)
        except keepers.NotStarted:
            return True
        except keepers.KeeperLost:
            return False
        assert (ended.code is None) != (ended.signal is None)
        return True


_ACCEPTANCE: Final = plane.Acceptance(
    execution_id="exe_1",
    tenant_id="default",
    key="k",
    run_id="run_1",
    attempt_id="att_1",
    intent_id="snd_1",
    intent_digest="sha256:" + "0" * 64,
    authority_nonce="0" * 32,
    target_class="class",
    target_id="t",
    lane_id="http",
    accepted_at=testing.ManualClock().now(),
).canonical.encode()
_ACCEPTED: Final = b'{"accepted":' + _ACCEPTANCE + b"}\n"


@reads(_ACCEPTED, _ACCEPTED + b'{"finished":"exe_1","receipt":' + RECEIPT + b"}\n")
def journal(data: bytes) -> bool:
    """A node's journal after who knows what: damaged, or the same when it is read again."""

    async def load(path: Path) -> Sequence[tuple[plane.Acceptance, plane.Receipt | None]]:
        async with aclosing(nodes.FileJournal(path, clock=testing.ManualClock())) as opened:
            return await opened.load()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        path.write_bytes(data)
        try:
            found = anyio.run(load, path)
        except nodes.JournalDamaged:
            return False
        assert anyio.run(load, path) == found
        return bool(found)


__all__ = ["READERS"]


# -- webhooks


def _delivery(vector: Vector) -> bytes:
    lines = [vector.name, *(f"{name.lower()}: {value}" for name, value in vector.headers.items())]
    return "\n".join(lines).encode("latin-1") + b"\n\n" + vector.body


_VECTORS: Final = {each.name: (each, each.verify()) for each in VECTORS}


@reads(*map(_delivery, VECTORS))
def webhook_delivery(data: bytes) -> bool:
    """A request to a route: whoever has no key changes nothing of what is signed."""
    head, _, body = data.partition(b"\n\n")
    name, *lines = head.decode("latin-1").split("\n")
    if name not in _VECTORS:
        return False
    vector, wanted = _VECTORS[name]
    headers = tuple((each, value.strip()) for each, _, value in (line.partition(":") for line in lines))
    request = replace(vector.request(), headers=headers, body=body)
    found = Verifier(vector.verification, [Secret(vector.secret)]).verify(request, now=vector.at)
    if (handshake := vector.verification.handshake) is not None:
        answer_handshake(handshake, request, present=Secret(vector.secret))
    if not isinstance(request.value, InvalidJson):
        canonical(request.value)
    if isinstance(found, Refused):
        return False
    assert isinstance(wanted, Verified)
    assert not vector.verification.is_signed or found.digest == wanted.digest
    return True


_PROOF: Final = canonical(sdk.scheme("stripe").model_dump(mode="json", exclude_defaults=True))


@reads(
    _PROOF,
    b'{"scheme":"slack","header":"x-other"}',
    b'{"algorithm":"jwt","header":"authorization","key":"jwks","claims":{"issuers":["x"],"keys_url":"http://[::1]:80/"}}',
)
def verification(data: bytes) -> bool:
    """How a webhook proves its origin, as a file or a command says it."""
    try:
        found = sdk.read_verification(_mapping(data))
    except (ValueError, InvalidJson):  # pydantic's among them
        return False
    return not list(sdk.verification_problems("verification", found))


def _mapping(data: bytes) -> dict[str, Any]:
    """Raises InvalidJson."""
    value = parse_json(data, limits=SMALL) if data.startswith(b"{") else None
    if not isinstance(value, dict):
        raise InvalidJson("no mapping")
    return value
