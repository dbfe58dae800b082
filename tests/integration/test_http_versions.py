"""What the HTTP lane promises in whichever version of HTTP, and how the version is chosen."""

import gzip
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_peer import Conversation, Peer, Script, closed_port, listen
from fix_plane import Bench, Intents, check_receipt
from fix_streams import LOOPBACK, PATIENCE, REF, TOKEN, Call, Vault, fields, running
from fix_tls import believed, certificate
from http2_peer import VERSIONS, hypercorn, nghttp2, offering, speaking
from interlock import plane, testing
from interlock.adapters.lanes import Egress, HttpLane, pool
from interlock.adapters.lanes.redirects import MAX_REDIRECTS

pytestmark = pytest.mark.anyio

NOT_SENT, UNKNOWN, RESPONDED = plane.Delivery.NOT_SENT, plane.Delivery.UNKNOWN, plane.Delivery.RESPONDED


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Web:
    """A lane, and peers, that speak one version. Without TLS, where HTTP/2 is a matter of knowing before."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.intents = Intents()
        self.clock = testing.ManualClock()
        self.egress = LOOPBACK
        self._lane: HttpLane | None = None

    @property
    def lane(self) -> HttpLane:
        if self._lane is None:
            self._lane = HttpLane(credentials=Vault(), egress=self.egress)
        return self._lane

    def listen(self, script: Script, **settings: Any) -> AbstractAsyncContextManager[Peer]:
        return listen(script, speaks=speaking(self.version), **settings)

    def intent(self, url: str, **values: Any) -> plane.HttpIntent:
        host = plane.parse_url(url).host_port
        return self.intents.http(url=url, **{"allowed_hosts": (host,), "http_versions": (self.version,), **values})

    async def __call__(self, url: str, **values: Any) -> plane.Receipt:
        """One exchange through a node."""
        with anyio.fail_after(PATIENCE):
            return await Bench(self.intents, self.lane).execute(self.intent(url, **values))

    def call(self, peer: Peer, channel: plane.Channel | None = None, **changes: Any) -> Call:
        """One exchange whose answer comes piece by piece."""
        asked: dict[str, Any] = {"method": "GET", "response_mode": "stream", "http_versions": (self.version,)}
        values: dict[str, Any] = fields(self.clock, peer.url + "/", peer.host) | asked | changes
        return Call(self.lane, plane.HttpIntent(**values), self.clock, channel)

    def upload(self, peer: Peer, **changes: Any) -> Call:
        return self.call(peer, None, **{"method": "POST", "request_mode": "stream", **changes})

    async def aclose(self) -> None:
        await self.lane.aclose()


@pytest.fixture(params=VERSIONS)
async def web(request: pytest.FixtureRequest) -> AsyncGenerator[Web]:
    found = Web(request.param)
    yield found
    await found.aclose()


def failed(receipt: plane.Receipt, failure_class: plane.FailureClass, delivery: plane.Delivery) -> plane.Failure:
    assert receipt.failure is not None, receipt
    assert (receipt.failure.failure_class, receipt.delivery) == (failure_class, delivery), receipt.failure
    return receipt.failure


async def patient(peer: Conversation) -> None:
    """Answers as long as it is asked."""
    while True:
        request = await peer.request()
        await peer.answer(request.split(b" ")[1])


# -- whole


async def test_one_exchange(web: Web):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b'{"ok":true}', "201 Created", "Content-Type: application/json", "Set-Cookie: a=b", "ETag: x")

    sent = {"method": "POST", "body": b'{"title":"x"}', "headers": (("Content-Type", "application/json"),)}
    async with web.listen(script) as peer:
        receipt = await web(f"{peer.url}/issues?q=%20", **sent, credentials=(REF,))
    assert receipt.failure is None
    assert (receipt.status, receipt.body, receipt.delivery) == (201, b'{"ok":true}', RESPONDED)
    assert receipt.headers == (("content-length", "11"), ("content-type", "application/json"), ("etag", "x"))
    [request] = peer.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"POST /issues?q=%20 HTTP/{web.version}"
    for line in (f"Host: {peer.host}", "Content-Length: 13", f"Authorization: Bearer {TOKEN}", "Accept-Encoding: gzip"):
        assert line in lines
    assert body == b'{"title":"x"}'
    assert (receipt.bytes_sent or 0) > len(body) + len(TOKEN) / 2
    assert receipt.evidence[-1].data["peer"] == "127.0.0.1"
    assert receipt.facts.get("http_version") == (None if web.version == "1.1" else "2")


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "429 Too Many Requests", "500 Internal Server Error"])
async def test_a_status_is_no_failure(web: Web, status: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"{}", status)

    async with web.listen(script) as peer:
        receipt = await web(peer.url + "/")
    assert (receipt.failure, receipt.status) == (None, int(status[:3]))


async def test_the_secret_stays_on_the_wire(web: Web, caplog: pytest.LogCaptureFixture):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.begin("200 OK", "Content-Type: text/plain")
        await peer.say(b"short")

    with caplog.at_level("DEBUG"):
        async with web.listen(script) as peer:
            receipt = await web(peer.url + "/", credentials=(REF,))
    failed(receipt, plane.FailureClass.READ_FAILED, UNKNOWN)
    assert TOKEN.encode() in peer.requests[0]
    assert TOKEN not in caplog.text + repr(receipt) + receipt.canonical
    assert "hpack" not in caplog.text


async def test_connections_are_reused_and_no_cookie_is_kept(web: Web):
    async def script(peer: Conversation) -> None:
        while True:
            await peer.request()
            await peer.answer(b"{}", "200 OK", "Set-Cookie: session=1; Path=/")

    async with web.listen(script) as peer:
        for _ in range(3):
            assert (await web(peer.url + "/")).failure is None
    assert peer.connections == 1
    assert not any(b"cookie" in request.lower() for request in peer.requests)


async def test_an_idle_connection_that_the_peer_closed_is_not_used(web: Web):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    async with web.listen(script) as peer:
        assert (await web(peer.url + "/")).failure is None
        await peer.ended.wait()
        await anyio.wait_all_tasks_blocked()
        assert (await web(peer.url + "/", method="POST", body=b"x")).failure is None
    assert peer.connections == 2
    assert pool.KEEPALIVE_SECONDS < 2


async def test_idle_connections_make_room_for_others(web: Web):
    web.egress = replace(LOOPBACK, max_connections=1)
    async with web.listen(patient) as one, web.listen(patient) as other:
        assert (await web(one.url + "/")).failure is None
        assert (await web(other.url + "/")).failure is None
        await one.ended.wait()


async def test_an_answer_longer_than_what_is_read_ahead(web: Web):
    long = bytes(range(256)) * 16_384

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(long)

    async with web.listen(script) as peer:
        assert (await web(peer.url + "/")).body == long


async def script_cut_before(peer: Conversation) -> None:
    await peer.request()


async def script_cut_in_body(peer: Conversation) -> None:
    await peer.request()
    await peer.begin()
    await peer.say(b"{")


async def script_reset(peer: Conversation) -> None:
    await peer.request()
    await peer.reset()


async def script_reset_in_body(peer: Conversation) -> None:
    await script_cut_in_body(peer)
    await peer.reset()


@pytest.mark.parametrize("script", [script_cut_before, script_cut_in_body, script_reset, script_reset_in_body])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_cut_answer_is_unknown_and_not_asked_again(web: Web, script: Script, method: str):
    async with web.listen(script) as peer:
        receipt = await web(peer.url + "/", method=method, body=b"x" if method == "POST" else b"")
    failed(receipt, plane.FailureClass.READ_FAILED, UNKNOWN)
    assert (len(peer.requests), receipt.body) == (1, b"")


async def test_a_peer_that_says_nothing(web: Web):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await anyio.sleep_forever()

    async with web.listen(script) as peer:
        receipt = await web(peer.url + "/", timeouts=plane.Timeouts(read_ms=30))
    failed(receipt, plane.FailureClass.READ_TIMEOUT, UNKNOWN)


async def test_a_peer_that_trickles_is_bounded_by_the_total(web: Web):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.begin()
        while True:
            await peer.say(b".")
            await anyio.sleep(0.005)

    async with web.listen(script) as peer:
        receipt = await web(peer.url + "/", timeouts=plane.Timeouts(read_ms=60_000, total_ms=1_000))
    failed(receipt, plane.FailureClass.TOTAL_TIMEOUT, UNKNOWN)
    assert receipt.status == 200


async def test_a_peer_that_does_not_read(web: Web):
    async def script(_peer: Conversation) -> None:
        await anyio.sleep_forever()

    async with web.listen(script, receive_buffer=4096) as peer:
        receipt = await web(peer.url + "/", method="POST", body=b"x" * 16_000_000, timeouts=plane.Timeouts(write_ms=50))
    failed(receipt, plane.FailureClass.WRITE_TIMEOUT, UNKNOWN)


async def test_the_rest_of_a_request_stays_here_once_the_hold_is_lost(web: Web):
    async def script(peer: Conversation) -> None:
        while True:
            await peer.request()
            await peer.answer()

    asked = count(1)
    async with web.listen(script) as peer:
        bench = Bench(web.intents, web.lane)
        intent = web.intent(peer.url + "/", method="POST", body=b"x" * 16_000_000)
        receipt = await bench.node.execute(
            intent,
            authority=bench.authority(intent),
            target_class=plane.LOCAL_HTTP,
            may_leave=lambda: next(asked) <= 100,
        )
        after = await web(peer.url + "/")
    check_receipt(receipt)
    assert failed(receipt, plane.FailureClass.CANCELLED, UNKNOWN).code == "hold_lost"
    assert 0 < (receipt.bytes_sent or 0) < 16_000_000
    assert after.failure is None
    assert len(peer.requests) == 1


async def test_nothing_leaves_without_a_hold(web: Web):
    async with web.listen(patient) as peer:
        bench = Bench(web.intents, web.lane)
        assert (await web(peer.url + "/")).failure is None
        intent = web.intent(peer.url + "/", method="POST", body=b"x")
        receipt = await bench.node.execute(
            intent, authority=bench.authority(intent), target_class=plane.LOCAL_HTTP, may_leave=lambda: False
        )
        after = await web(peer.url + "/after")
    check_receipt(receipt)
    failed(receipt, plane.FailureClass.AUTHORITY_DENIED, NOT_SENT)
    assert after.body == b"/after"
    assert len(peer.requests) == 2


async def test_an_early_answer_is_read(web: Web):
    """A peer that refuses a long body answers before it has read it."""

    async def script(peer: Any) -> None:
        if web.version == "2":
            await peer.head()
        await peer.answer(b"too much", "413 Content Too Large")
        with anyio.move_on_after(60):
            await peer.request()

    async with web.listen(script) as peer:
        receipt = await web(peer.url + "/", method="POST", body=b"x" * 100_000)
    assert (receipt.failure, receipt.status) == (None, 413)


async def test_nobody_listens(web: Web):
    receipt = await web(f"http://127.0.0.1:{closed_port()}/", method="POST", body=b"x")
    failed(receipt, plane.FailureClass.CONNECT_FAILED, NOT_SENT)


async def test_a_huge_answer_stops_at_the_limit(web: Web):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.begin()
        while True:
            await peer.say(b"x" * 16_384)

    async with web.listen(script) as peer:
        receipt = await web(peer.url + "/", max_response_bytes=1_000_000)
    failed(receipt, plane.FailureClass.RESPONSE_TOO_LARGE, UNKNOWN)


async def test_gzip_is_unpacked(web: Web):
    packed = gzip.compress(b"a" * 1000) + gzip.compress(b"b")

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(packed, "200 OK", "Content-Encoding: gzip")

    async with web.listen(script) as peer:
        receipt = await web(peer.url + "/", max_response_bytes=1001)
    assert (receipt.body, receipt.headers) == (b"a" * 1000 + b"b", ())


def redirecting(*locations: str) -> Script:
    """Redirects along the locations, then answers."""

    async def script(peer: Conversation) -> None:
        for location in locations:
            await peer.request()
            await peer.answer(b"moved", "301 Moved Permanently", f"Location: {location}")
        await peer.request()
        await peer.answer(b"here")

    return script


async def test_a_get_follows_its_own_origin(web: Web):
    async with web.listen(redirecting("/new?x=1", "newer")) as peer:
        receipt = await web(peer.url + "/old", credentials=(REF,))
    assert (receipt.failure, receipt.body, receipt.status) == (None, b"here", 200)
    assert [link.type for link in receipt.evidence] == ["admitted", "redirected", "redirected", "finished"]


async def test_a_write_is_never_sent_again(web: Web):
    async with web.listen(redirecting("/new")) as peer:
        receipt = await web(peer.url + "/old", method="POST", body=b"x")
    assert failed(receipt, plane.FailureClass.REDIRECT_REFUSED, RESPONDED).code == "redirect_of_write"
    assert len(peer.requests) == 1


async def test_redirects_end(web: Web):
    async with web.listen(redirecting(*["/again"] * 10)) as peer:
        receipt = await web(peer.url + "/old")
    assert failed(receipt, plane.FailureClass.REDIRECT_REFUSED, RESPONDED).code == "redirect_loop"
    assert len(peer.requests) == MAX_REDIRECTS + 1


async def test_a_busy_pool_is_not_the_peers_fault(web: Web):
    reached = anyio.Event()

    async def script(peer: Conversation) -> None:
        await peer.request()
        reached.set()
        await anyio.sleep_forever()

    web.egress = replace(LOOPBACK, max_connections=1)
    async with web.listen(script) as peer, anyio.create_task_group() as tasks:
        tasks.start_soon(web, peer.url + "/")
        await reached.wait()
        receipt = await web(peer.url + "/", timeouts=plane.Timeouts(pool_ms=20))
        failed(receipt, plane.FailureClass.LANE_UNAVAILABLE, NOT_SENT)
        tasks.cancel_scope.cancel()


async def test_many_at_once_keep_their_own_answers(web: Web):
    receipts: dict[str, plane.Receipt] = {}
    web.egress = replace(LOOPBACK, max_connections=10)
    async with web.listen(patient) as peer:

        async def one(path: str) -> None:
            receipts[path] = await web(peer.url + path)

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(one, "/" + "x" * number)
    assert {path: receipt.body.decode() for path, receipt in receipts.items()} == {path: path for path in receipts}
    assert len(peer.requests) == 100
    assert peer.connections <= (10 if web.version == "1.1" else 1)


# -- piece by piece


async def test_a_body_as_it_comes(web: Web):
    going = anyio.Event()

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.begin()
        await peer.say(b"first")
        await going.wait()
        await peer.say(b"second")
        await peer.end()

    async with web.listen(script) as peer:
        call = web.call(peer, credentials=(REF,))
        async with running(call):
            await call.ear.heard(2)
            assert not call.exchange.answered
            going.set()
    call.succeeded()
    assert call.ear.data == [b"", b"first", b"second"]


async def test_a_slow_reader_holds_the_peer(web: Web):
    sent = 0

    async def script(peer: Conversation) -> None:
        nonlocal sent
        await peer.request()
        await peer.begin()
        for _ in range(400):
            await peer.say(b"x" * 65_536)
            sent += 1
        await peer.end()

    log = plane.EventLog("exe_1", web.clock)
    async with web.listen(script) as peer:
        call = web.call(peer, plane.Channel(log, plane.Inbox()), max_response_bytes=2**30)
        async with running(call):
            events = log.follow()
            await anext(events)
            before = -1
            while before != sent:  # as long as the peer gets rid of more
                before = sent
                with anyio.move_on_after(0.1):
                    await call.ended.wait()
            assert sent < 350
            await events.aclose()
    call.succeeded()
    assert call.facts["streamed_bytes"] == 400 * 65_536


async def say(call: Call, data: bytes) -> None:
    await call.ear.inbox.send(plane.Input(data=data))


async def test_a_request_as_it_is_sent_in(web: Web):
    bodies: list[bytes] = []

    async def script(peer: Conversation) -> None:
        for _ in range(2):
            bodies.append(await peer.body())
            await peer.answer(b"thanks", "201 Created")

    async with web.listen(script) as peer:
        call = web.upload(peer, response_mode="unary")
        async with running(call):
            for data in (b"a", b"", b"b" * 100_000):
                await say(call, data)
            call.ear.inbox.end()
        again = web.upload(peer)
        await say(again, b"c")
        again.ear.inbox.end()
        await again.run()
    call.succeeded()
    again.succeeded()
    assert (call.exchange.status, call.exchange.body) == (201, b"thanks")
    assert bodies == [b"a" + b"b" * 100_000, b"c"]
    assert peer.connections == 1


async def test_an_answer_before_the_end_of_the_request(web: Web):
    async def script(peer: Any) -> None:
        await (peer.head() if web.version == "2" else peer.request())
        await peer.answer(b"too much", "413 Content Too Large")
        await peer.receive()

    async with web.listen(script) as peer:
        call = web.upload(peer)
        async with running(call):
            await say(call, b"x")
    call.succeeded()
    assert call.ear.data == [b"", b"too much"]


async def test_no_answer_after_the_request(web: Web):
    async def script(peer: Conversation) -> None:
        await peer.body()
        await peer.receive()

    async with web.listen(script) as peer:
        call = web.upload(peer, timeouts=plane.Timeouts(read_ms=50))
        await say(call, b"x")
        call.ear.inbox.end()
        await call.run()
    call.failed(plane.FailureClass.READ_TIMEOUT)


async def test_a_peer_that_takes_no_more_of_a_stream(web: Web):
    async def script(_peer: Conversation) -> None:
        await anyio.sleep_forever()

    async with web.listen(script, receive_buffer=4096) as peer:
        call = web.upload(peer, timeouts=plane.Timeouts(write_ms=100))
        async with running(call):
            await say(call, b"x" * 20_000_000)
    call.failed(plane.FailureClass.WRITE_TIMEOUT)


async def test_a_peer_that_breaks_off(web: Web):
    async def script(peer: Any) -> None:
        await (peer.head() if web.version == "2" else peer.request())
        await peer.reset()

    async with web.listen(script) as peer:
        call = await web.upload(peer).run()
    call.failed(plane.FailureClass.READ_FAILED)
    assert not call.exchange.answered


# -- which version it is


@asynccontextmanager
async def under_tls(tmp_path: Path, *protocols: str, version: str) -> AsyncGenerator[Any]:
    """A peer that chooses one of these, and a call to it."""
    pem = certificate(tmp_path, "127.0.0.1")
    web = Web(version)
    web.egress = Egress(addresses=LOOPBACK.addresses, authorities=believed(pem))
    async with web.listen(patient, tls=offering(pem, *protocols)) as peer:

        async def call(*versions: str, **values: Any) -> plane.Receipt:
            return await web(f"{peer.url}/x", http_versions=versions, **values)

        yield call
        await web.aclose()


@pytest.mark.parametrize(
    ("offered", "accepted", "spoken"),
    [
        (("h2", "http/1.1"), ("1.1", "2"), "2"),
        (("h2", "http/1.1"), ("2",), "2"),
        (("h2", "http/1.1"), ("1.1",), "1.1"),
        (("http/1.1",), ("1.1", "2"), "1.1"),
        ((), ("1.1", "2"), "1.1"),
    ],
)
async def test_the_peer_chooses_under_tls(
    tmp_path: Path, offered: tuple[str, ...], accepted: tuple[str, ...], spoken: str
):
    async with under_tls(tmp_path, *offered, version=spoken) as call:
        receipts = [await call(*accepted) for _ in range(2)]
    for receipt in receipts:
        assert (receipt.failure, receipt.body) == (None, b"/x")
        assert receipt.facts.get("http_version") == (None if accepted == ("1.1",) else spoken)
        assert receipt.evidence[-1].data.get("http_version") == receipt.facts.get("http_version")


@pytest.mark.parametrize("offered", [("http/1.1",), ()])
async def test_nothing_is_sent_to_a_peer_that_does_not_choose_it(tmp_path: Path, offered: tuple[str, ...]):
    async with under_tls(tmp_path, *offered, version="1.1") as call:
        receipt = await call("2", method="POST", body=b"x")
    failed(receipt, plane.FailureClass.TLS_FAILED, NOT_SENT)


async def test_without_tls_the_version_is_not_negotiated():
    async def old(peer: Conversation) -> None:
        request = await peer.request()
        await peer.answer(b"", "200 OK" if request.startswith(b"GET") else "505 HTTP Version Not Supported")

    web = Web("1.1")
    async with web.listen(old) as peer:
        both = await web(peer.url + "/", http_versions=("1.1", "2"))
        alone = await web(peer.url + "/", http_versions=("2",), method="POST", body=b"x")
        await web.aclose()
    assert (both.failure, both.facts["http_version"]) == (None, "1.1")
    assert failed(alone, plane.FailureClass.PROTOCOL_ERROR, NOT_SENT).code == "http2_not_spoken"
    assert [request[:3] for request in peer.requests] == [b"GET", b"PRI"]


async def test_a_peer_that_does_not_say_what_it_speaks():
    async def silent(_peer: Conversation) -> None:
        await anyio.sleep_forever()

    web = Web("1.1")
    async with web.listen(silent) as peer:
        receipt = await web(peer.url + "/", http_versions=("2",), timeouts=plane.Timeouts(connect_ms=50))
        await web.aclose()
    assert failed(receipt, plane.FailureClass.CONNECT_TIMEOUT, NOT_SENT).code == "http2_timeout"


async def test_the_library_is_an_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "interlock.adapters.lanes.http2", raising=False)
    monkeypatch.setitem(sys.modules, "interlock.adapters.lanes.http2_session", None)
    web = Web("2")
    receipt = await web(f"http://127.0.0.1:{closed_port()}/")
    await web.aclose()
    failure = failed(receipt, plane.FailureClass.LANE_UNAVAILABLE, NOT_SENT)
    assert failure.code == "extra_missing"
    assert "interlock[http2]" in failure.message


async def test_connections_of_another_choice_are_not_shared():
    web = Web("1.1")
    async with web.listen(patient) as peer:
        for versions in (("1.1",), ("1.1", "2"), ("1.1",), ("1.1", "2")):
            assert (await web(peer.url + "/", http_versions=versions)).failure is None
        await web.aclose()
    assert peer.connections == 2


def test_an_intent_says_which_versions(intents: Intents):
    assert "http_versions" not in intents.http().record()
    assert intents.http(http_versions=("1.1",)).digest == intents.http().digest
    intent = intents.http(http_versions=("1.1", "2"))
    assert plane.HttpIntent.model_validate_json(intent.canonical) == intent
    assert intent.digest != intents.http().digest
    for wrong in ((), ("2", "1.1"), ("2", "2"), ("3",)):
        with pytest.raises(ValueError, match="http_versions"):
            intents.http(http_versions=wrong)


@pytest.mark.parametrize("secure", [True, False])
async def test_a_server_that_others_made(tmp_path: Path, secure: bool):
    pem = certificate(tmp_path, "127.0.0.1")
    much = 8_000_000
    with hypercorn(pem if secure else None) as host:
        web = Web("2")
        web.egress = Egress(addresses=LOOPBACK.addresses, authorities=believed(pem))
        url = f"{'https' if secure else 'http'}://{host}/"
        receipts: list[plane.Receipt] = []

        async def one(**values: Any) -> None:
            receipts.append(await web(url, **values))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)
        up = await web(url, method="POST", body=b"x" * much)
        down = await web(f"{url}?{much}", max_response_bytes=much + 100)
        gone = await web(f"{url}?{10**8}", max_response_bytes=1000)
        after = await web(url)
        await web.aclose()
    assert [receipt.body for receipt in (*receipts, after)] == [b"HTTP/2 GET 0"] * 11
    assert up.body == b"HTTP/2 POST %d" % much
    assert down.body == b"x" * much + b"HTTP/2 GET 0"
    failed(gone, plane.FailureClass.RESPONSE_TOO_LARGE, UNKNOWN)
    assert all(receipt.facts["http_version"] == "2" for receipt in (*receipts, up, down, after))


@pytest.mark.parametrize("secure", [True, False])
async def test_a_server_in_another_language(tmp_path: Path, secure: bool):
    pem = certificate(tmp_path, "127.0.0.1")
    with nghttp2(pem if secure else None) as host:
        web = Web("2")
        web.egress = Egress(addresses=LOOPBACK.addresses, authorities=believed(pem))
        url = f"{'https' if secure else 'http'}://{host}"
        counted = await web(f"{url}/", method="POST", body=b"x" * 4_000_000)
        echoed = await web(f"{url}/echo", method="POST", body=b"x" * 200_000)
        trailed = await web(f"{url}/trailers")
        refused = await web(f"{url}/refused", method="POST", body=b"x")
        after = await web(f"{url}/")
        await web.aclose()
    assert (counted.body, echoed.body, trailed.body, after.body) == (b"4000000", b"x" * 200_000, b"0", b"0")
    assert counted.headers[0] == ("x-method", "POST")
    assert failed(refused, plane.FailureClass.WRITE_FAILED, plane.Delivery.REJECTED).code == "stream_refused"
