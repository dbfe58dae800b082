"""The connect pages over sockets: whoever speaks wrongly, slowly or at length gets a page that says so, and harms nobody."""

import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio
import anyio.to_thread
import httpx2
import pytest

from fix_pages import Place
from interlock import server
from interlock.server import connect, wire

pytestmark = pytest.mark.anyio


@dataclass
class Wired:
    """The pages at a port."""

    place: Place
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def browser(self) -> httpx2.AsyncClient:
        self.place.browsers.append(httpx2.AsyncClient(base_url=self.origin, follow_redirects=True))
        return self.place.browsers[-1]

    async def leave(self, browser: httpx2.AsyncClient) -> str:
        """The address that the service leads a person back to."""
        self.place.service.redirect_uri = f"{self.origin}/oauth/callback"
        begun = await self.place.il.connections.installs.begin("acme", profile="oauth2")
        return await self.place.go(browser, f"{self.origin}/connect/{begun.link.reveal()}")

    async def say(self, *parts: bytes) -> bytes:
        """What is answered to that, until the end."""
        heard = b""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            try:
                for part in parts:
                    await stream.send(part.replace(b"HOST", b"Host: 127.0.0.1:%d\r\nConnection: close" % self.port))
                while True:
                    heard += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return heard


@pytest.fixture
async def wired(place: Place) -> AsyncGenerator[Wired]:
    made = Wired(place, 0)

    def make(port: int) -> server.ConnectPages:
        made.port = port
        return server.ConnectPages(place.il, origin=f"http://127.0.0.1:{port}")

    async with server.serve_pages(make, host="127.0.0.1", port=0):
        yield made


FORM = b"POST /connect/account/ins_1 HTTP/1.1\r\nHOST\r\n"
HEADERS = (
    b"cache-control: no-store", b"content-security-policy: default-src 'none'", b"frame-ancestors 'none'",
    b"referrer-policy: no-referrer", b"x-content-type-options: nosniff", b"content-type: text/html",
)  # fmt: skip
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
WRONG = {
    "no HTTP": (b"garbage\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nHOST", 421),
    "no host": (b"GET / HTTP/1.0\r\n\r\n", 421),
    "two hosts": (b"GET / HTTP/1.1\r\nHOST\r\nHost: x\r\n\r\n", 400),
    "another host": (b"GET http://evil/ HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n", 421),
    "a tunnel": (b"CONNECT evil:443 HTTP/1.1\r\nHOST\r\n\r\n", 404),
    "no such path": (b"GET /connect/%ff%00/x HTTP/1.1\r\nHOST\r\n\r\n", 404),
    "no such link": (b"GET /connect/%ff%00 HTTP/1.1\r\nHOST\r\n\r\n", 404),
    "a wrong method": (b"DELETE /connect/x HTTP/1.1\r\nHOST\r\n\r\n", 405),
    "a senseless query": (b"GET /oauth/callback?%ff=%00&state=%ff HTTP/1.1\r\nHOST\r\n\r\n", 400),
    "a WebSocket": (b"GET /connect/x HTTP/1.1\r\nHost: x\r\n" + UPGRADE, 404),
    "a broken body": (FORM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "a large body": (FORM + b"Content-Length: 10000000\r\n\r\n" + b"a" * 1_000, 404),
    "a large head": (b"GET / HTTP/1.1\r\nHOST\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 413),
}  # fmt: skip


async def test_a_wrong_request_is_answered_by_a_page(wired: Wired):
    told: dict[str, int] = {}
    for name, (sent, status) in WRONG.items():
        head, _, page = (await wired.say(sent)).partition(b"\r\n\r\n")
        told[name] = int(head.split()[1])
        assert not [each for each in HEADERS if each not in head], name
        assert b"<main><h1>" in page, name
        assert (b"allow: " in head) == (status == 405), name
    assert told == {name: status for name, (_, status) in WRONG.items()}


async def test_health_and_heads_are_answered_to_all(wired: Wired):
    for sent in (
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"HEAD /healthz HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n",
    ):
        answer = await wired.say(sent)
        assert answer.startswith(b"HTTP/1.1 204")
        assert b"frame-ancestors 'none'" in answer
    link = (await wired.place.link()).rpartition("/")[2].encode()
    head, _, page = (await wired.say(b"HEAD /connect/" + link + b" HTTP/1.1\r\nHOST\r\n\r\n")).partition(b"\r\n\r\n")
    assert (head.split()[1], page) == (b"200", b"")


async def test_a_form_of_a_person_is_small(wired: Wired):
    browser = wired.browser()
    back = await browser.get(await wired.leave(browser))
    told = await browser.post(back.url, data={"proof": "x" * 5_000})
    assert (told.status_code, "Too much" in told.text) == (413, True)
    assert "is connected" in (await wired.place.agree(browser, back)).text


async def test_a_crowd_turns_nobody_away_who_is_being_answered(wired: Wired, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wire, "MAX_STRANGERS", 2)
    browser, answers = wired.browser(), list[httpx2.Response]()
    callback = await wired.leave(browser)
    asked, answered = wired.place.service.holds = (threading.Event(), threading.Event())

    async def come_back() -> None:
        answers.append(await browser.get(callback))

    async with anyio.create_task_group() as tasks, AsyncExitStack() as crowd:
        tasks.start_soon(come_back)
        await anyio.to_thread.run_sync(asked.wait)
        for _ in range(5):
            await crowd.enter_async_context(await anyio.connect_tcp("127.0.0.1", wired.port))
        assert (await wired.say(b"GET /healthz HTTP/1.0\r\n\r\n")).split()[1] == b"204"
        answered.set()
    assert "Is this right?" in answers[0].text


async def test_who_reads_no_answers_keeps_nobody_out(wired: Wired, monkeypatch: pytest.MonkeyPatch):
    asked = b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 4_000
    monkeypatch.setattr(wire, "MAX_CONNECTIONS", 2)
    async with AsyncExitStack() as crowd:
        for _ in range(2):
            deaf = await crowd.enter_async_context(await anyio.connect_tcp("127.0.0.1", wired.port))
            with anyio.move_on_after(0.5):
                await deaf.send(asked)
        assert (await wired.say(b"GET /healthz HTTP/1.0\r\n\r\n")).split()[1] == b"204"


async def test_who_trickles_is_not_waited_for(wired: Wired, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.1)
    assert await wired.say(b"GET /healthz HTTP/1.1\r\nHost: 127") == b""
    assert await wired.say() == b""


async def test_who_comes_when_there_are_too_many_sees_a_page(wired: Wired, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wire, "MAX_CONNECTIONS", 0)
    answer = await wired.say()
    assert (answer.split()[1], b"Too many people are here" in answer) == (b"503", True)


async def test_a_store_that_does_not_answer_makes_the_server_unwell(wired: Wired, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connect, "HEALTH_SECONDS", 0.0)
    assert (await wired.say(b"GET /healthz HTTP/1.0\r\n\r\n")).split()[1] == b"503"
    wired.place.il._parts.store.close()
    monkeypatch.undo()
    assert (await wired.say(b"GET /healthz HTTP/1.0\r\n\r\n")).split()[1] == b"503"


async def test_why_nothing_can_listen_is_said(place: Place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        places = {("127.0.0.1", taken.getsockname()[1]): "address already in use", ("nowhere.invalid", 1): "name"}
        for (host, port), why in places.items():
            with pytest.raises(server.CannotServe, match=why):
                async with server.serve_pages(lambda _: place.pages, host=host, port=port):
                    pass
