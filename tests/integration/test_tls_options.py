"""TLS as an intent wants it: whom to believe, which name, which version, and who we are."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.frames import Opcode

from fix_peer import Conversation, Peer, Script, listen
from fix_plane import Bench, Intents
from fix_streams import END, HEAD, LOOPBACK, Call, chunk, close, fields, frame, shake_hands
from fix_tls import believed, certificate, digest_of, private_key, server_side
from interlock import kernel, plane, testing
from interlock.adapters import lanes
from rpc_peers import rpc_intent

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Path:
    return certificate(tmp_path, "127.0.0.1")


@pytest.fixture
def client(tmp_path: Path) -> Path:
    folder = tmp_path / "client"
    folder.mkdir()
    return certificate(folder, "client.example")


class Keys:
    """Gives out one private key."""

    def __init__(self, key: str) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self._key = key

    async def redeem(self, ref: plane.CredentialRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
        self.asked.append((ref.handle, ref.field, host))
        return kernel.Secret(self._key)


async def answering(peer: Conversation) -> None:
    while True:
        await peer.request()
        await peer.answer(b"secure")


@asynccontextmanager
async def calling(keys: Keys | None = None) -> AsyncGenerator[Any]:
    lane = lanes.HttpLane(credentials=keys or Keys("none"), egress=LOOPBACK)
    intents = Intents()
    bench = Bench(intents, lane)

    async def call(peer: Peer, **options: Any) -> plane.Receipt:
        values = {"url": f"{peer.url}/", "allowed_hosts": (peer.host,), "tls": plane.TlsOptions(**options)}
        return await bench.execute(intents.http(**values))

    try:
        yield call
    finally:
        await bench.node.aclose()


def tls_failed(receipt: plane.Receipt) -> str:
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.TLS_FAILED
    assert receipt.delivery is plane.Delivery.NOT_SENT
    return receipt.failure.message


async def test_an_authority_of_the_intents_own(server: Path):
    async with listen(answering, tls=server_side(server)) as peer, calling() as call:
        receipt = await call(peer, authorities=believed(server))
        tls_failed(await call(peer))
    assert receipt.body == b"secure"
    shown = {"tls_version": "TLSv1.3", "peer_certificate": digest_of(server)}
    assert receipt.facts == shown
    assert shown.items() <= receipt.evidence[-1].data.items()


async def test_another_name_than_the_urls(tmp_path: Path):
    pem = certificate(tmp_path, "service.example")
    async with listen(answering, tls=server_side(pem)) as peer, calling() as call:
        assert (await call(peer, authorities=believed(pem), server_name="service.example")).failure is None
        assert "127.0.0.1" in tls_failed(await call(peer, authorities=believed(pem)))
        assert "other.example" in tls_failed(await call(peer, authorities=believed(pem), server_name="other.example"))


async def test_a_version_that_is_too_old(server: Path):
    context = server_side(server)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listen(answering, tls=context) as peer, calling() as call:
        old = await call(peer, authorities=believed(server))
        tls_failed(await call(peer, authorities=believed(server), minimum_version="1.3"))
    assert old.facts["tls_version"] == "TLSv1.2"


async def test_a_connection_is_for_those_who_asked_the_same_of_it(server: Path):
    pem = believed(server)
    async with listen(answering, tls=server_side(server)) as peer, calling() as call:
        for options in ({}, {}, {"minimum_version": "1.3"}):
            assert (await call(peer, authorities=pem, **options)).failure is None
    assert peer.connections == 2


async def test_a_client_shows_its_certificate(server: Path, client: Path):
    keys = Keys(private_key(client))
    options = {
        "authorities": believed(server),
        "client": plane.ClientCertificate(chain=believed(client), handle="lse_1", key="tls_key"),
    }
    async with listen(answering, tls=server_side(server, clients=client)) as peer, calling(keys) as call:
        receipts = [await call(peer, **options) for _ in range(2)]
        unknown = await call(peer, authorities=believed(server))
        host = peer.host
    assert [receipt.body for receipt in receipts] == [b"secure"] * 2
    assert keys.asked == [("lse_1", "tls_key", host)] * 2
    assert (peer.connections, len(peer.requests)) == (2, 2)
    assert unknown.delivery is plane.Delivery.UNKNOWN
    text = orjson.dumps([receipt.record() for receipt in receipts]).decode()
    assert "PRIVATE" not in text
    assert private_key(client).split("\n")[1] not in text


@pytest.mark.parametrize("fault", ["of another", "under a password", "none"])
async def test_a_key_that_does_not_fit(server: Path, client: Path, fault: str):
    keys = {
        "of another": private_key(server),
        "under a password": private_key(client, "secret words"),
        "none": "something",
    }
    shown = plane.ClientCertificate(chain=believed(client), handle="lse_1")
    async with listen(answering, tls=server_side(server, clients=client)) as peer, calling(Keys(keys[fault])) as call:
        receipt = await call(peer, authorities=believed(server), client=shown)
    assert (receipt.failure.failure_class, receipt.failure.code) == (
        plane.FailureClass.CREDENTIAL_UNAVAILABLE,
        "client_key_unfit",
    )
    assert peer.connections == 0


async def events(peer: Conversation) -> None:
    await peer.request()
    await peer.send(HEAD + chunk(b"data: x\n\n") + END)


async def messages(peer: Conversation) -> None:
    await shake_hands(peer)
    await peer.send(frame(Opcode.TEXT, b"x") + close(1000))
    await peer.receive()


async def replies(peer: Conversation) -> None:
    request = orjson.loads((await peer.receive_until(b"\n")).rstrip())
    await peer.send(orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": "x"}) + b"\n")
    await peer.receive()


@pytest.mark.parametrize("kind", ["sse", "websocket", "jsonrpc"])
async def test_every_lane(server: Path, client: Path, kind: str):
    clock, keys = testing.ManualClock(), Keys(private_key(client))
    script: Script = {"sse": events, "websocket": messages, "jsonrpc": replies}[kind]
    options = plane.TlsOptions(
        authorities=believed(server), client=plane.ClientCertificate(chain=believed(client), handle="lse_1")
    )
    lane: plane.Lane
    intent: plane.Intent
    async with listen(script, tls=server_side(server, clients=client)) as peer:
        match kind:
            case "sse":
                lane = lanes.SseLane(credentials=keys, egress=LOOPBACK)
                intent = plane.SseIntent(**fields(clock, f"https://{peer.host}/", peer.host), tls=options)
            case "websocket":
                lane = lanes.WebSocketLane(credentials=keys, egress=LOOPBACK)
                intent = plane.WebSocketIntent(**fields(clock, f"wss://{peer.host}/", peer.host), tls=options)
            case _:
                lane = lanes.JsonRpcLane(egress=LOOPBACK, credentials=keys)
                way = plane.TcpTransport(address=peer.host, tls=options, framing="newline", allowed_hosts=(peer.host,))
                intent = rpc_intent(way, method="m")
        call = await Call(lane, intent, clock).run()
        await lane.aclose()
    call.succeeded()
    assert call.facts["peer_certificate"] == digest_of(server)
    assert len(keys.asked) == 1


def test_nothing_but_certificates_stands_in_an_intent(intents: Intents, server: Path):
    with pytest.raises(ValueError, match="authorities"):
        plane.TlsOptions(authorities=server.read_text())
    with pytest.raises(ValueError, match="under TLS"):
        intents.http(url="http://api.acme.dev/", allowed_hosts=("api.acme.dev:80",), tls=plane.TlsOptions())
    assert "tls" not in intents.http().record()
    intent = intents.http(tls=plane.TlsOptions(server_name="a.example"))
    assert plane.HttpIntent.model_validate_json(intent.canonical) == intent
    assert intent.digest != intents.http().digest
