"""The lane for server-sent events against real sockets that misbehave."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fix_peer import Conversation, Peer, closed_port, listen
from fix_plane import Bench, Intents
from fix_streams import END, HEAD, LOOPBACK, REF, TOKEN, Call, Vault, chunk, fields, running
from interlock import plane, testing
from interlock.adapters.lanes.sse import SseLane

pytestmark = pytest.mark.anyio


class Streams:
    """Makes calls of one lane."""

    def __init__(self) -> None:
        self.clock = testing.ManualClock()
        self.vault = Vault()
        self.lane = SseLane(credentials=self.vault, egress=LOOPBACK)

    def __call__(self, peer: Peer | str, channel: plane.Channel | None = None, **changes: Any) -> Call:
        url = peer if isinstance(peer, str) else f"{peer.url}/events"
        values = fields(self.clock, url, plane.parse_url(url).host_port) | changes
        return Call(self.lane, plane.SseIntent(**values), self.clock, channel)


@pytest.fixture
async def stream() -> AsyncGenerator[Streams]:
    streams = Streams()
    yield streams
    await streams.lane.aclose()


async def test_a_stream_to_its_end(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(
            HEAD + chunk(b"\xef\xbb\xbfevent: greeting\nid: 7\ndata: hello\ndata: wor") + chunk("ld €".encode())
        )
        await peer.send(chunk(b"\r\n\r\n: note\n\ndata: more\n\ndata: cut off\n") + END)

    async with listen(script) as peer:
        call = await stream(peer, credentials=(REF,), headers=(("X-Mine", "1"),), last_event_id="3").run()
    call.succeeded()
    assert call.ear.outputs == [
        ("event", "hello\nworld €".encode(), {"event": "greeting", "id": "7"}),
        ("event", b"more", {"event": "message", "id": "7"}),
    ]
    assert call.facts == {"events": 2, "bytes_in": 90, "reconnects": 0, "last_event_id": "7"}
    assert (call.exchange.status, call.exchange.peer) == (200, "127.0.0.1")
    [request] = peer.requests
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /events HTTP/1.1"
    assert {
        f"Host: {peer.host}", "Accept: text/event-stream", "Cache-Control: no-store", "X-Mine: 1",
        "Accept-Encoding: identity", "Last-Event-ID: 3", f"Authorization: Bearer {TOKEN}",
    } <= set(lines)  # fmt: skip
    assert call.exchange.bytes_sent == len(request)


async def test_a_post_brings_its_body(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: 1\n\n") + END)

    async with listen(script) as peer:
        call = await stream(peer, method="POST", body=b'{"stream":true}').run()
    call.succeeded()
    assert peer.requests[0].endswith(b'\r\n\r\n{"stream":true}')
    assert call.ear.data == [b"1"]


async def test_byte_by_byte(stream: Streams):
    text = "id: é\r\ndata: 😀\r\ndata: €\r\n\r\n".encode()

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD)
        for byte in text:
            await peer.send(chunk(bytes([byte])))
        await peer.send(END)

    async with listen(script) as peer:
        call = await stream(peer).run()
    call.succeeded()
    assert call.ear.outputs == [("event", "😀\n€".encode(), {"event": "message", "id": "é"})]


@pytest.mark.parametrize(
    ("status", "answered"), [("401 Unauthorized", True), ("301 Moved Permanently", True), ("503 Busy", True)]
)
async def test_another_status_is_refused(stream: Streams, status: str, answered: bool):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"why", status, "Retry-After: 5")

    async with listen(script) as peer:
        call = await stream(peer, max_reconnects=3).run()
    call.failed(plane.FailureClass.STATUS_REFUSED, f"status_{status[:3]}")
    assert (call.exchange.body, call.exchange.answered, peer.connections) == (b"why", answered, 1)
    assert ("retry-after", "5") in call.exchange.headers


async def test_redirects_are_followed_at_home(stream: Streams):
    async def script(peer: Conversation) -> None:
        request = await peer.request()
        if b"/events " in request:
            await peer.answer(b"over there", "307 Temporary Redirect", "Location: /there")
        else:
            await peer.send(HEAD + chunk(b"data: x\n\n") + END)

    async with listen(script) as peer:
        call = await stream(peer, credentials=(REF,)).run()
    call.succeeded()
    assert (call.ear.data, call.exchange.body, call.exchange.status) == ([b"x"], b"", 200)
    assert TOKEN.encode() in peer.requests[1]
    assert call.exchange.notes[0][2] == {"status": 307, "path": "/there"}


@pytest.mark.parametrize(
    ("method", "location", "code"),
    [
        ("POST", "/", "redirect_of_write"),
        ("GET", "http://elsewhere.test/", "redirect_elsewhere"),
        ("GET", "ftp://x", "redirect_unreadable"),
        ("GET", "/events", "redirect_loop"),
    ],
)
async def test_redirects_that_are_not_followed(stream: Streams, method: str, location: str, code: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"", "302 Found", f"Location: {location}")

    async with listen(script) as peer:
        call = await stream(peer, method=method).run()
    call.failed(plane.FailureClass.REDIRECT_REFUSED, code)
    assert call.exchange.answered


async def test_a_refusal_without_end_is_not_read_to_it(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            await peer.send(b"x" * 65_536)

    async with listen(script) as peer:
        call = await stream(peer).run()
    call.failed(plane.FailureClass.STATUS_REFUSED, "status_500")
    assert (call.exchange.body, call.exchange.answered) == (b"", False)


async def test_204_is_an_end(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with listen(script) as peer:
        call = await stream(peer, max_reconnects=3).run()
    call.succeeded()
    assert (call.exchange.status, peer.connections) == (204, 1)


@pytest.mark.parametrize("content_type", ["Content-Type: text/plain", "Content-Type: text/event-streams", "X: y"])
async def test_another_content_type_is_refused(stream: Streams, content_type: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"{}", "200 OK", content_type)

    async with listen(script) as peer:
        call = await stream(peer).run()
    call.failed(plane.FailureClass.CONTENT_TYPE_REFUSED)
    assert call.exchange.body == b"{}"


async def test_a_coding_that_was_not_asked_for(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"x", "200 OK", "Content-Type: Text/Event-Stream", "Content-Encoding: br")

    async with listen(script) as peer:
        call = await stream(peer).run()
    call.failed(plane.FailureClass.PROTOCOL_ERROR, "undecodable_body")


async def test_resumed_from_the_last_event(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        number = peer.peer.connections
        if number == 1:  # a proper end, and half an event
            await peer.send(HEAD + chunk(b"retry: 250\nid: 1\ndata: a\n\nid: 2\ndata: b\n") + END)
        elif number == 2:  # cut off
            await peer.send(HEAD + chunk(b"id: 2\ndata: b\n\n"))
        elif number == 3:
            await peer.send(HEAD + chunk(b"data: c\n\nretry: 99999\nid: 9\n\n"))
            await peer.reset()
        else:
            await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with listen(script) as peer:
        call = await stream(peer, max_reconnects=9, credentials=(REF,)).run()
    call.succeeded()
    assert [(output.data, output.facts["id"]) for output in call.ear.outputs] == [(b"a", "1"), (b"b", "2"), (b"c", "2")]
    asked = [line for request in peer.requests for line in request.split(b"\r\n") if line.startswith(b"Last-Event-ID")]
    assert asked == [b"Last-Event-ID: 1", b"Last-Event-ID: 2", b"Last-Event-ID: 9"]
    assert [(type_, data["wait_ms"]) for type_, _at, data in call.exchange.notes] == [
        ("reconnecting", 250),
        ("reconnecting", 250),
        ("reconnecting", 30_000),
    ]
    assert call.facts["reconnects"] == 3
    assert stream.vault.asked == 4
    assert stream.clock.monotonic() == pytest.approx(30.5)


async def test_reconnects_are_counted(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"retry: 0\ndata: x\n\n"))

    async with listen(script) as peer:
        call = await stream(peer, max_reconnects=2).run()
    call.failed(plane.FailureClass.READ_FAILED, "answer_cut_off")
    assert (peer.connections, call.ear.data, call.facts["reconnects"]) == (3, [b"x"] * 3, 2)
    assert stream.clock.monotonic() == pytest.approx(0.2)  # however little the peer asks for


async def test_a_proper_end_without_reconnects_left_is_one(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n") + END)

    async with listen(script) as peer:
        call = await stream(peer, max_reconnects=1).run()
    call.succeeded()
    assert peer.connections == 2


async def test_a_first_connection_is_tried_once(stream: Streams):
    call = await stream(f"http://127.0.0.1:{closed_port()}/", max_reconnects=5).run()
    call.failed(plane.FailureClass.CONNECT_FAILED)
    assert (call.exchange.bytes_sent, call.facts["reconnects"]) == (0, 0)


async def test_a_peer_that_is_gone_when_the_stream_shall_be_resumed(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n"))
        await peer.request()

    calls: list[Call] = []
    async with anyio.create_task_group() as tasks, listen(script) as peer:
        calls.append(stream(peer, max_reconnects=2))
        tasks.start_soon(calls[0].run)
        await calls[0].ear.heard(1)
    calls[0].failed(plane.FailureClass.PEER_LOST, "connect_failed")


async def test_an_id_that_no_header_carries(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"id: a\x01\ndata: x\n\n") + END)

    async with listen(script) as peer:
        call = await stream(peer, max_reconnects=2).run()
    call.failed(plane.FailureClass.PEER_LOST, "event_id_unfit")
    assert peer.connections == 1


async def test_silence_ends_it(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n"))
        await peer.request()

    async with listen(script) as peer:
        call = await stream(peer, timeouts=plane.StreamTimeouts(idle_ms=50)).run()
        await peer.ended.wait()
    call.failed(plane.FailureClass.IDLE_TIMEOUT)
    assert call.ear.data == [b"x"]


async def test_no_head_in_time(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.request()

    async with listen(script) as peer:
        call = await stream(peer, timeouts=plane.StreamTimeouts(read_ms=50), max_reconnects=3).run()
    call.failed(plane.FailureClass.READ_TIMEOUT)
    assert peer.connections == 1


async def test_enough_events(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n" * 5))
        await peer.request()

    async with listen(script) as peer:
        call = await stream(peer, max_events=3, max_reconnects=3).run()
        await peer.ended.wait()
    call.succeeded()
    assert call.ear.data == [b"x"] * 3


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_event_bytes": 50_000}, "event_too_large"), ({"max_bytes": 50_000}, "stream_too_large")],
)
async def test_too_much(stream: Streams, limits: dict[str, Any], code: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: first\n\ndata: "))
        while True:
            await peer.send(chunk(b"x" * 10_000))

    async with listen(script) as peer:
        call = await stream(peer, max_reconnects=3, **limits).run()
    call.failed(plane.FailureClass.RESPONSE_TOO_LARGE, code)
    assert (call.ear.data, peer.connections) == ([b"first"], 1)


async def test_a_length_that_is_a_lie(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD.replace(b"Transfer-Encoding: chunked", b"Content-Length: 100") + b"data: x\n\n")

    async with listen(script) as peer:
        call = await stream(peer).run()
    call.failed(plane.FailureClass.READ_FAILED, "answer_cut_off")
    assert call.ear.data == [b"x"]


async def test_a_slow_reader_holds_the_peer(stream: Streams):
    line = b"data: " + b"x" * 4000 + b"\n\n"

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD)
        for _ in range(5_000):
            await peer.send(chunk(line))
            sent.append(len(line))
        await peer.send(END)

    sent: list[int] = []
    log = plane.EventLog("exe_1", stream.clock)
    async with listen(script, receive_buffer=65_536) as peer:
        call = stream(peer, plane.Channel(log, plane.Inbox()))
        async with running(call):
            events = log.follow()
            first = await anext(events)
            before = -1
            while before != len(sent):  # as long as the peer gets rid of more
                before = len(sent)
                with anyio.move_on_after(0.1):
                    await call.ended.wait()
            assert sum(sent) < 16_000_000
            assert first.data == b"x" * 4000
            await events.aclose()
    call.succeeded()
    assert call.facts["events"] == 5_000


async def test_cancelled(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n"))
        await peer.request()

    async with listen(script) as peer:
        call = stream(peer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run)
            await call.ear.heard(1)
            tasks.cancel_scope.cancel()
        await peer.ended.wait()
    assert not call.exchange.answered
    assert call.facts["events"] == 1


async def test_a_closed_lane(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n"))
        await peer.request()

    async with listen(script) as peer:
        call = stream(peer)
        async with running(call):
            await call.ear.heard(1)
            await stream.lane.aclose()
        call.failed(plane.FailureClass.READ_FAILED, "answer_cut_off")
        late = await stream(peer).run()
    late.failed(plane.FailureClass.LANE_UNAVAILABLE, "lane_closed")


async def test_all_places_taken():
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n"))
        await peer.request()

    streams = Streams()
    streams.lane = SseLane(credentials=streams.vault, egress=replace(LOOPBACK, max_connections=1))
    async with listen(script) as peer, anyio.create_task_group() as tasks:
        first = streams(peer)
        tasks.start_soon(first.run)
        await first.ear.heard(1)
        second = await streams(peer, timeouts=plane.StreamTimeouts(pool_ms=20)).run()
        second.failed(plane.FailureClass.LANE_UNAVAILABLE)
        tasks.cancel_scope.cancel()


async def test_a_lane_that_closes_while_a_place_is_awaited():
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"data: x\n\n"))
        await peer.request()

    streams = Streams()
    streams.lane = SseLane(credentials=streams.vault, egress=replace(LOOPBACK, max_connections=1))
    async with listen(script) as peer:
        first, second = streams(peer), streams(peer)
        async with running(first):
            await first.ear.heard(1)
            async with running(second):
                await anyio.wait_all_tasks_blocked()
                await streams.lane.aclose()
        first.failed(plane.FailureClass.READ_FAILED, "answer_cut_off")
        second.failed(plane.FailureClass.LANE_UNAVAILABLE, "lane_closed")
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("change", "failure_class"),
    [
        ({"allowed_hosts": ("127.0.0.1:1",)}, plane.FailureClass.HOST_NOT_ALLOWED),
        ({"url": "http://10.0.0.1/", "allowed_hosts": ("10.0.0.1:80",)}, plane.FailureClass.ADDRESS_REFUSED),
    ],
)
async def test_where_it_may_not_go(stream: Streams, change: dict[str, Any], failure_class: plane.FailureClass):
    call = await stream("http://127.0.0.1:9/", **change).run()
    call.failed(failure_class)
    assert call.exchange.bytes_sent == 0


@pytest.mark.faults
async def test_a_thousand_at_once(stream: Streams):
    everyone, arrived = anyio.Event(), 0

    async def script(peer: Conversation) -> None:
        nonlocal arrived
        await peer.request()
        await peer.send(HEAD)
        arrived += 1
        if arrived == 1000:
            everyone.set()
        await everyone.wait()
        await peer.send(chunk(b"data: x\n\n") + END)

    async with listen(script) as peer:
        calls = [stream(peer) for _ in range(1000)]
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(call.run)
    assert peer.connections == 1000
    for call in calls:
        call.succeeded()
        assert call.ear.data == [b"x"]


async def test_through_a_node(stream: Streams):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"id: 4\ndata: a\n\ndata: b\n\n") + END)

    intents = Intents()
    target = plane.LocalTarget("here", target_class=plane.LOCAL_HTTP, lane_id="sse", clock=intents.clock)
    async with listen(script) as peer:
        receipt = await Bench(intents, stream.lane, [target]).execute(stream(peer).intent)
    assert receipt.failure is None
    assert (receipt.lane_id, receipt.status, receipt.body) == ("sse", 200, b"ab")
    assert receipt.facts["last_event_id"] == "4"
