"""Who may speak to a node, for what, and that what makes no sense harms nobody."""

import base64
import json
import shutil
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from fix_plane import NODE_ID
from fix_remote import Yard, dialled, tls_of, yard
from interlock import plane, server
from interlock.adapters import nodes
from interlock.kernel import SystemClock, Uuid7Ids, digest_bytes
from interlock.server import doorstep, identity, readings, wire

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

TOKENS = Ed25519PrivateKey.generate()


@pytest.fixture
async def there(node_keys: Path) -> AsyncGenerator[Yard]:
    async with yard(node_keys) as made:
        yield made


@pytest.fixture
async def by_token(node_keys: Path) -> AsyncGenerator[Yard]:
    """A node that knows a client by its signature."""
    tls = tls_of(node_keys, client_ca=None)
    async with yard(node_keys, tls=tls, token_keys={"bob": TOKENS.public_key()}) as made:
        yield made


def trusting(keys: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=keys / "client" / "ca.pem")


# -- certificates


async def test_without_a_certificate_there_is_no_connection(there: Yard) -> None:
    async with dialled(there.url, there.keys, ssl_context=trusting(there.keys)) as client:
        with pytest.raises(plane.EffectFailed) as raised:
            await client.describe()
        with pytest.raises(plane.EffectFailed) as events:
            await anext(client.subscribe(plane.ExecutionRef(node_id=NODE_ID, execution_id="exe_1", fence=1)))
    assert raised.value.details["failure_class"] == events.value.details["failure_class"] == "tls_failed"


@pytest.mark.parametrize(
    "options", [0, getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)], ids=["", "as Python 3.11.2 has it"]
)
async def test_a_certificate_of_somebody_else_does_not_count(there: Yard, tmp_path: Path, *, options: int) -> None:
    nodes.make_credentials(tmp_path / "k", node_id="x", names=["127.0.0.1"], client="ann", clock=SystemClock())
    context = trusting(there.keys)
    context.load_cert_chain(tmp_path / "k/client/cert.pem", tmp_path / "k/client/key.pem")
    context.options |= options
    async with dialled(there.url, there.keys, ssl_context=context) as client:
        with pytest.raises(plane.EffectFailed) as raised:
            await client.describe()
    assert raised.value.details["failure_class"] == "tls_failed"


async def test_the_nodes_own_certificate_is_none_for_a_client(there: Yard) -> None:
    context = trusting(there.keys)
    context.load_cert_chain(there.keys / "node/cert.pem", there.keys / "node/key.pem")
    async with dialled(there.url, there.keys, ssl_context=context) as client:
        with pytest.raises(plane.EffectFailed):
            await client.describe()


async def test_a_node_that_is_not_the_one_is_not_spoken_to(there: Yard, tmp_path: Path) -> None:
    nodes.make_credentials(tmp_path / "k", node_id="x", names=["127.0.0.1"], client="ann", clock=SystemClock())
    async with dialled(there.url, tmp_path / "k") as client:
        with pytest.raises(plane.EffectFailed, match="no trust"):
            await client.describe()


async def test_a_single_certificate_can_be_pinned(node_keys: Path, tmp_path: Path) -> None:
    nodes.make_credentials(tmp_path / "k", node_id="x", names=["127.0.0.1"], client="bob", clock=SystemClock())
    pinned = tmp_path / "pinned.pem"
    pinned.write_bytes((tmp_path / "k/client/cert.pem").read_bytes())
    async with yard(node_keys, tls=tls_of(node_keys, client_ca=pinned)) as there:
        context = trusting(node_keys)
        context.load_cert_chain(tmp_path / "k/client/cert.pem", tmp_path / "k/client/key.pem")
        async with dialled(there.url, node_keys, ssl_context=context) as client:
            ref = await there.start(client)
            shown = x509.load_pem_x509_certificate(pinned.read_bytes()).fingerprint(hashes.SHA256())
            assert there.executions.find_asker(ref) == f"cert:sha256:{shown.hex()}"
        async with dialled(there.url, node_keys) as other:  # signed by the authority that is not listed here
            with pytest.raises(plane.EffectFailed):
                await other.describe()


def test_a_context_that_verifies_nothing_is_refused(node_keys: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        dialled("https://127.0.0.1:1", node_keys, ssl_context=context)
    with pytest.raises(ValueError, match="https"):
        dialled("http://127.0.0.1:1", node_keys)


async def test_an_address_that_is_not_allowed_is_not_connected_to(there: Yard) -> None:
    async with dialled(there.url, there.keys, addresses=plane.AddressPolicy()) as client:
        with pytest.raises(plane.EffectFailed) as raised:
            await client.describe()
    assert raised.value.details["failure_class"] == "address_refused"


# -- whose an execution is


async def test_the_executions_of_others_do_not_exist(node_keys: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    nodes.make_credentials(tmp_path / "k", node_id="x", names=["127.0.0.1"], client="bob", clock=SystemClock())
    both.write_bytes((tmp_path / "k/client/cert.pem").read_bytes() + (node_keys / "node/client-ca.pem").read_bytes())
    context = trusting(node_keys)
    context.load_cert_chain(tmp_path / "k/client/cert.pem", tmp_path / "k/client/key.pem")
    async with (
        yard(node_keys, tls=tls_of(node_keys, client_ca=both)) as there,
        dialled(there.url, node_keys) as ann,
        dialled(there.url, node_keys, ssl_context=context) as bob,
    ):
        intent = there.intent(idempotency_key="shared")
        ref = await there.start(ann, intent)
        nothing = ref.model_copy(update={"execution_id": "exe_nothing"})
        for each in (ref, nothing):
            piece = plane.Input(data=b"x")
            for ask in (bob.status(each), bob.wait(each), bob.cancel(each), bob.attach(each), bob.end_input(each)):
                with pytest.raises(plane.ExecutionNotFound, match="you have no execution"):
                    await ask
            with pytest.raises(plane.ExecutionNotFound):
                await bob.send_input(each, piece)
            with pytest.raises(plane.ExecutionNotFound):
                await anext(bob.subscribe(each))
        own = await there.start(bob, intent)
        assert own.execution_id != ref.execution_id, "each client has keys of its own"
        assert (await ann.status(ref)).input_open


async def test_one_client_does_not_fill_the_node(there: Yard) -> None:
    executions = plane.Executions(there.node, clock=SystemClock(), ids=Uuid7Ids(SystemClock()), capacity=8)

    async def start(asked_by: str) -> plane.ExecutionRef:
        intent = there.intent()
        authority = there.authority(intent)
        return await executions.start(intent, authority=authority, target_class=plane.LOCAL_HTTP, asked_by=asked_by)

    async with executions:
        first = await start("ann")
        await start("ann")
        with pytest.raises(plane.ExecutionRejected) as rejected:
            await start("ann")
        await start("bob")
        await executions.cancel(first)
        await start("ann")
    assert rejected.value.failure.code == "client_full"


# -- tokens


class Signed:
    """Requests with tokens, made by hand."""

    def __init__(self, there: Yard, key_id: str = "bob", key: Ed25519PrivateKey = TOKENS) -> None:
        self.signer = plane.SignedAuthorizer(key_id, key, clock=SystemClock())
        self.http = httpx2.AsyncClient(base_url=there.url, verify=trusting(there.keys), trust_env=False)

    def token(self, method: str, target: str, body: bytes = b"", **fields: Any) -> plane.AuthorityDecision:
        wanted: dict[str, Any] = {"audience": NODE_ID, "target_class": plane.NODE_REQUEST, **fields}
        return self.signer.issue(plane.request_digest(method, target, digest_bytes(body)), **wanted)

    async def ask(
        self,
        token: plane.AuthorityDecision,
        method: str = "GET",
        target: str = "/v1/node",
        body: bytes = b"",
        promised: bytes | None = None,
    ) -> httpx2.Response:
        digest = bytes.fromhex(digest_bytes(body if promised is None else promised).removeprefix("sha256:"))
        text = base64.urlsafe_b64encode(json.dumps(token.record()).encode()).decode().rstrip("=")
        headers = {
            "Authorization": f"Bearer {text}",
            "Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
        }
        return await self.http.request(method, target, content=body, headers=headers)


async def test_a_client_is_known_by_its_signature(by_token: Yard) -> None:
    signer = plane.SignedAuthorizer("bob", TOKENS, clock=SystemClock())
    async with dialled(by_token.url, by_token.keys, ssl_context=trusting(by_token.keys), tokens=signer) as client:
        ref = await by_token.start(client)
        await client.send_input(ref, plane.Input(data=b"one"))
        await client.end_input(ref)
        events = [event async for event in client.subscribe(ref)]
        receipt = await client.wait(ref)
    assert b"one" in {event.data for event in events}
    assert receipt.evidence[0].data["asked_by"] == "key:bob"


async def test_a_token_serves_one_request(by_token: Yard) -> None:
    signed = Signed(by_token)
    async with signed.http:
        good = signed.token("GET", "/v1/node")
        assert (await signed.ask(good)).status_code == 200
        body = b"a body"
        other = Signed(by_token, key=Ed25519PrivateKey.generate())
        node = signed.token("GET", "/v1/node")
        refused = [
            await signed.ask(good),
            await signed.ask(signed.token("POST", "/v1/node")),
            await signed.ask(signed.token("GET", "/v1/node?x=1")),
            await signed.ask(signed.token("GET", "/v1/node", audience="another")),
            await signed.ask(signed.token("GET", "/v1/node", target_class=plane.LOCAL_HTTP)),
            await signed.ask(node.model_copy(update={"expires_at": node.expires_at + timedelta(seconds=1)})),
            await signed.ask(node.model_copy(update={"key_id": "ann"})),
            await signed.ask(other.token("GET", "/v1/node")),
            await signed.ask(signed.token("POST", "/v1/executions", body), "POST", "/v1/executions", b"another"),
            await signed.ask(signed.token("POST", "/v1/executions", body), "POST", "/v1/executions", b"another", body),
            await signed.http.get("/v1/node"),
            await signed.http.get("/v1/nothing"),
            await signed.http.get("/v1/node", headers={"Authorization": "Bearer e30"}),
            await signed.http.get("/v1/node", headers={"Authorization": "Bearer " + "A" * 5000}),
            await signed.http.get("/v1/node", headers={"Content-Digest": "sha-256=:x:"}),
        ]
        await other.http.aclose()
    assert [answer.status_code for answer in refused] == [401] * len(refused)
    assert len({answer.text for answer in refused}) == 1, "they do not tell what was wrong"
    told = refused[0].json()
    assert told.keys() >= {"code", "message", "retry", "fault", "next_step", "title", "status"}
    assert refused[0].headers["content-type"] == "application/problem+json"


async def test_an_expired_token_is_refused(by_token: Yard) -> None:
    signed = Signed(by_token)
    async with signed.http:
        token = signed.token("GET", "/v1/node", ttl=0.001)
        while SystemClock().now() <= token.expires_at:
            await anyio.lowlevel.checkpoint()
        assert (await signed.ask(token)).status_code == 401


# -- authority


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"proof": "00" * 64}, "authority_tampered"),
        ({"target_class": "local-process"}, "authority_tampered"),
        ({"nonce": "00" * 16}, "authority_tampered"),
        ({"key_id": "another"}, "authority_unknown_key"),
        ({"algorithm": "hmac-sha256"}, "authority_unknown_key"),
        (None, "authority_missing"),
    ],
)
async def test_authority_that_was_altered_begins_nothing(there: Yard, change: dict[str, str] | None, code: str) -> None:
    intent = there.intent()
    altered = None if change is None else there.authority(intent).model_copy(update=change)
    async with dialled(there.url, there.keys) as client:
        with pytest.raises(plane.ExecutionRejected) as rejected:
            await client.start(intent, authority=altered, target_class=plane.LOCAL_HTTP)
    assert rejected.value.failure.code == code
    assert plane.verify_evidence(rejected.value.receipt) is None
    assert there.lane.begun == 0


async def test_authority_for_something_else_begins_nothing(there: Yard) -> None:
    intent, other = there.intent(), there.intent("/other")
    async with dialled(there.url, there.keys) as client:
        for authority, code in (
            (there.authority(other), "authority_wrong_intent"),
            (there.authority(intent, audience="another"), "authority_wrong_audience"),
            (there.authority(intent, target_class="local-process"), "authority_wrong_target"),
        ):
            with pytest.raises(plane.ExecutionRejected) as rejected:
                await client.start(intent, authority=authority, target_class=plane.LOCAL_HTTP)
            assert rejected.value.failure.code == code
        used = there.authority(intent)
        await client.cancel(await client.start(intent, authority=used, target_class=plane.LOCAL_HTTP))
        renamed = intent.model_copy(update={"intent_id": "snd_renamed"})
        with pytest.raises(plane.ExecutionRejected) as replayed:
            await client.start(renamed, authority=used, target_class=plane.LOCAL_HTTP)
    assert replayed.value.failure.code == "authority_wrong_intent"
    assert there.lane.begun == 1


# -- what makes no sense


def inside(keys: Path) -> ssl.SSLContext:
    context = trusting(keys)
    context.load_cert_chain(keys / "client/cert.pem", keys / "client/key.pem")
    return context


async def say(there: Yard, *parts: bytes, end: bool = False) -> bytes:
    """Say that under TLS as a known client; what the node answers to its end, or so far."""
    port = int(there.url.rpartition(":")[2])
    heard = b""
    async with await anyio.connect_tcp(
        "127.0.0.1", port, ssl_context=inside(there.keys), tls_standard_compatible=False, tls_hostname="127.0.0.1"
    ) as stream:
        try:
            for part in parts:
                await stream.send(part)
            if not end:
                while not heard.rstrip().endswith(b"}"):
                    heard += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    return heard


START = b"POST /v1/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
DEEP = b'{"contract":' + b"[" * 100_000

SENSELESS = {
    "no HTTP": (b"\x00\xff\x16\x03 hello\r\n\r\n", 400),
    "a huge head": (b"GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 4),
    "a body that is no packet": (START + b"Content-Length: 5\r\n\r\nhello", 400),
    "a body of another contract": (START + b'Content-Length: 36\r\n\r\n{"contract":"interlock.receipt/v1"}\n\n', 400),
    "deep": (START + b"Content-Length: %d\r\n\r\n" % len(DEEP) + DEEP, 400),
    "too large": (
        b"POST /v1/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"100000\r\n%b\r\n" % bytes(0x100000) * 40, 413
    ),
    "another host": (b"GET /v1/node HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421),
    "nothing there": (b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
    "no such method": (b"DELETE /v1/node HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 405),
    "a name that none can have": (
        b"GET /v1/executions/%00%0a HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404
    ),
    "two lengths": (START + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "a WebSocket of nothing": (b"GET /v1/executions/exe_1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE, 404),
}  # fmt: skip


@pytest.mark.parametrize("what", SENSELESS)
async def test_what_makes_no_sense_is_answered_with_an_error(there: Yard, what: str) -> None:
    said, status = SENSELESS[what]
    answer = await say(there, said)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status), answer[:300]  # a huge head: as soon as that is seen
    told = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
    assert told.keys() >= {"code", "message", "retry", "fault", "next_step"}
    assert "Traceback" not in str(told)
    await check_it_lives(there)


async def check_it_lives(there: Yard) -> None:
    async with dialled(there.url, there.keys, patience=0.0) as client:
        ref = await there.start(client)
        await client.end_input(ref)
        assert (await client.wait(ref)).failure is None


async def test_who_trickles_is_not_waited_for(there: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.2)
    assert await say(there, b"GET /v1/node HT") == b""
    full = b"GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = await say(there, full, b"GET /v1")
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_who_comes_when_there_are_too_many_is_asked_to_come_again(
    there: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_CONNECTIONS", 0)
    async with dialled(there.url, there.keys, patience=0.0) as client:
        with pytest.raises(plane.EffectFailed) as told:
            await client.describe()
        with pytest.raises(plane.EffectFailed) as events:
            await anext(client.subscribe(plane.ExecutionRef(node_id=NODE_ID, execution_id="exe_1", fence=1)))
    assert told.value.details["failure_class"] == events.value.details["failure_class"] == "connect_failed"
    answer = await say(there, b"")
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"node_busy" in answer
    tried = anyio.Event()

    def soon(_failures: int) -> float:
        tried.set()
        return 0.01

    async with dialled(there.url, there.keys, delay=soon) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.describe)
        await tried.wait()
        monkeypatch.undo()
    await check_it_lives(there)


async def test_strangers_lock_nobody_out(by_token: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(wire, "MAX_STRANGERS", 2)
    port = int(by_token.url.rpartition(":")[2])
    signer = plane.SignedAuthorizer("bob", TOKENS, clock=SystemClock())
    async with AsyncExitStack() as stack:
        strangers = [
            await stack.enter_async_context(
                await anyio.connect_tcp(
                    "127.0.0.1", port, ssl_context=trusting(by_token.keys), tls_standard_compatible=False
                )
            )
            for _ in range(2)
        ]
        options: dict[str, Any] = {"ssl_context": trusting(by_token.keys), "tokens": signer, "patience": 0.0}
        clients = [await stack.enter_async_context(dialled(by_token.url, by_token.keys, **options)) for _ in range(3)]
        for client in clients:
            await client.describe()
        for stranger in strangers:
            assert (await stranger.receive()).startswith(b"HTTP/1.1 503")
        for client in clients:
            await client.describe()


async def test_handshakes_that_never_end_are_few_and_do_end(there: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_STRANGERS", 2)
    port = int(there.url.rpartition(":")[2])
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port)) for _ in range(4)]
        for each in silent[:2]:  # the oldest make room
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await each.receive()
        await check_it_lives(there)
        monkeypatch.setattr(doorstep, "HANDSHAKE_SECONDS", 0.05)
        for words in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            late = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            if words:
                await late.send(words)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await late.receive()
        monkeypatch.undo()
        await check_it_lives(there)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_garbage_at_every_endpoint_harms_nobody(node_keys: Path, data: st.DataObject) -> None:
    paths = [
        "/v1/node",
        "/v1/executions",
        "/v1/executions/x",
        "/v1/executions/x/input",
        "/v1/executions/x/events?after=z",
    ]
    rounds = data.draw(st.lists(st.tuples(st.sampled_from(paths), st.binary(max_size=400), st.booleans()), max_size=6))

    async def run() -> None:
        async with yard(node_keys) as there:
            for path, body, cut in rounds:
                head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                answer = await say(there, head.encode(), body, end=cut)
                assert cut or answer.startswith(b"HTTP/1.1 4"), answer
            for _path, body, cut in rounds:
                await say(there, body + b"\r\n\r\n", end=cut)
            await check_it_lives(there)

    anyio.run(run)


def certified(
    subject: str | None, issuer: str = "keys", key: Ed25519PrivateKey = TOKENS, *, days: int = 1
) -> x509.Certificate:
    """A certificate of that name, by an authority of that name with that key."""
    start = SystemClock().now()
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)] if each else []) for each in (subject, issuer)]
    return (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(TOKENS.public_key() if subject != issuer else key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .sign(key, None)
    )


def known_as(certificate: x509.Certificate, *listed: x509.Certificate) -> str:
    return identity.Names(listed).name(certificate.public_bytes(serialization.Encoding.DER))


def fingerprint(certificate: x509.Certificate) -> str:
    return f"cert:{digest_bytes(certificate.public_bytes(serialization.Encoding.DER))}"


def test_a_name_counts_only_beside_the_authority_that_has_vouched_for_it() -> None:
    other = Ed25519PrivateKey.generate()
    first, second = certified("keys", "keys"), certified("others", "others", other)
    ann = known_as(certified("ann"), first, second)
    assert ann == "cert:CN=ann; CN=keys"
    assert ann == known_as(certified("ann", days=2), first, certified("keys", "keys", days=2)), "renewed"
    assert ann != known_as(certified("ann", "others", other), first, second)
    trick, honest = (certified("ann; CN=x", "keys"), certified("ann", "x; CN=keys"))
    assert known_as(trick, first) != known_as(honest, certified("x; CN=keys", "x; CN=keys"))


def test_a_certificate_that_nobody_listed_has_vouched_for_is_known_by_its_fingerprint() -> None:
    other = Ed25519PrivateKey.generate()
    authority, ann = certified("keys", "keys"), certified("ann")
    own = [certified("ci", "ci"), certified("ci", "ci", other)]
    for each in own:
        assert known_as(each, authority, *own) == known_as(each, authority, each) == fingerprint(each)
    assert known_as(ann, authority, ann) == fingerprint(ann), "listed itself"
    claimed = certified("ann", "keys", other)
    assert known_as(claimed, authority, claimed) == known_as(claimed, authority) == fingerprint(claimed)
    below = certified("ann", "below")
    assert known_as(below, authority) == fingerprint(below)
    assert known_as(ann, authority, certified("keys", "keys", other)) == fingerprint(ann), "two of that name"
    nameless = certified(None)
    assert known_as(nameless, authority) == fingerprint(nameless)


async def test_two_clients_that_call_themselves_the_same_are_two(node_keys: Path, tmp_path: Path) -> None:
    listed = tmp_path / "listed.pem"
    contexts: list[ssl.SSLContext] = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        nodes.make_credentials(folder, node_id="x", names=["127.0.0.1"], client="ci", clock=SystemClock())
        contexts.append(trusting(node_keys))
        contexts[-1].load_cert_chain(folder / "client/cert.pem", folder / "client/key.pem")
        with listed.open("ab") as file:
            file.write((folder / "client/cert.pem").read_bytes())
    async with (
        yard(node_keys, tls=tls_of(node_keys, client_ca=listed)) as there,
        dialled(there.url, node_keys, ssl_context=contexts[0]) as one,
        dialled(there.url, node_keys, ssl_context=contexts[1]) as two,
    ):
        ref = await there.start(one)
        with pytest.raises(plane.ExecutionNotFound):
            await two.status(ref)


@pytest.mark.parametrize("message", ["x", "-1", "9" * 20, b"7", "1" * 2_000])
async def test_a_reader_that_talks_nonsense_is_let_go(there: Yard, message: str | bytes) -> None:
    async with dialled(there.url, there.keys) as client:
        ref = await there.start(client)
        uri = there.url.replace("https", "wss") + f"/v1/executions/{ref.execution_id}/events?reader=r"
        async with connect(uri, ssl=inside(there.keys), proxy=None) as socket:
            await socket.send(message)
            await socket.wait_closed()
            assert socket.close_code in {1008, 1009}
    await check_it_lives(there)


async def test_one_client_has_so_many_readers(there: Yard) -> None:
    async with dialled(there.url, there.keys) as client, AsyncExitStack() as stack:
        ref = await there.start(client)
        for _ in range(readings.MAX_READERS):
            await anext(await stack.enter_async_context(aclosing(client.subscribe(ref))))
        with pytest.raises(plane.InvalidPacket, match="readers"):
            await anext(client.subscribe(ref))


def test_keys_that_cannot_be_used_are_named(node_keys: Path, tmp_path: Path) -> None:
    shutil.copytree(node_keys / "client", tmp_path / "c")
    (tmp_path / "c" / "authority.pem").write_text("no key")
    with pytest.raises(nodes.CredentialsUnusable, match=r"authority\.pem"):
        nodes.load_identity(tmp_path / "c", clock=SystemClock())
    (tmp_path / "c" / "key.pem").unlink()
    with pytest.raises(nodes.CredentialsUnusable, match=r"keys in .*: key\.pem: No such file"):
        nodes.load_identity(tmp_path / "c", clock=SystemClock())
    (tmp_path / "c" / "key.pem").write_text("no key")
    with pytest.raises(nodes.CredentialsUnusable, match=r"ca\.pem, cert\.pem, key\.pem are not what they should be"):
        nodes.load_identity(tmp_path / "c", clock=SystemClock())
    with pytest.raises(nodes.CredentialsUnusable, match="no public key"):
        nodes.load_public_keys(node_keys / "node" / "key.pem")
    with pytest.raises(server.CannotServe):
        tls_of(tmp_path).context()
