"""The HTTP lane against real sockets that misbehave."""

import gzip
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fix_peer import Conversation, Script, closed_port, listen
from fix_plane import Bench, Intents
from fix_streams import LOOPBACK
from interlock import kernel, plane
from interlock.adapters.lanes import Egress, pool
from interlock.adapters.lanes.http import HttpLane

pytestmark = pytest.mark.anyio

TOKEN = "tok_0123456789abcdef"
REF = plane.HeaderCredential(handle="lse_1", name="Authorization", template="Bearer {token}")


class Vault:
    """Gives out one token, or refuses."""

    def __init__(self, token: str = TOKEN, error: kernel.InterlockError | None = None) -> None:
        self.asked: list[tuple[str, str, str, str]] = []
        self._token = token
        self._error = error

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
        self.asked.append((ref.handle, host, tenant_id, run_id))
        if self._error is not None:
            raise self._error
        return kernel.Secret(self._token)


class Caller:
    """Executes intents through a lane."""

    def __init__(self, intents: Intents, lane: HttpLane) -> None:
        self.bench = Bench(intents, lane)
        self._intents = intents

    def intent(self, url: str, **fields: Any) -> plane.HttpIntent:
        return self._intents.http(url=url, **{"allowed_hosts": (plane.parse_url(url).host_port,), **fields})

    async def __call__(self, url: str, **fields: Any) -> plane.Receipt:
        return await self.bench.execute(self.intent(url, **fields))


@asynccontextmanager
async def lane(intents: Intents, **settings: Any) -> AsyncGenerator[Caller]:
    settings = {"credentials": Vault(), "egress": LOOPBACK, **settings}
    caller = Caller(intents, HttpLane(**settings))
    try:
        yield caller
    finally:
        await caller.bench.node.aclose()


def failed(receipt: plane.Receipt, failure_class: plane.FailureClass, delivery: plane.Delivery) -> plane.Failure:
    assert receipt.failure is not None, receipt
    assert (receipt.failure.failure_class, receipt.delivery) == (failure_class, delivery), receipt.failure
    return receipt.failure


NOT_SENT, UNKNOWN, RESPONDED = plane.Delivery.NOT_SENT, plane.Delivery.UNKNOWN, plane.Delivery.RESPONDED


async def test_one_exchange(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b'{"ok":true}', "201 Created", "Content-Type: application/json", "Set-Cookie: a=b", "ETag: x")

    vault = Vault()
    async with listen(script) as peer, lane(intents, credentials=vault) as call:
        receipt = await call(
            f"{peer.url}/issues?q=%20",
            method="POST",
            body=b'{"title":"x"}',
            headers=(("Content-Type", "application/json"),),
            credentials=(REF,),
        )
    assert receipt.failure is None
    assert (receipt.status, receipt.body, receipt.delivery) == (201, b'{"ok":true}', RESPONDED)
    assert receipt.headers == (("content-length", "11"), ("content-type", "application/json"), ("etag", "x"))
    [request] = peer.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /issues?q=%20 HTTP/1.1"
    assert f"Host: {peer.host}" in lines
    assert "Content-Length: 13" in lines
    assert f"Authorization: Bearer {TOKEN}" in lines
    assert "Accept-Encoding: gzip" in lines
    assert body == b'{"title":"x"}'
    assert receipt.bytes_sent == len(request)
    assert receipt.evidence[-1].data["peer"] == "127.0.0.1"
    assert vault.asked == [("lse_1", peer.host, "default", "run_1")]


async def test_what_follows_an_answer_is_no_answer_to_the_next_request(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.request()
        stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + stray)
        await peer.request()

    async with listen(script) as peer, lane(intents) as call:
        assert [(await call(peer.url + "/")).body for _ in range(2)] == [b"{}", b"{}"]
    assert peer.connections == 2


async def script_patient(peer: Conversation) -> None:
    """Answers as long as it is asked."""
    while True:
        await peer.request()
        await peer.answer()


async def test_an_idle_connection_is_closed_after_a_while(intents: Intents, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool, "KEEPALIVE_SECONDS", 0.01)
    async with listen(script_patient) as peer, lane(intents) as call:
        assert (await call(peer.url + "/")).failure is None
        await peer.ended.wait()


async def script_cut_before(peer: Conversation) -> None:
    await peer.request()


async def script_cut_in_headers(peer: Conversation) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")


async def script_cut_in_body(peer: Conversation) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{")


async def script_cut_in_chunk(peer: Conversation) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{")


async def script_cut_between_chunks(peer: Conversation) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")


async def script_reset(peer: Conversation) -> None:
    await peer.request()
    await peer.reset()


async def script_reset_in_body(peer: Conversation) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await peer.reset()


@pytest.mark.parametrize(
    "script",
    [
        script_cut_before,
        script_cut_in_headers,
        script_cut_in_body,
        script_cut_in_chunk,
        script_cut_between_chunks,
        script_reset,
        script_reset_in_body,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_cut_answer_is_unknown_and_not_asked_again(intents: Intents, script: Script, method: str):
    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/", method=method, body=b"x" if method == "POST" else b"")
    failed(receipt, plane.FailureClass.READ_FAILED, UNKNOWN)
    assert len(peer.requests) == 1
    assert receipt.body == b""
    assert receipt.bytes_sent == len(peer.requests[0])


@pytest.mark.parametrize(
    "answer",
    [
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told_apart(intents: Intents, answer: bytes):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(answer)
        await anyio.sleep_forever()

    async with listen(script) as peer, lane(intents) as call:
        failed(await call(peer.url + "/"), plane.FailureClass.PROTOCOL_ERROR, UNKNOWN)


async def test_headers_that_are_too_large_are_told_as_that(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000)
        await anyio.sleep_forever()

    async with listen(script) as peer, lane(intents) as call:
        failure = failed(await call(peer.url + "/"), plane.FailureClass.RESPONSE_TOO_LARGE, UNKNOWN)
    assert failure.code == "headers_too_large"
    assert failure.message == "the headers of the peer's answer have more than 102400 bytes"


async def test_a_body_that_only_its_connection_ends_is_marked(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\nall of it?")

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/")
    assert (receipt.failure, receipt.body) == (None, b"all of it?")
    assert [link.type for link in receipt.evidence] == ["admitted", "ended_by_close", "finished"]


async def test_interim_answers_are_skipped(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await peer.answer()

    async with listen(script) as peer, lane(intents) as call:
        assert (await call(peer.url + "/")).status == 200


async def test_a_peer_that_stops_listening(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.receive()
        await peer.reset()

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/", method="POST", body=b"x" * 8_000_000)
    failed(receipt, plane.FailureClass.WRITE_FAILED, UNKNOWN)


async def test_nobody_listens(intents: Intents):
    async with lane(intents) as call:
        receipt = await call(f"http://127.0.0.1:{closed_port()}/", method="POST", body=b"x")
    failure = failed(receipt, plane.FailureClass.CONNECT_FAILED, NOT_SENT)
    assert "refused" in failure.message


async def test_a_connection_that_is_not_taken(intents: Intents):
    """A listener whose queue is full answers no SYN."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with lane(intents) as call:
            receipt = await call(f"http://127.0.0.1:{port}/", timeouts=plane.Timeouts(connect_ms=50))
        for filler in fillers:
            filler.close()
    failed(receipt, plane.FailureClass.CONNECT_TIMEOUT, NOT_SENT)


async def test_an_unknown_name(intents: Intents, monkeypatch: pytest.MonkeyPatch):
    async def nothing(*_args: object, **_kwargs: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", nothing)
    async with lane(intents) as call:
        receipt = await call("http://nowhere.invalid/")
    assert "not known" in failed(receipt, plane.FailureClass.DNS_FAILED, NOT_SENT).message


async def test_a_name_server_that_says_nothing(intents: Intents, monkeypatch: pytest.MonkeyPatch):
    async def hang(*_args: object, **_kwargs: object) -> list[Any]:
        await anyio.sleep_forever()
        return []

    monkeypatch.setattr(anyio, "getaddrinfo", hang)
    async with lane(intents) as call:
        receipt = await call("http://nowhere.invalid/", timeouts=plane.Timeouts(connect_ms=20))
    assert failed(receipt, plane.FailureClass.DNS_FAILED, NOT_SENT).code == "dns_timeout"


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name have these addresses; returns the names that were asked for."""
    asked: list[str] = []

    async def answer(host: str, port: int, **_kwargs: object) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(anyio, "getaddrinfo", answer)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"])
async def test_a_name_that_leads_inside_is_refused(intents: Intents, monkeypatch: pytest.MonkeyPatch, address: str):
    resolves_to(monkeypatch, address)
    async with lane(intents, egress=Egress(addresses=plane.AddressPolicy())) as call:
        receipt = await call("http://rebound.example/", credentials=(REF,))
    failure = failed(receipt, plane.FailureClass.ADDRESS_REFUSED, NOT_SENT)
    assert address in failure.message


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://[::ffff:127.0.0.1]:1/", "http://0.0.0.0:1/"]
)
async def test_a_literal_inside_address_is_refused(intents: Intents, url: str):
    async with lane(intents, egress=Egress(addresses=plane.AddressPolicy())) as call:
        failed(await call(url), plane.FailureClass.ADDRESS_REFUSED, NOT_SENT)


async def test_the_checked_address_is_the_one_connected_to(intents: Intents, monkeypatch: pytest.MonkeyPatch):
    """Refused addresses are passed over, dead ones are skipped, and the name is asked for once."""

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    asked = resolves_to(monkeypatch, "10.0.0.1", "127.0.0.2", "127.0.0.1")
    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(f"http://service.example:{peer.port}/")
    assert receipt.failure is None
    assert receipt.evidence[-1].data["peer"] == "127.0.0.1"
    assert asked == ["service.example"]
    assert f"Host: service.example:{peer.port}".encode() in peer.requests[0]


async def test_a_host_that_the_lease_does_not_name(intents: Intents):
    vault = Vault()
    async with lane(intents, credentials=vault) as call:
        receipt = await call("http://127.0.0.1:1/", allowed_hosts=("127.0.0.1:2",), credentials=(REF,))
    failed(receipt, plane.FailureClass.HOST_NOT_ALLOWED, NOT_SENT)
    assert vault.asked == []


async def test_no_credential_no_call(intents: Intents):
    error = kernel.RequestError("the lease has expired")
    async with lane(intents, credentials=Vault(error=error)) as call:
        receipt = await call("http://127.0.0.1:1/", credentials=(REF,))
    assert failed(receipt, plane.FailureClass.CREDENTIAL_UNAVAILABLE, NOT_SENT).code == "invalid_request"


async def test_a_secret_that_would_break_the_header(intents: Intents):
    async with lane(intents, credentials=Vault(token="abcdefgh\r\nX: y")) as call:
        receipt = await call("http://127.0.0.1:1/", credentials=(REF,))
    failure = failed(receipt, plane.FailureClass.CREDENTIAL_UNAVAILABLE, NOT_SENT)
    assert failure.code == "credential_unfit"
    assert "abcdefgh" not in receipt.canonical


async def test_a_request_beyond_the_limit(intents: Intents):
    async with lane(intents, max_request_bytes=10) as call:
        receipt = await call("http://127.0.0.1:1/", method="POST", body=b"x" * 11)
    failed(receipt, plane.FailureClass.REQUEST_TOO_LARGE, NOT_SENT)


@pytest.mark.parametrize("framing", ["length", "chunked", "close", "lies"])
async def test_a_huge_answer_stops_at_the_limit(intents: Intents, framing: str):
    header = {
        "length": b"Content-Length: 1000000000\r\n",
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "close": b"",
        "lies": b"Content-Length: 1000000000000000\r\n",
    }[framing]

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n")
        while True:
            chunk = b"x" * 65536
            await peer.send(b"10000\r\n" + chunk + b"\r\n" if framing == "chunked" else chunk)

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/", max_response_bytes=1_000_000)
    failed(receipt, plane.FailureClass.RESPONSE_TOO_LARGE, UNKNOWN)


async def test_a_gzip_bomb_is_not_unpacked(intents: Intents):
    bomb = gzip.compress(b"\0" * 50_000_000)

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(bomb, "200 OK", "Content-Encoding: gzip")

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/", max_response_bytes=1_000_000)
    assert len(bomb) < 1_000_000
    failed(receipt, plane.FailureClass.RESPONSE_TOO_LARGE, UNKNOWN)


@pytest.mark.parametrize(
    ("coding", "body"),
    [("br", b"xx"), ("gzip, gzip", b"xx"), ("gzip", b"not gzip"), ("gzip", gzip.compress(b"hello", mtime=0)[:-4])],
)
async def test_an_unreadable_coding(intents: Intents, coding: str, body: bytes):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(body, "200 OK", f"Content-Encoding: {coding}")

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/")
    assert failed(receipt, plane.FailureClass.PROTOCOL_ERROR, UNKNOWN).code == "undecodable_body"


async def test_a_head_has_headers_of_a_body_and_none(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Encoding: gzip\r\n\r\n")

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/", method="HEAD")
    assert (receipt.failure, receipt.status, receipt.body) == (None, 200, b"")


def redirecting(*locations: str) -> Script:
    """Redirects along the locations, then answers."""

    async def script(peer: Conversation) -> None:
        for location in locations:
            await peer.request()
            await peer.answer(b"moved", "301 Moved Permanently", f"Location: {location}")
        await peer.request()
        await peer.answer(b"here")

    return script


async def test_a_get_follows_its_own_origin(intents: Intents):
    async with listen(redirecting("/new?x=1", "newer")) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/old", credentials=(REF,))
    assert (receipt.failure, receipt.body, receipt.status) == (None, b"here", 200)
    assert [link.type for link in receipt.evidence] == ["admitted", "redirected", "redirected", "finished"]
    assert [link.data for link in receipt.evidence[1:3]] == [
        {"status": 301, "path": "/new"},
        {"status": 301, "path": "/newer"},
    ]
    assert receipt.bytes_sent == sum(map(len, peer.requests))


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://evil.example/", "redirect_elsewhere"),
        ("//evil.example/", "redirect_elsewhere"),
        ("http://127.0.0.1:1/", "redirect_elsewhere"),
        ("http://user@127.0.0.1/", "redirect_unreadable"),
        ("javascript:x", "redirect_unreadable"),
    ],
)
async def test_a_redirect_elsewhere_is_refused(intents: Intents, location: str, code: str):
    async with listen(redirecting(location)) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/", credentials=(REF,))
    assert failed(receipt, plane.FailureClass.REDIRECT_REFUSED, RESPONDED).code == code
    assert (receipt.status, receipt.body) == (301, b"moved")
    assert len(peer.requests) == 1


async def test_a_redirect_into_nothing_has_no_status(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer(b"moved", "302 Found", "Location: /new")
        await peer.request()

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/old")
    failed(receipt, plane.FailureClass.READ_FAILED, UNKNOWN)
    assert (receipt.status, receipt.headers) == (None, ())


@pytest.mark.parametrize("status", ["304 Not Modified", "300 Multiple Choices", "302 Found"])
async def test_what_leads_nowhere_is_an_answer(intents: Intents, status: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 {status}\r\nETag: x\r\nContent-Length: 0\r\n\r\n".encode())

    async with listen(script) as peer, lane(intents) as call:
        receipt = await call(peer.url + "/")
    assert (receipt.failure, receipt.status) == (None, int(status[:3]))


async def test_a_cancelled_call_closes_its_connection(intents: Intents):
    reached = anyio.Event()

    async def script(peer: Conversation) -> None:
        await peer.request()
        reached.set()
        await peer.request()

    receipts: list[plane.Receipt] = []
    async with listen(script) as peer, lane(intents) as call:
        intent = call.intent(peer.url + "/", method="POST", body=b"x")

        async def execute() -> None:
            await call.bench.node.execute(
                intent,
                authority=call.bench.authority(intent),
                target_class=plane.LOCAL_HTTP,
                on_receipt=receipts.append,
            )

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(execute)
            await reached.wait()
            tasks.cancel_scope.cancel()
        await peer.ended.wait()
        after = await call(f"http://127.0.0.1:{closed_port()}/")
    failed(receipts[0], plane.FailureClass.CANCELLED, UNKNOWN)
    failed(after, plane.FailureClass.CONNECT_FAILED, NOT_SENT)


async def test_many_at_once_keep_their_own_counts(intents: Intents):
    async def script(peer: Conversation) -> None:
        while True:
            request = await peer.request()
            await peer.answer(request.split(b" ")[1])

    receipts: dict[str, plane.Receipt] = {}
    async with listen(script) as peer, lane(intents, egress=replace(LOOPBACK, max_connections=10)) as call:

        async def one(path: str) -> None:
            receipts[path] = await call(peer.url + path)

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(one, "/" + "x" * number)
    assert len(receipts) == 100
    lengths = {request.split(b" ")[1].decode(): len(request) for request in peer.requests}
    for path, receipt in receipts.items():
        assert receipt.body.decode() == path
        assert receipt.bytes_sent == lengths[path]
    assert peer.connections <= 10


async def test_a_closed_lane_takes_nothing(intents: Intents):
    async with lane(intents) as call:
        await call.bench.node.aclose()
        receipt = await call("http://127.0.0.1:1/")
    assert failed(receipt, plane.FailureClass.LANE_UNAVAILABLE, NOT_SENT).code == "lane_closed"


async def test_the_environment_is_not_read(intents: Intents, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")

    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    async with listen(script) as peer, lane(intents) as call:
        assert (await call(peer.url + "/")).failure is None
