"""A secret in a query: on the wire in every lane and version, and in nothing that is told."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from websockets.frames import Opcode

from fix_peer import Conversation, Peer, Script, listen
from fix_plane import Bench, Intents
from fix_streams import END, HEAD, LOOPBACK, Call, chunk, close, fields, frame, shake_hands
from http2_peer import VERSIONS, speaking
from interlock import kernel, plane, testing
from interlock.adapters import lanes
from rpc_peers import rpc_intent

pytestmark = pytest.mark.anyio

SECRET = "tok/01+23&45=67#89 é"
KEY = plane.QueryCredential(handle="lse_1", name="auth[key]", template="t-{token}")
FORMS = (SECRET, quote(SECRET, safe=""), quote(SECRET))


class Vault:
    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
        assert ref == ("lse_1", "token")
        return kernel.Secret(self.secret)


def query(request: bytes) -> dict[str, list[str]]:
    """What a request asks for, as a server reads it."""
    target = request.split(b" ")[1].decode()
    return parse_qs(urlsplit(target).query, keep_blank_values=True, strict_parsing=True)


def hidden(*told: object) -> bool:
    return not any(form in repr(each) for form in FORMS for each in told)


class Web:
    """A lane, and peers, that speak one version."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.lane = lanes.HttpLane(credentials=Vault(), egress=LOOPBACK)

    def listen(self, script: Script) -> AbstractAsyncContextManager[Peer]:
        return listen(script, speaks=speaking(self.version))

    async def __call__(self, url: str) -> plane.Receipt:
        host, intents = plane.parse_url(url).host_port, Intents()
        asked: dict[str, Any] = {"credentials": (KEY,), "http_versions": (self.version,)}
        intent = intents.http(url=url, allowed_hosts=(host,), **asked)
        receipt = await Bench(intents, self.lane).execute(intent)
        assert hidden(intent, intent.canonical, receipt, receipt.canonical)
        return receipt


@pytest.fixture(params=VERSIONS)
async def call(request: pytest.FixtureRequest) -> AsyncGenerator[Web]:
    web = Web(request.param)
    yield web
    await web.lane.aclose()


async def test_it_is_a_parameter_of_its_own(call: Web, caplog: pytest.LogCaptureFixture):
    async def script(peer: Conversation) -> None:
        for _ in range(2):
            request = await peer.request()
            target = request.split(b" ")[1].decode()
            await peer.answer(b"{}", "200 OK", f"Link: <{target}&page=2>; rel=next", f"X-Said: {SECRET[:-1]}e")

    with caplog.at_level("DEBUG"):
        async with call.listen(script) as peer:
            receipts = [await call(peer.url + path) for path in ("/things?page=1&&q=%20", "/things")]
    shown = {"auth[key]": [f"t-{SECRET}"]}
    assert [query(request) for request in peer.requests] == [{"page": ["1"], "q": [" "], **shown}, shown]
    assert dict(receipts[1].headers)["link"] == f"</things?auth%5Bkey%5D=t-{kernel.REDACTED}&page=2>; rel=next"
    assert hidden(caplog.text)
    assert not any(b"\r\nreferer:" in request.lower() for request in peer.requests)


@pytest.mark.parametrize("way", ["repeats", "drops", "forges"])
async def test_a_redirect_neither_loses_nor_doubles_it(call: Web, way: str):
    async def script(peer: Conversation) -> None:
        asked = (await peer.request()).split(b" ")[1].decode().partition("?")[2]
        leads = {"repeats": f"/new?{asked}", "drops": "/new?page=1", "forges": "/new?page=1&auth%5bkey]=mine"}[way]
        await peer.answer(b"moved", "301 Moved Permanently", f"Location: {leads}")
        await peer.request()
        await peer.answer(b"here")

    async with call.listen(script) as peer:
        receipt = await call(peer.url + "/old?page=1")
    assert (receipt.failure, receipt.body) == (None, b"here")
    assert [query(request) for request in peer.requests] == [{"page": ["1"], "auth[key]": [f"t-{SECRET}"]}] * 2
    assert [link.data for link in receipt.evidence[1:2]] == [{"status": 301, "path": "/new"}]


async def test_a_redirect_elsewhere_takes_it_nowhere(call: Web):
    async def script(peer: Conversation) -> None:
        target = (await peer.request()).split(b" ")[1].decode()
        await peer.answer(b"", "302 Found", f"Location: https://elsewhere.example{target}")

    async with call.listen(script) as peer:
        receipt = await call(peer.url + "/old")
    assert receipt.failure is not None
    assert receipt.failure.code == "redirect_elsewhere"
    assert kernel.REDACTED in dict(receipt.headers)["location"]


async def events(peer: Conversation) -> None:
    await peer.request()
    await peer.send(HEAD + chunk(b"data: x\n\n") + END)


async def messages(peer: Conversation) -> None:
    await shake_hands(peer)
    await peer.send(frame(Opcode.TEXT, b"x") + close(1000))
    await peer.receive()


async def replies(peer: Conversation) -> None:
    await peer.request()
    await peer.answer(b'{"jsonrpc":"2.0","id":1,"result":"x"}', "200 OK", "Content-Type: application/json")


@pytest.mark.parametrize(("kind", "requests"), [("sse", 2), ("websocket", 1), ("jsonrpc", 1)])
async def test_every_lane(kind: str, requests: int):
    clock, vault = testing.ManualClock(), Vault()
    below = lanes.HttpLane(credentials=vault, egress=LOOPBACK)
    lane: plane.Lane
    intent: plane.Intent
    async with listen({"sse": events, "websocket": messages, "jsonrpc": replies}[kind]) as peer:
        match kind:
            case "sse":
                lane = lanes.SseLane(credentials=vault, egress=LOOPBACK)
                values = fields(clock, f"http://{peer.host}/?a=b", peer.host)
                intent = plane.SseIntent(**values, credentials=(KEY,), max_reconnects=1, reconnect_ms=0)
            case "websocket":
                lane = lanes.WebSocketLane(credentials=vault, egress=LOOPBACK)
                intent = plane.WebSocketIntent(**fields(clock, f"ws://{peer.host}/?a=b", peer.host), credentials=(KEY,))
            case _:
                lane = lanes.JsonRpcLane(egress=LOOPBACK, http=below)
                way = plane.HttpTransport(
                    url=f"http://{peer.host}/?a=b", allowed_hosts=(peer.host,), credentials=(KEY,)
                )
                intent = rpc_intent(way, method="m")
        call = await Call(lane, intent, clock).run()
        await lane.aclose()
        await below.aclose()
    call.succeeded()
    assert [query(request) for request in peer.requests] == [{"a": ["b"], "auth[key]": [f"t-{SECRET}"]}] * requests
    assert hidden(call.exchange, intent)


async def test_what_does_not_fit_is_not_sent(intents: Intents):
    lane = lanes.HttpLane(credentials=Vault("the-secret" * 500), egress=LOOPBACK)
    receipt = await Bench(intents, lane).execute(
        intents.http(url="http://127.0.0.1:1/", allowed_hosts=("127.0.0.1:1",), credentials=(KEY,))
    )
    assert receipt.failure is not None
    assert (receipt.failure.code, receipt.delivery) == ("credential_unfit", plane.Delivery.NOT_SENT)
    assert "the-secret" not in receipt.canonical
