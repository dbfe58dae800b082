"""The HTTP lane with bodies that are passed on as they come, in either direction."""

import gzip
import hashlib
import os
import stat
import tempfile
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fix_peer import Conversation, Peer, listen
from fix_plane import Bench, Intents
from fix_streams import LOOPBACK, PATIENCE, REF, Call, Vault, chunk, fields, running
from interlock import plane, testing
from interlock.adapters.lanes.http import HttpLane

pytestmark = pytest.mark.anyio

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


class Exchanges:
    """Makes calls of one lane."""

    def __init__(self) -> None:
        self.clock = testing.ManualClock()
        self.lane = HttpLane(credentials=Vault(), egress=LOOPBACK)

    def __call__(self, peer: Peer, channel: plane.Channel | None = None, **changes: Any) -> Call:
        values: dict[str, Any] = (
            fields(self.clock, peer.url + "/", peer.host) | {"method": "GET", "response_mode": "stream"} | changes
        )
        return Call(self.lane, plane.HttpIntent(**values), self.clock, channel)

    def upload(self, peer: Peer, **changes: Any) -> Call:
        return self(peer, method="POST", request_mode="stream", **changes)


@pytest.fixture
async def http() -> AsyncGenerator[Exchanges]:
    exchanges = Exchanges()
    yield exchanges
    await exchanges.lane.aclose()


async def say(call: Call, data: bytes) -> None:
    await call.ear.inbox.send(plane.Input(data=data))


async def body_of(peer: Conversation) -> bytes:
    """A request with a chunked body, to its end."""
    await peer.request()
    return await peer.receive_until(b"\r\n0\r\n\r\n")


async def test_a_body_as_it_comes(http: Exchanges):
    going = anyio.Event()

    async def script(peer: Conversation) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(CHUNKED + chunk(b"first"))
            await going.wait()
            await peer.send(chunk(b"second") + b"0\r\n\r\n")

    async with listen(script) as peer:
        call = http(peer, credentials=(REF,))
        async with running(call):
            await call.ear.heard(2)
            assert not call.exchange.answered
            going.set()
        again = await http(peer).run()
    call.succeeded()
    head, *pieces = call.ear.outputs
    headers = ["content-type: text/plain"]
    assert head == ("head", b"", {"status": 200, "headers": headers})
    assert [(piece.stream, piece.data) for piece in pieces] == [("body", b"first"), ("body", b"second")]
    digest = hashlib.sha256(b"firstsecond").hexdigest()
    assert call.facts == {"streamed_bytes": 11, "streamed_digest": f"sha256:{digest}"}
    assert call.exchange.body == b""
    again.succeeded()
    assert peer.connections == 1


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "304 Not Modified"])
async def test_a_status_is_no_failure(http: Exchanges, status: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"" if status[0] == "3" else b"why", status)

    async with listen(script) as peer:
        call = await http(peer).run()
    call.succeeded()
    assert call.ear.outputs[0].facts["status"] == int(status[:3])


async def test_a_redirect_is_followed_before_the_stream_begins(http: Exchanges):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"over there", "302 Found", "Location: /there")
        await peer.request()
        await peer.answer(b"here")

    async with listen(script) as peer:
        call = await http(peer).run()
    call.succeeded()
    assert call.ear.data == [b"", b"here"]


async def test_gzip_is_unpacked_in_small_steps(http: Exchanges):
    packed = gzip.compress(bytes(20_000_000))

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(packed, "200 OK", "Content-Encoding: gzip")

    async with listen(script) as peer:
        call = await http(peer, max_response_bytes=20_000_000).run()
        bomb = await http(peer, max_response_bytes=10_000_000).run()
    call.succeeded()
    assert b"".join(call.ear.data) == bytes(20_000_000)
    assert max(map(len, call.ear.data)) < 5_000_000
    assert "content-encoding: gzip" not in str(call.ear.outputs[0].facts["headers"])
    bomb.failed(plane.FailureClass.RESPONSE_TOO_LARGE)
    assert sum(map(len, bomb.ear.data)) <= 10_000_000


async def test_a_body_that_is_cut_off(http: Exchanges):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")

    async with listen(script) as peer:
        call = await http(peer).run()
    call.failed(plane.FailureClass.READ_FAILED, "answer_cut_off")
    assert call.ear.data == [b"", b"hello"]
    assert (call.exchange.answered, call.facts) == (False, {"streamed_bytes": 5})


async def test_through_a_node(http: Exchanges):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"a") + chunk(b"b") + b"0\r\n\r\n")

    async with listen(script) as peer:
        receipt = await Bench(Intents(), http.lane).execute(http(peer).intent)
    assert receipt.failure is None
    assert (receipt.status, receipt.body) == (200, b"ab")


async def test_what_a_node_collects_waits_on_disk_without_a_name(
    http: Exchanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    piece, number = b"x" * 65_536, 40
    sent, go_on = anyio.Event(), anyio.Event()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(number):
            await peer.send(chunk(piece))
        sent.set()
        await go_on.wait()
        await peer.send(b"0\r\n\r\n")

    receipts: list[plane.Receipt] = []

    async def execute(intent: plane.Intent) -> None:
        receipts.append(await Bench(Intents(), http.lane).execute(intent))

    async with listen(script) as peer, anyio.create_task_group() as tasks:
        tasks.start_soon(execute, http(peer).intent)
        await sent.wait()
        with anyio.fail_after(PATIENCE):
            while not (found := spooled(tmp_path)):
                await anyio.lowlevel.checkpoint()
        assert [stat.S_IMODE(each.st_mode) for each in found] == [0o600]
        assert os.listdir(tmp_path) == []
        go_on.set()
    assert receipts[0].failure is None
    assert receipts[0].body == piece * number
    assert spooled(tmp_path) == []


async def test_a_disk_that_does_not_take_what_is_collected(
    http: Exchanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"x" * 2_000_000) + b"0\r\n\r\n")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    async with listen(script) as peer:
        receipt = await Bench(Intents(), http.lane).execute(http(peer).intent)
    assert receipt.failure is not None
    assert (receipt.failure.code, receipt.body) == ("output_not_kept", b"")


def spooled(folder: Path) -> list[os.stat_result]:
    """The open files of this process that were made in the folder, and have a size."""
    found: list[os.stat_result] = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith(str(folder)):
                found.append(os.stat(int(number)))
    return [each for each in found if each.st_size]


async def test_a_request_as_it_is_sent_in(http: Exchanges):
    bodies: list[bytes] = []
    whole = chunk(b"a") + chunk(b"b" * 1000) + b"0\r\n\r\n"

    async def script(peer: Conversation) -> None:
        for _ in range(2):
            bodies.append(await body_of(peer))
            await peer.answer(b"thanks", "201 Created")

    async with listen(script) as peer:
        call = http.upload(peer, response_mode="unary")
        async with running(call):
            for data in (b"a", b"", b"b" * 1000):
                await say(call, data)
            call.ear.inbox.end()
        again = http.upload(peer)
        await say(again, b"c")
        again.ear.inbox.end()
        await again.run()
    call.succeeded()
    assert (call.exchange.status, call.exchange.body) == (201, b"thanks")
    assert bodies == [whole, chunk(b"c") + b"0\r\n\r\n"]
    assert b"content-length" not in peer.requests[0].lower()
    assert call.exchange.bytes_sent == len(peer.requests[0]) + len(bodies[0])
    again.succeeded()
    assert peer.connections == 1


async def test_both_directions_at_once(http: Exchanges):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while (data := await peer.receive()) != b"0\r\n\r\n":
            await peer.send(chunk(data))
        await peer.send(b"0\r\n\r\n")

    async with listen(script) as peer:
        call = http.upload(peer)
        async with running(call):
            await call.ear.heard(1)
            for number in range(5):
                await say(call, b"%d" % number)
                await call.ear.heard(number + 2)
            call.ear.inbox.end()
    call.succeeded()
    assert call.ear.data == [b"", *(chunk(b"%d" % number) for number in range(5))]


async def test_time_to_answer_begins_with_the_end_of_the_request(http: Exchanges):
    async def script(peer: Conversation) -> None:
        await body_of(peer)
        await peer.answer(b"x")

    async with listen(script) as peer:
        call = http.upload(peer, timeouts=plane.Timeouts(read_ms=1_000))
        async with running(call):
            await say(call, b"x")
            with anyio.move_on_after(1.3):
                await call.ended.wait()
            assert not call.ended.is_set()
            call.ear.inbox.end()
    call.succeeded()


async def test_cancelled(http: Exchanges):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"x"))
        while True:
            await peer.receive()

    async with listen(script) as peer:
        call = http.upload(peer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run)
            await call.ear.heard(2)
            tasks.cancel_scope.cancel()
        await peer.ended.wait()
    assert not call.exchange.answered
