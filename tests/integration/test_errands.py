"""Requests about credentials outside of runs: what is shown where, what is known of those without an answer, and no traces."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from fix_app import Process, World
from fix_parrot import Answer, Heard, Parrot
from fix_peer import Conversation, listen
from interlock import connections, kernel, plane
from interlock.connections.exchange import Errand
from interlock.kernel import Secret

pytestmark = pytest.mark.anyio

CODE, CLIENT, KEY = "code-7hT/+ 01234", "Basic Y2xpZW50OnNlY3JldA==", "key&0123456789"
NOT_SENT, UNKNOWN, RESPONDED = plane.Delivery.NOT_SENT, plane.Delivery.UNKNOWN, plane.Delivery.RESPONDED


def errand(url: str, **changes: Any) -> Errand:
    values: dict[str, Any] = {
        "method": "POST",
        "url": f"{url}/token?v=1",
        "headers": (("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")),
        "secret_headers": (("authorization", Secret(CLIENT)),),
        "secret_query": (("key", Secret(KEY)),),
        "body": b"grant_type=authorization_code&code=code-7hT%2F%2B%2001234",
        "secrets": (Secret(CODE), Secret(CLIENT), Secret(KEY)),
    }
    return Errand(**values | changes)


@pytest.fixture
async def process(file_world: World, parrot: Parrot) -> AsyncGenerator[Process]:
    async with file_world.process(execution={"egress_allow": (parrot.host,)}) as process:
        yield process


async def test_all_secrets_are_shown_and_none_is_told(
    process: Process, parrot: Parrot, caplog: pytest.LogCaptureFixture
):
    def say(heard: Heard) -> Answer:
        return Answer(
            b'{"access_token": "tok-0123456789"}', 200, {"X-Said": f"{CODE} {CLIENT}", "Link": f"<{heard.path}>"}
        )

    parrot.say = say
    with caplog.at_level("DEBUG"):
        answer = await process.parts.errands.send(errand(parrot.url), tenant_id="default", subject_id="ins_1")
    [heard] = parrot.heard
    assert (heard.method, heard.headers["authorization"], heard.body) == ("POST", CLIENT, errand("").body)
    assert parse_qs(urlsplit(heard.path).query) == {"v": ["1"], "key": [KEY]}
    assert (answer.status, answer.body) == (200, b'{"access_token": "tok-0123456789"}')
    assert answer.asked_at == process.parts.wiring.clock.now()
    [kept] = await process.il.evidence()
    assert kept.run_id == "ins_1"
    redactor = kernel.Redactor([*errand("").secrets, Secret("tok-0123456789")])
    told = [repr(answer), repr(errand(parrot.url)), repr(kept), caplog.text]
    told += [path.read_bytes().decode("latin-1") for path in process.parts.settings.folder.rglob("*") if path.is_file()]
    assert not any(redactor.finds(each.encode()) for each in told)


@pytest.mark.parametrize("status", [301, 400, 401, 500])
async def test_any_status_is_an_answer_but_a_redirect(process: Process, parrot: Parrot, status: int):
    parrot.say = lambda heard: Answer(b'{"error": "invalid_grant"}', status, {"Location": "/elsewhere"})
    if status == 301:
        with pytest.raises(connections.ErrandFailed) as raised:
            await process.parts.errands.send(errand(parrot.url), tenant_id="default")
        assert (raised.value.delivery, raised.value.details["failure_code"]) == (RESPONDED, "redirect_of_write")
    else:
        answer = await process.parts.errands.send(errand(parrot.url), tenant_id="default")
        assert (answer.status, answer.body) == (status, b'{"error": "invalid_grant"}')
    assert len(parrot.heard) == 1


async def test_what_never_left_is_known(process: Process, parrot: Parrot):
    parrot.stop()
    with pytest.raises(connections.ErrandFailed) as raised:
        await process.parts.errands.send(errand(parrot.url), tenant_id="default")
    assert (raised.value.delivery, raised.value.retry) == (NOT_SENT, kernel.Retry.LATER)


@pytest.mark.parametrize("answer", ["cut", "huge", "html"])
async def test_what_has_no_answer_may_have_happened(process: Process, parrot: Parrot, answer: str):
    bodies = {"cut": b"{}" * 100, "huge": b"x" * 2_000_000, "html": b"<html>"}
    parrot.say = lambda heard: Answer(bodies[answer], cut=answer == "cut")
    if answer == "html":
        assert (await process.parts.errands.send(errand(parrot.url), tenant_id="default")).body == b"<html>"
        return
    with pytest.raises(connections.ErrandFailed) as raised:
        await process.parts.errands.send(errand(parrot.url), tenant_id="default")
    assert raised.value.delivery is UNKNOWN


@pytest.mark.parametrize(
    ("url", "changes", "said"),
    [
        ("http://10.0.0.1", {}, "10.0.0.1"),
        ("http://169.254.169.254", {}, "169.254.169.254"),
        ("https://user:pw@api.acme.dev", {}, "cannot be sent"),
        ("https://api.acme.dev", {"method": "BREW"}, "cannot be sent"),
        ("https://api.acme.dev", {"secret_query": (("v", Secret(KEY)),)}, "cannot be sent: .*'v' is the credential's"),
        ("https://api.acme.dev", {"secret_headers": (("Host", Secret(KEY)),)}, "cannot be sent"),
    ],
)
async def test_what_must_not_or_cannot_be_sent(process: Process, url: str, changes: dict[str, Any], said: str):
    with pytest.raises(connections.ErrandFailed, match=said) as raised:
        await process.parts.errands.send(errand(url, **changes), tenant_id="default")
    assert raised.value.delivery is NOT_SENT
    assert "pw" not in str(raised.value)


async def test_a_service_that_hangs_is_left(file_world: World):
    reached = anyio.Event()

    async def hang(peer: Conversation) -> None:
        await peer.request()
        reached.set()
        await peer.receive()

    async with listen(hang) as peer, file_world.process(execution={"egress_allow": (peer.host,)}) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: process.parts.errands.send(errand(peer.url), tenant_id="default"))
            await reached.wait()
            tasks.cancel_scope.cancel()
        [kept] = await process.il.evidence()
        assert kept.receipt.delivery is UNKNOWN
        assert not process.parts.pending.redactor().finds(KEY.encode())


async def test_a_client_that_is_its_certificate_speaks_tls(process: Process):
    pair = Secret("-----BEGIN CERTIFICATE-----"), Secret("-----BEGIN PRIVATE KEY-----")
    with pytest.raises(connections.ErrandFailed, match="needs a URL under TLS"):
        await process.parts.errands.send(errand("http://api.acme.dev", certificate=pair), tenant_id="default")
