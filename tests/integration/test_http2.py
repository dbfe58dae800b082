"""HTTP/2 in the HTTP lane against peers that misuse it."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from typing import Any, ClassVar

import anyio
import pytest
from h2.errors import ErrorCodes
from h2.events import RequestReceived
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from fix_peer import Peer, listen
from fix_plane import Bench, Intents
from fix_streams import LOOPBACK, PATIENCE, REF, TOKEN, Call, Vault, fields
from http2_peer import Settings, Talk
from interlock import plane, testing
from interlock.adapters.lanes import HttpLane
from interlock.adapters.lanes.http2 import Http2
from interlock.adapters.lanes.http2_session import Session
from interlock.adapters.lanes.wire import READ_AHEAD, Wire

NOT_SENT, REJECTED, UNKNOWN = plane.Delivery.NOT_SENT, plane.Delivery.REJECTED, plane.Delivery.UNKNOWN
Script = Callable[[Talk], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Web:
    """One lane that speaks HTTP/2 by prior knowledge."""

    def __init__(self) -> None:
        self.intents = Intents()
        self.clock = testing.ManualClock()
        self.lane = HttpLane(credentials=Vault(), egress=LOOPBACK)
        self.bench = Bench(self.intents, self.lane)

    async def __call__(self, peer: Peer, path: str = "/", **values: Any) -> plane.Receipt:
        url = peer.url + path
        intent = self.intents.http(**{"url": url, "allowed_hosts": (peer.host,), "http_versions": ("2",), **values})
        with anyio.fail_after(PATIENCE):
            return await self.bench.execute(intent)

    def call(self, peer: Peer, channel: plane.Channel | None = None, **changes: Any) -> Call:
        asked: dict[str, Any] = {"method": "GET", "response_mode": "stream", "http_versions": ("2",)}
        values = fields(self.clock, peer.url + "/", peer.host) | asked | changes
        return Call(self.lane, plane.HttpIntent(**values), self.clock, channel)


@pytest.fixture
async def web() -> AsyncGenerator[Web]:
    found = Web()
    yield found
    await found.lane.aclose()


def serving(script: Script, speaks: type[Talk] = Talk, **settings: Any) -> Any:
    return listen(script, speaks=speaks, **settings)


def failed(
    receipt: plane.Receipt, failure_class: plane.FailureClass, delivery: plane.Delivery, code: str | None = None
) -> None:
    assert receipt.failure is not None, receipt
    assert (receipt.failure.failure_class, receipt.delivery) == (failure_class, delivery), receipt.failure
    assert receipt.failure.code == (code or failure_class.value)


async def patient(peer: Talk) -> None:
    while True:
        request = await peer.request()
        await peer.answer(request.split(b" ")[1])


def goaway(last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> GoAwayFrame:
    return GoAwayFrame(0, last_stream_id=last, error_code=code)


@pytest.mark.anyio
@pytest.mark.parametrize("before", [b"", goaway(1).serialize()])
async def test_a_connection_that_the_peer_has_just_closed_is_not_used_again(web: Web, before: bytes):
    talks: list[Talk] = []

    async def script(peer: Talk) -> None:
        talks.append(peer)
        await patient(peer)

    async with serving(script) as peer:
        first = await web(peer, "/first")
        os.write(talks[0].socket.fileno(), before)
        talks[0].socket.shutdown(socket.SHUT_WR)  # and nobody has had a turn to notice
        second = await web(peer, "/second", method="POST", body=b"x")
    assert (first.body, second.body, peer.connections) == (b"/first", b"/second", 2)


# -- what is known of the other side


@pytest.mark.anyio
async def test_a_refused_stream_has_done_nothing(web: Web):
    async def script(peer: Talk) -> None:
        await peer.head()
        await peer.abort(ErrorCodes.REFUSED_STREAM)
        await patient(peer)

    async with serving(script) as peer:
        receipt = await web(peer, method="POST", body=b"x")
        after = await web(peer, "/after")
    failed(receipt, plane.FailureClass.WRITE_FAILED, REJECTED, "stream_refused")
    assert receipt.bytes_sent
    assert receipt.evidence[-1].data["delivery"] == "rejected"
    assert (after.body, peer.connections) == (b"/after", 1)


@pytest.mark.anyio
async def test_a_goaway_below_the_request_has_done_nothing(web: Web):
    async def script(peer: Talk) -> None:
        await peer.head()
        await peer.frames(goaway(0))
        await peer.listen()

    async with serving(script) as peer:
        receipt = await web(peer, method="POST", body=b"x")
    failed(receipt, plane.FailureClass.WRITE_FAILED, REJECTED, "stream_refused")


@pytest.mark.anyio
async def test_a_goaway_above_the_request_lets_it_end(web: Web):
    """And takes no others: they go to another connection."""
    leaving, others = anyio.Event(), anyio.Event()

    async def script(peer: Talk) -> None:
        await peer.request()
        if peer.peer.connections > 1:
            await peer.answer(b"elsewhere")
            return
        await peer.frames(goaway(2**31 - 1), goaway(peer.stream))
        leaving.set()
        await others.wait()
        await peer.answer(b"all the same")

    receipts: list[plane.Receipt] = []
    async with serving(script) as peer, anyio.create_task_group() as tasks:

        async def first() -> None:
            receipts.append(await web(peer))

        tasks.start_soon(first)
        await leaving.wait()
        await anyio.wait_all_tasks_blocked()
        receipts.append(await web(peer))
        others.set()
    assert [receipt.body for receipt in receipts] == [b"elsewhere", b"all the same"]
    assert peer.connections == 2


@pytest.mark.parametrize(
    "code", [ErrorCodes.CANCEL, ErrorCodes.INTERNAL_ERROR, ErrorCodes.NO_ERROR, ErrorCodes.HTTP_1_1_REQUIRED]
)
@pytest.mark.anyio
async def test_any_other_reset_is_unknown(web: Web, code: ErrorCodes):
    async def script(peer: Talk) -> None:
        await peer.request()
        await peer.abort(code)
        await patient(peer)

    async with serving(script) as peer:
        receipt = await web(peer, method="POST", body=b"x")
        after = await web(peer, "/after")
    failed(receipt, plane.FailureClass.READ_FAILED, UNKNOWN, "stream_reset")
    assert (after.body, peer.connections) == (b"/after", 1)


@pytest.mark.anyio
async def test_a_refusal_after_an_answer_began_proves_nothing(web: Web):
    async def script(peer: Talk) -> None:
        await peer.request()
        await peer.begin()
        await peer.say(b"so far")
        await peer.abort(ErrorCodes.REFUSED_STREAM)

    async with serving(script) as peer:
        receipt = await web(peer, method="POST", body=b"x")
    failed(receipt, plane.FailureClass.READ_FAILED, UNKNOWN, "stream_refused")


@pytest.mark.anyio
async def test_a_refusal_behind_a_redirect_says_nothing_of_what_was_before(web: Web):
    async def script(peer: Talk) -> None:
        await peer.request()
        await peer.answer(b"", "302 Found", "location: /there")
        await peer.head()
        await peer.abort(ErrorCodes.REFUSED_STREAM)

    async with serving(script) as peer:
        failed(await web(peer), plane.FailureClass.WRITE_FAILED, UNKNOWN, "stream_refused")


@pytest.mark.anyio
async def test_a_whole_answer_counts_though_the_rest_of_the_request_is_not_wanted(web: Web):
    async def script(peer: Talk) -> None:
        await peer.head()
        await peer.answer(b"enough", "413 Content Too Large")
        await peer.abort(ErrorCodes.NO_ERROR)
        await patient(peer)

    async with serving(script) as peer:
        receipt = await web(peer, method="POST", body=b"x" * 1_000_000)
        after = await web(peer, "/after")
    assert (receipt.status, receipt.body, after.body) == (413, b"enough", b"/after")
    assert peer.connections == 1


# -- an exchange is one stream


@pytest.mark.anyio
async def test_who_is_cancelled_resets_its_stream_and_no_other(web: Web):
    began, seen = anyio.Event(), list[Talk]()

    async def script(peer: Talk) -> None:
        seen.append(peer)
        await peer.request()
        cancelled = peer.stream
        began.set()
        await peer.request()
        while not peer.resets:
            await peer.listen()
        assert peer.resets == [(cancelled, ErrorCodes.CANCEL)]
        await peer.answer(b"still here")
        await patient(peer)

    receipts: list[plane.Receipt] = []
    async with serving(script) as peer, anyio.create_task_group() as tasks:

        async def other() -> None:
            receipts.append(await web(peer))

        async with anyio.create_task_group() as doomed:
            doomed.start_soon(web, peer)
            await began.wait()
            tasks.start_soon(other)
            while len(seen[0].seen) < 1 or len([e for e in seen[0].seen if isinstance(e, RequestReceived)]) < 2:
                await anyio.lowlevel.checkpoint()
            doomed.cancel_scope.cancel()
        while not receipts:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert receipts[0].body == b"still here"
    assert peer.connections == 1


@pytest.mark.anyio
async def test_who_does_not_read_holds_up_nobody_else(web: Web):
    """More is kept back for one reader than the whole connection's window has."""

    async def script(peer: Talk) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                await peer.request()
                stream = peer.stream
                await peer.begin()
                size = peer.http.local_flow_control_window(stream)
                while size := min(peer.http.local_flow_control_window(stream), 16_384):
                    peer.http.send_data(stream, b"x" * size)
                await peer.flush()
            await peer.request()
            await peer.answer(b"through")
            await peer.listen()
            tasks.cancel_scope.cancel()

    async with serving(script) as peer, anyio.create_task_group() as tasks:
        for _ in range(6):
            log = plane.EventLog("exe_1", web.clock)
            tasks.start_soon(web.call(peer, plane.Channel(log, plane.Inbox())).run)
        while len(peer.requests) < 6:
            await anyio.lowlevel.checkpoint()
        assert (await web(peer)).body == b"through"
        tasks.cancel_scope.cancel()
    assert peer.connections == 1


@pytest.mark.anyio
async def test_no_more_at_once_than_the_peer_allows(web: Web):
    class Narrow(Talk):
        settings: ClassVar[Settings] = {SettingCodes.MAX_CONCURRENT_STREAMS: 3}

    receipts: list[plane.Receipt] = []
    async with serving(patient, Narrow) as peer, anyio.create_task_group() as tasks:

        async def one() -> None:
            receipts.append(await web(peer))

        for _ in range(20):
            tasks.start_soon(one)
    assert [receipt.failure for receipt in receipts] == [None] * 20
    assert 1 < peer.connections <= 7


@pytest.mark.anyio
async def test_a_peer_that_allows_none(web: Web):
    class Closed(Talk):
        settings: ClassVar[Settings] = {SettingCodes.MAX_CONCURRENT_STREAMS: 0}

    async with serving(patient, Closed) as peer:
        failed(await web(peer), plane.FailureClass.CONNECT_FAILED, NOT_SENT, "http2_no_streams")


@pytest.mark.anyio
async def test_headers_that_the_peer_does_not_take(web: Web):
    class Terse(Talk):
        settings: ClassVar[Settings] = {SettingCodes.MAX_HEADER_LIST_SIZE: 400}

    async with serving(patient, Terse) as peer:
        long = await web(peer, headers=(("X-Long", "x" * 400),))
        short = await web(peer)
    failed(long, plane.FailureClass.REQUEST_TOO_LARGE, NOT_SENT, "headers_too_large")
    assert short.failure is None


@pytest.mark.anyio
async def test_a_secret_goes_into_no_table(web: Web):
    """What is packed by a table of the connection's is shared by all that it carries."""
    async with serving(patient) as peer:
        sizes = [(await web(peer, credentials=(REF,), headers=(("X-Note", "x" * 50),))).bytes_sent for _ in range(3)]
        key = await web(peer, credentials=(plane.HeaderCredential(handle="lse_1", name="X-Key", template="{token}"),))
    assert len(set(sizes)) == 1
    assert key.failure is None
    assert TOKEN in peer.requests[-1].decode()


@pytest.mark.anyio
async def test_trailers_are_passed_over(web: Web):
    async def script(peer: Talk) -> None:
        await peer.request()
        await peer.begin()
        await peer.say(b"body")
        peer.http.send_headers(peer.stream, [("x-checksum", "1")], end_stream=True)
        await peer.flush()
        await patient(peer)

    async with serving(script) as peer:
        assert (await web(peer)).body == b"body"
        assert (await web(peer, "/after")).body == b"/after"


@pytest.mark.anyio
async def test_interim_answers_are_passed_over(web: Web):
    async def script(peer: Talk) -> None:
        await peer.request()
        for _ in range(3):
            peer.http.send_headers(peer.stream, [(":status", "103"), ("link", "</x>")])
        await peer.answer(b"{}")
        await patient(peer)

    async with serving(script) as peer:
        assert (await web(peer)).status == 200


@pytest.mark.parametrize("window", [1, 10_000])
@pytest.mark.anyio
async def test_a_window_that_opens_slowly(web: Web, window: int):
    class Slow(Talk):
        settings: ClassVar[Settings] = {SettingCodes.INITIAL_WINDOW_SIZE: window}

    body = bytes(range(250)) * (2 if window == 1 else 1_000)
    async with serving(patient_body, Slow) as peer:
        receipt = await web(peer, method="POST", body=body)
    assert receipt.body == b"%d" % len(body)


async def patient_body(peer: Talk) -> None:
    await peer.answer(b"%d" % len(await peer.body()))
    await peer.listen()


@pytest.mark.anyio
async def test_a_window_that_never_opens(web: Web):
    class Shut(Talk):
        settings: ClassVar[Settings] = {SettingCodes.INITIAL_WINDOW_SIZE: 0}

    async with serving(patient, Shut) as peer:
        receipt = await web(peer, method="POST", body=b"x", timeouts=plane.Timeouts(write_ms=50))
    failed(receipt, plane.FailureClass.WRITE_TIMEOUT, UNKNOWN)


@pytest.mark.anyio
async def test_a_connection_that_has_gone_silent_is_not_used_again(web: Web):
    async def script(peer: Talk) -> None:
        if peer.peer.connections == 1:
            await peer.request()
            await anyio.sleep_forever()
        await patient(peer)

    async with serving(script) as peer:
        failed(await web(peer, timeouts=plane.Timeouts(read_ms=50)), plane.FailureClass.READ_TIMEOUT, UNKNOWN)
        assert (await web(peer, "/after")).body == b"/after"
    assert peer.connections == 2


# -- floods and nonsense


def head(stream: int, *, ends: bool = True) -> HeadersFrame:
    frame = HeadersFrame(stream, b"\x88")  # :status 200
    frame.flags |= {"END_HEADERS", "END_STREAM"} if ends else {"END_HEADERS"}
    return frame


FLOODS: dict[str, Callable[[int], list[Frame]]] = {
    "pings": lambda _stream: [PingFrame(0, b"12345678")],
    "settings": lambda _stream: [SettingsFrame(0, {SettingCodes.MAX_CONCURRENT_STREAMS: 9})],
    "windows": lambda stream: [WindowUpdateFrame(stream, window_increment=1)],
    "empty data": lambda stream: [DataFrame(stream, b"")],
    "padding": lambda stream: [DataFrame(stream, b"", pad_length=1, flags=["PADDED"])],
    "unknown frames": lambda _stream: [Frame.parse_frame_header(memoryview(b"\0\0\0\x42\0\0\0\0\0"))[0]],
    "interim answers": lambda stream: [HeadersFrame(stream, b"\x08\x03103", flags=["END_HEADERS"])],
    "resets of nothing": lambda stream: [RstStreamFrame(stream + 2, error_code=8)],
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.anyio
async def test_a_flood_ends_the_connection(web: Web, flood: str):
    async def script(peer: Talk) -> None:
        await peer.request()
        if flood in {"empty data", "padding"}:
            await peer.frames(head(peer.stream, ends=False))
        piece = b"".join(frame.serialize() for frame in FLOODS[flood](peer.stream)) * 64
        while True:
            await peer.send(piece)

    async with serving(script) as peer:
        receipt = await web(peer)
        await peer.ended.wait()
    failed(receipt, plane.FailureClass.PROTOCOL_ERROR, UNKNOWN, "frame_flood")


def test_answers_to_a_peer_that_does_not_listen_are_bounded():
    """Though it lets things get on in between, so that its pings are no flood."""
    unsent = 0

    def say(data: bytes) -> None:
        nonlocal unsent
        unsent += len(data)

    session = Session(say, lambda: unsent)
    session.hear(SettingsFrame(0).serialize())
    session.turn(1)
    stream, _head = session.begin("http", "GET", "/", [(b"host", b"a.example")], ends=True)
    session.hear(head(stream.number, ends=False).serialize())
    session.turn(1)
    while not stream.over:
        session.hear(PingFrame(0, b"12345678").serialize() * 500 + DataFrame(stream.number, b"x").serialize())
        session.turn(501)
    assert stream.failure is not None
    assert stream.failure.failure.code == "frame_flood"
    assert unsent < 100_000


@pytest.mark.anyio
@pytest.mark.parametrize("hangs_up", [False, True])
async def test_what_comes_faster_than_it_is_looked_at_is_all_read(*, hangs_up: bool):
    """Little frames, which take several turns, and behind them so many large ones that the wire keeps what follows."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        wire = (await asyncio.get_running_loop().create_connection(lambda: Wire("a.example"), sock=ours))[1]
        with closing(Http2(wire, "http")) as connection:
            wire.data_received(SettingsFrame(0).serialize())
            await connection.greet(PATIENCE)
            line, exchange = connection.line(), plane.Exchange(testing.ManualClock())
            await line.send(exchange, "GET", "/", [(b"host", b"a.example")], b"", limit=PATIENCE)
            little = PingFrame(0, b"12345678").serialize()
            large = struct.pack("!I", 16_384)[1:] + b"\xbb" + bytes(5) + bytes(16_384)  # of a kind that nobody knows
            wire.data_received(head(1, ends=False).serialize() + little * 63 + large * (READ_AHEAD // 16_384 + 1))
            wire.data_received(DataFrame(1, b"all", flags=["END_STREAM"]).serialize())
            if hangs_up:
                wire.eof_received()
            parts = [await line.receive(limit=5) for _ in range(3)]
            assert [type(part).__name__ for part in parts] == ["Response", "Data", "EndOfMessage"]


@pytest.mark.anyio
async def test_a_head_without_an_end(web: Web):
    async def script(peer: Talk) -> None:
        await peer.request()
        await peer.frames(HeadersFrame(peer.stream, b"\x88"))
        while True:
            await peer.frames(ContinuationFrame(peer.stream, b""))

    async with serving(script) as peer:
        failed(await web(peer), plane.FailureClass.PROTOCOL_ERROR, UNKNOWN)
        await peer.ended.wait()


@pytest.mark.anyio
async def test_a_head_that_unpacks_to_too_much(web: Web):
    """A short head that names one long line of the table again and again."""

    async def script(peer: Talk) -> None:
        await peer.request()
        long = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4_000
        block = b"\x88" + long + b"\xbe" * 10_000
        await peer.frames(HeadersFrame(peer.stream, block, flags=["END_HEADERS", "END_STREAM"]))
        await peer.listen()

    async with serving(script) as peer:
        failed(await web(peer), plane.FailureClass.PROTOCOL_ERROR, UNKNOWN)


NONSENSE: dict[str, Callable[[int], list[Frame]]] = {
    "a push": lambda stream: [PushPromiseFrame(stream, 2, b"\x82", flags=["END_HEADERS"])],
    "data before the head": lambda stream: [DataFrame(stream, b"x")],
    "an answer to nobody": lambda stream: [head(stream + 2)],
    "a stream of its own": lambda _stream: [head(2)],
    "a window too wide": lambda _stream: [WindowUpdateFrame(0, window_increment=2**31 - 1)],
    "a head in a head": lambda stream: [HeadersFrame(stream, b"\x88"), goaway(0)],
    "a goaway of a stream": lambda stream: [goaway_of(stream)],
    "capitals": lambda stream: [HeadersFrame(stream, b"\x88\x00\x01A\x01b", flags=["END_HEADERS", "END_STREAM"])],
    "no status": lambda stream: [HeadersFrame(stream, b"\x00\x01a\x01b", flags=["END_HEADERS", "END_STREAM"])],
    "a status of letters": lambda stream: [HeadersFrame(stream, b"\x08\x03abc", flags=["END_HEADERS", "END_STREAM"])],
    "a connection header": lambda stream: [
        HeadersFrame(stream, b"\x88\x00\x0aconnection\x05close", flags=["END_HEADERS", "END_STREAM"])
    ],
    "too short for its length": lambda stream: [
        HeadersFrame(stream, b"\x88\x0f\x0d\x0299", flags=["END_HEADERS"]),
        DataFrame(stream, b"x", flags=["END_STREAM"]),
    ],
    "a table that is too large": lambda stream: [
        HeadersFrame(stream, b"\x3f\xff\xff\x7f\x88", flags=["END_HEADERS", "END_STREAM"])
    ],
}


def goaway_of(stream: int) -> Frame:
    frame = goaway(0)
    frame.stream_id = stream
    return frame


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.anyio
async def test_what_is_no_answer_is_told_apart(web: Web, nonsense: str):
    async def script(peer: Talk) -> None:
        await peer.request()
        await peer.frames(*NONSENSE[nonsense](peer.stream))
        await anyio.sleep_forever()

    async with serving(script) as peer:
        receipt = await web(peer)
        after = await web(peer, timeouts=plane.Timeouts(read_ms=1))
    failed(receipt, plane.FailureClass.PROTOCOL_ERROR, UNKNOWN)
    assert after.delivery is UNKNOWN
    assert peer.connections == 2


@pytest.mark.anyio
async def test_a_frame_that_claims_to_be_long_is_not_waited_for(web: Web):
    async def script(peer: Talk) -> None:
        await peer.request()
        await peer.send(struct.pack(">I", 16_385)[1:] + b"\0\0" + struct.pack(">I", peer.stream))
        await anyio.sleep_forever()

    async with serving(script) as peer:
        failed(await web(peer), plane.FailureClass.PROTOCOL_ERROR, UNKNOWN)


@pytest.mark.anyio
async def test_a_violation_ends_all_that_is_under_way(web: Web):
    async def script(peer: Talk) -> None:
        for _ in range(3):
            await peer.request()
        await peer.answer(b"whole")
        await peer.frames(WindowUpdateFrame(0, window_increment=2**31 - 1))
        await anyio.sleep_forever()

    receipts: list[plane.Receipt] = []
    async with serving(script) as peer, anyio.create_task_group() as tasks:

        async def one() -> None:
            receipts.append(await web(peer))

        for _ in range(3):
            tasks.start_soon(one)
    codes = sorted(receipt.failure.code if receipt.failure else "none" for receipt in receipts)
    assert codes == ["none", "protocol_error", "protocol_error"]


@pytest.mark.anyio
async def test_a_closed_lane_ends_what_is_under_way(web: Web):
    began = anyio.Event()

    async def script(peer: Talk) -> None:
        await peer.request()
        began.set()
        await peer.listen()

    receipts: list[plane.Receipt] = []
    async with serving(script) as peer, anyio.create_task_group() as tasks:

        async def one() -> None:
            receipts.append(await web(peer))

        tasks.start_soon(one)
        await began.wait()
        await web.lane.aclose()
        await peer.ended.wait()
    failed(receipts[0], plane.FailureClass.READ_FAILED, UNKNOWN)
