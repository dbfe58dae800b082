"""Deliveries over a real socket, and what is refused before anybody looks whose address it is."""

import base64
import gzip
import hashlib
import hmac
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fix_webhooks import ANN, BODY, SECRET, Post, signed
from interlock import server, testing
from interlock.adapters import sql
from interlock.adapters.sql.errors import RowRefused
from interlock.server import bodies, hooks
from interlock.triggers import webhooks

pytestmark = pytest.mark.anyio

ORIGIN = "https://hooks.acme.dev"


@asynccontextmanager
async def listening(post: Post) -> AsyncGenerator[int]:
    ports: list[int] = []

    def make(port: int) -> server.Hooks:
        ports.append(port)
        return server.Hooks(post.intake, origin=ORIGIN)

    async with server.serve_pages(make, host="127.0.0.1", port=0):
        yield ports[0]


@pytest.fixture
def memory(memory_store: sql.SqlStore) -> Post:
    return Post(memory_store, testing.ManualClock())


def head(made: webhooks.Made, *lines: str, method: str = "POST") -> bytes:
    assert made.token is not None
    return "\r\n".join([f"{method} /hooks/{made.token.reveal()} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


async def said(port: int, *parts: bytes) -> bytes:
    """What comes back to these bytes."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        for part in parts:
            await stream.send(part)
        with anyio.fail_after(60):
            return await stream.receive()


def spelled(request: webhooks.Incoming, *, upper: bool = False) -> list[str]:
    return [f"{name.upper() if upper else name}: {value}" for name, value in request.headers]


async def test_a_delivery_is_answered_once_it_is_kept(post: Post):
    made = await post.make()
    async with listening(post) as port, httpx2.AsyncClient() as service:
        assert made.token is not None
        url = f"http://127.0.0.1:{port}/hooks/{made.token.reveal()}"
        request = signed()
        for _ in range(2):
            answer = await service.post(url, content=request.body, headers=dict(request.headers))
            assert (answer.status_code, answer.content) == (200, b"")
        (kept,) = await post.kept(webhooks.DeliveryState.ACCEPTED)
        assert kept.headers["x-hub-event"] == "issues"
        forged = await service.post(url, content=request.body + b" ", headers=dict(request.headers))
        unknown = await service.post(url[:-1] + "_", content=request.body, headers=dict(request.headers))
        assert forged.status_code == unknown.status_code == 401
        assert {**forged.headers, "date": ""} == {**unknown.headers, "date": ""}
    assert len(post.admitted) == 1


async def test_header_names_come_in_any_case_and_bodies_in_chunks(memory: Post):
    made, request = await memory.make(), signed()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (request.body[:9], request.body[9:]))
    async with listening(memory) as port:
        lines = [*spelled(request, upper=True), "Transfer-Encoding: chunked"]
        assert b" 200 " in await said(port, head(made, *lines), chunks + b"0\r\n\r\n")
    assert len(memory.admitted) == 1


async def test_a_repeated_header_is_refused(memory: Post):
    made, request = await memory.make(), signed()
    async with listening(memory) as port:
        lines = [*spelled(request), "X-HUB-SIGNATURE: sha256=00", f"Content-Length: {len(request.body)}"]
        assert b" 401 " in await said(port, head(made, *lines) + request.body)
    (kept,) = await memory.kept()
    assert kept.reason == "repeated_header"


async def test_what_is_compressed_is_not_opened(memory: Post):
    made, request = await memory.make(), signed()
    small = gzip.compress(b"0" * 50_000_000, 1)[:1000]
    async with listening(memory) as port:
        lines = [*spelled(request), "Content-Encoding: gzip", f"Content-Length: {len(small)}"]
        assert b" 415 " in await said(port, head(made, *lines) + small)


@pytest.mark.parametrize("stated", [f"Content-Length: {hooks.MAX_BODY + 1}", "Content-Length: 99999999999999999999"])
async def test_what_is_too_large_is_refused_before_it_is_read(memory: Post, stated: str):
    made = await memory.make()
    async with listening(memory) as port:
        answer = await said(port, head(made, stated))
    assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


async def test_what_says_in_two_ways_where_it_ends_is_refused(memory: Post):
    made, body = await memory.make(), signed().body
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    lines = [*spelled(signed()), f"Content-Length: {len(chunked)}", "Transfer-Encoding: chunked"]
    async with listening(memory) as port:
        assert (await said(port, head(made, *lines), chunked)).startswith(b"HTTP/1.1 400")
    assert await memory.kept() == []


async def test_what_grows_too_large_is_refused(memory: Post, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hooks, "MAX_BODY", 100)
    made = await memory.make()
    async with listening(memory) as port:
        answer = await said(port, head(made, "Transfer-Encoding: chunked"), b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_route_takes_as_much_as_its_verification_says(memory: Post):
    made = await memory.make()  # as GitHub: 25 MiB
    small = await memory.make(verification={"scheme": "github", "header": "X-Hub-Signature", "max_bytes": 2048})
    request = signed({**BODY, "more": "x" * 6_000_000})
    async with listening(memory) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as service:

        async def post(token: str, body: bytes) -> int:
            answer = await service.post(f"/hooks/{token}", content=body, headers=dict(request.headers), timeout=60)
            return answer.status_code

        assert made.token is not None
        assert small.token is not None
        assert await post(made.token.reveal(), request.body) == 200
        assert await post(small.token.reveal(), request.body) == 413
        assert await post(small.token.reveal(), request.body + b" ") == await post("A" * 22, request.body) == 401
    reasons = [each.reason for each in await memory.kept(webhooks.DeliveryState.REJECTED)]
    assert sorted(map(str, reasons)) == ["bad_signature", "too_large"]
    # A run holds no more than a megabyte: it says where the rest is, and its handler gets all of it.
    (event,) = memory.admitted
    kept: Any = event.payload["signal"]
    assert (kept["dataref"], "data" in kept) == (event.payload["delivery_id"], False)
    whole: Any = await memory.deliveries.unpack("t1", event.payload)
    assert whole["signal"]["data"] == {**BODY, "more": "x" * 6_000_000}
    with pytest.raises(webhooks.DeliveryNotFound):
        await memory.deliveries.unpack("t2", event.payload)


async def test_what_is_read_at_once_is_bounded_and_strangers_take_none_of_it(
    memory: Post, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hooks, "MAX_HELD", 300_000)
    made, part = await memory.make(), b"x" * 200_000
    lines = (f"Content-Length: {len(part) + 1}",)
    async with listening(memory) as port:
        for stranger in range(3):
            asked = f"POST /hooks/{'B' * 21}{stranger} HTTP/1.1\r\nHost: x\r\n{lines[0]}\r\n\r\n".encode()
            assert b" 401 " in await said(port, asked + part + b"!")
        answers, number = dict[int, bytes](), 0
        refused = anyio.Event()
        async with await anyio.connect_tcp("127.0.0.1", port) as one, await anyio.connect_tcp("127.0.0.1", port) as two:

            async def hear(number: int) -> None:
                answers[number] = await (one, two)[number].receive()
                refused.set()

            with anyio.fail_after(60):
                async with anyio.create_task_group() as tasks:
                    for number, stream in enumerate((one, two)):
                        await stream.send(head(made, *lines) + part)
                        tasks.start_soon(hear, number)
                    await refused.wait()
                    ((number, answer),) = answers.items()
                    assert b" 503 " in answer
                    await (one, two)[1 - number].send(b"!")
        assert b" 401 " in answers[1 - number]
        assert b" 401 " in await said(port, head(made, *lines) + part + b"!")


@pytest.mark.parametrize("to", ["known", "unknown"])
async def test_what_comes_too_slowly_is_refused_whosever_address_it_is(
    memory: Post, monkeypatch: pytest.MonkeyPatch, to: str
):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    made = await memory.make()
    asked = head(made, "Content-Length: 9")
    if to == "unknown":
        asked = b"POST /hooks/" + b"A" * 22 + asked[asked.index(b" HTTP/1.1") :]
    async with listening(memory) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(asked + b"{")
        with anyio.fail_after(60):
            answer = await stream.receive()
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"\r\nconnection: close\r\n" in answer.lower()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
    assert await memory.kept() == []


async def test_other_methods_and_addresses_say_nothing(memory: Post):
    made = await memory.make()
    async with listening(memory) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as browser:
        assert made.token is not None
        assert (await browser.get(f"/hooks/{made.token.reveal()}")).status_code == 405
        assert (await browser.get("/hooks/" + "A" * 22)).status_code == 405
        for path in ("/hooks/", "/hooks/x", "/hooks/" + "A" * 22 + "/x", "/hooks/" + "%2e" * 22, "/hooks//" + "A" * 21):
            assert (await browser.post(path)).status_code == 404


async def test_a_store_that_is_gone_asks_the_service_to_come_again(memory: Post):
    made, request = await memory.make(), signed()
    await memory.send(made, signed({**BODY, "n": 1}))
    memory.fail = sql.StoreUnavailable("gone")
    async with listening(memory) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as service:
        assert made.token is not None
        path = f"/hooks/{made.token.reveal()}"
        answer = await service.post(path, content=request.body, headers=dict(request.headers))
        assert (answer.status_code, answer.headers["retry-after"], answer.content) == (503, "5", b"")
        memory.fail = None
        assert (await service.post(path, content=request.body, headers=dict(request.headers))).status_code == 200
    assert len(await memory.kept(webhooks.DeliveryState.ACCEPTED)) == 2


async def test_no_log_has_a_secret_a_token_or_what_came(memory: Post, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    scheme = {"scheme": "gitlab_token"}
    signing, plain = await memory.make(), await memory.make(verification=scheme)
    planted = {"note": "planted-in-the-body", **BODY}
    right, wrong = signed(planted), signed(planted, secret="planted-wrong-secret")
    shown = [("x-gitlab-token", SECRET), ("x-gitlab-event-uuid", "7"), ("authorization", "Bearer planted-in-a-header")]
    async with listening(memory) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as service:

        async def send(made: webhooks.Made, body: bytes, headers: Any) -> int:
            assert made.token is not None
            path = f"/hooks/{made.token.reveal()}?key=planted-in-the-query"
            return (await service.post(path, content=body, headers=headers)).status_code

        for fail in (None, sql.StoreUnavailable("gone"), ValueError(f"{SECRET} planted-in-an-error")):
            memory.fail = fail
            answers = [
                await send(signing, right.body, dict(right.headers)),
                await send(signing, wrong.body, dict(wrong.headers)),
                await send(signing, b"planted-and-no-json", dict(signed(raw=b"planted-and-no-json").headers)),
                await send(plain, right.body, dict(shown)),
                await send(plain, right.body, {"x-gitlab-token": "planted-wrong-token"}),
            ]
            assert answers[1:3] + answers[4:] == [401, 400, 401]
    assert 500 in answers
    assert any("broke: ValueError" in line for line in ours(caplog))
    tokens = [each.token.reveal() for each in (signing, plain) if each.token is not None]
    assert [each for each in (SECRET, "planted", *tokens) if any(each in line for line in ours(caplog))] == []


async def test_what_breaks_here_is_logged_with_its_route_once_a_second(memory: Post, caplog: pytest.LogCaptureFixture):
    made, clock = await memory.make(), testing.ManualClock()
    assert made.token is not None
    front = server.Hooks(memory.intake, origin=ORIGIN, clock=clock)
    path = f"/hooks/{made.token.reveal()}"
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=front), base_url=ORIGIN) as service:

        async def send(number: int, fail: Exception) -> int:
            request, memory.fail = signed({**BODY, "n": number}), fail
            return (await service.post(path, content=request.body, headers=dict(request.headers))).status_code

        refused = RowRefused("the row was refused")
        assert [await send(1, refused), await send(2, refused), await send(3, KeyError("x"))] == [500, 500, 500]
        clock.advance(1)
        assert await send(4, refused) == 500
    lines = [each.getMessage().partition("\n")[0] for each in caplog.records if each.name == "interlock.server.hooks"]
    kinds = ("RowRefused", "KeyError", "RowRefused")
    assert lines == [f"a delivery to the route {made.route.route_id} broke: {kind}" for kind in kinds]


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What Interlock has logged, with what hangs on it; not the client of the test."""
    return [
        f"{each.getMessage()} {each.exc_text} {each.__dict__}"
        for each in caplog.records
        if not each.name.startswith(("httpx", "httpcore"))
    ]


async def test_a_challenge_is_answered(memory: Post):
    made = await memory.make(
        webhooks.Wanted(name="changed", handler="sync"), connector="tasks", verification={"scheme": "microsoft_graph"}
    )
    async with listening(memory) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as service:
        assert made.token is not None
        answer = await service.post(f"/hooks/{made.token.reveal()}?validationToken=%3Cb%3Ex")
        assert (answer.status_code, answer.text) == (200, "<b>x")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_url_under_the_signature_is_the_routes_own(memory: Post):
    secret, form = "s3cret-of-the-route", b"From=%2B1&To=%2B2"
    made = await memory.make(
        webhooks.Wanted(name="changed", handler="sync"), connector="tasks", verification={"scheme": "twilio"}
    )
    assert made.token is not None
    path = f"/hooks/{made.token.reveal()}?a=%20b"
    signature = hmac.new(secret.encode(), f"{ORIGIN}{path}From+1To+2".encode(), hashlib.sha1).digest()
    headers = {"X-Twilio-Signature": base64.b64encode(signature).decode()}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    async with listening(memory) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as service:
        assert (await service.post(path, content=form, headers=headers)).status_code == 200
        assert (await service.post(path + "c", content=form, headers=headers)).status_code == 401
    (kept,) = await memory.kept(webhooks.DeliveryState.ACCEPTED, caller=ANN)
    assert len(memory.admitted) == 1
    assert kept.size == len(form)


async def test_what_discord_reports_and_asks_is_answered_as_it_wants(memory: Post):
    key = Ed25519PrivateKey.generate()
    made = await memory.make(
        webhooks.Wanted(name="changed", handler="sync"),
        connector="tasks",
        verification={"scheme": "discord_events"},
        secret=key.public_key().public_bytes_raw().hex(),
    )
    assert made.token is not None
    stamp = str(int(memory.clock.now().timestamp()))
    bodies = (b'{"version":1,"type":0}', b'{"version":1,"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}')
    shown: dict[str, str] = {}
    async with listening(memory) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as service:
        for body in bodies:
            shown = {"X-Signature-Ed25519": key.sign(stamp.encode() + body).hex(), "X-Signature-Timestamp": stamp}
            answer = await service.post(f"/hooks/{made.token.reveal()}", content=body, headers=shown)
            assert (answer.status_code, answer.content) == (204, b"")
        forged = await service.post(f"/hooks/{made.token.reveal()}", content=b"{}", headers=shown)
        assert forged.status_code == 401  # Discord removes endpoints that answer anything else
    assert len(memory.admitted) == 1
