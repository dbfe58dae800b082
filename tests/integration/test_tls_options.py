"""TLS as an intent wants it: whom to believe, which name, which version, and who we are."""

import os
import ssl
import tempfile
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
from http2_peer import offering, speaking
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
    """Gives out a certificate and a private key; to one tenant those of its own, if it has some."""

    def __init__(self, client: Path, key: str | None = None, **own: Path) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self._client = client
        self._key = key
        self._own = own

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
        self.asked.append((ref.handle, ref.field, host))
        client = self._own.get(tenant_id, self._client)
        return kernel.Secret(believed(client) if ref.field == "certificate" else self._key or private_key(client))


SHOWN = plane.ClientCertificate(handle="lse_1", key="tls_key")


async def answering(peer: Conversation) -> None:
    while True:
        await peer.request()
        await peer.answer(b"secure")


@asynccontextmanager
async def calling(keys: Keys | None = None) -> AsyncGenerator[Any]:
    lane = lanes.HttpLane(credentials=keys or Keys(Path()), egress=LOOPBACK)
    intents = Intents()
    bench = Bench(intents, lane)

    async def call(peer: Peer, values: dict[str, Any] | None = None, **options: Any) -> plane.Receipt:
        where = {"url": f"{peer.url}/", "allowed_hosts": (peer.host,), "tls": plane.TlsOptions(**options)}
        return await bench.execute(intents.http(**where | (values or {})))

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


@pytest.mark.parametrize("where", ["in memory", "on disk"])
async def test_a_client_shows_its_certificate(
    server: Path, client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    if where == "on disk":  # as systems have it that know no files in memory
        monkeypatch.delattr(os, "memfd_create")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.listdir(tmp_path)
    keys = Keys(client)
    shown = {"credentials": (SHOWN,)}
    async with listen(answering, tls=server_side(server, clients=client)) as peer, calling(keys) as call:
        receipts = [await call(peer, shown, authorities=believed(server)) for _ in range(2)]
        unknown = await call(peer, authorities=believed(server))
        host = peer.host
    assert [receipt.body for receipt in receipts] == [b"secure"] * 2
    assert keys.asked == [("lse_1", "certificate", host), ("lse_1", "tls_key", host)] * 2
    assert unknown.delivery is plane.Delivery.UNKNOWN
    for receipt in receipts:
        assert receipt.facts["client_certificate"] == digest_of(client)
        assert receipt.evidence[-1].data["client_certificate"] == digest_of(client)
    text = orjson.dumps([receipt.record() for receipt in receipts]).decode()
    assert "PRIVATE" not in text
    assert private_key(client).split("\n")[1] not in text
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_a_connection_is_for_the_certificate_that_it_was_made_with(
    server: Path, client: Path, tmp_path: Path, version: str
):
    folder = tmp_path / "other"
    folder.mkdir()
    other = certificate(folder, "other.example")
    context = offering(server, *({"1.1": (), "2": ("h2",)}[version]))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=believed(client) + believed(other))
    keys = Keys(client, other=other)
    asked: list[dict[str, Any]] = [
        {},
        {},
        {"run_id": "run_2"},
        {"tenant_id": "neighbour"},  # whose certificate is the same
        {"tenant_id": "other"},
        {"tenant_id": "other"},
        {},
    ]
    versions: dict[str, Any] = {"credentials": (SHOWN,), "http_versions": (version,)}
    async with listen(answering, tls=context, speaks=speaking(version)) as peer, calling(keys) as call:
        receipts = [await call(peer, versions | each, authorities=believed(server)) for each in asked]
    assert [receipt.body for receipt in receipts] == [b"secure"] * len(asked)
    shown = [receipt.facts["client_certificate"] for receipt in receipts]
    assert shown == [digest_of(other if each.get("tenant_id") == "other" else client) for each in asked]
    assert peer.connections == 3


async def test_a_certificate_that_was_taken_back_is_shown_no_more(server: Path, client: Path):
    class Fickle(Keys):
        async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
            if len(self.asked) == 2:
                raise kernel.NotFoundError("the lease was revoked")
            return await super().redeem(ref, host=host, tenant_id=tenant_id, run_id=run_id)

    shown = {"credentials": (SHOWN,)}
    async with listen(answering, tls=server_side(server, clients=client)) as peer, calling(Fickle(client)) as call:
        first, second = [await call(peer, shown, authorities=believed(server)) for _ in range(2)]
    assert first.body == b"secure"
    assert second.failure.failure_class is plane.FailureClass.CREDENTIAL_UNAVAILABLE
    assert second.delivery is plane.Delivery.NOT_SENT
    assert len(peer.requests) == 1


@pytest.mark.parametrize("fault", ["of another", "under a password", "none"])
async def test_a_key_that_does_not_fit(server: Path, client: Path, fault: str):
    faulty = {
        "of another": private_key(server),
        "under a password": private_key(client, "secret words"),
        "none": "something",
    }
    keys = Keys(client, faulty[fault])
    async with listen(answering, tls=server_side(server, clients=client)) as peer, calling(keys) as call:
        receipt = await call(peer, {"credentials": (SHOWN,)}, authorities=believed(server))
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
    clock, keys = testing.ManualClock(), Keys(client)
    script: Script = {"sse": events, "websocket": messages, "jsonrpc": replies}[kind]
    tls: dict[str, Any] = {"tls": plane.TlsOptions(authorities=believed(server)), "credentials": (SHOWN,)}
    lane: plane.Lane
    intent: plane.Intent
    async with listen(script, tls=server_side(server, clients=client)) as peer:
        match kind:
            case "sse":
                lane = lanes.SseLane(credentials=keys, egress=LOOPBACK)
                intent = plane.SseIntent(**fields(clock, f"https://{peer.host}/", peer.host), **tls)
            case "websocket":
                lane = lanes.WebSocketLane(credentials=keys, egress=LOOPBACK)
                intent = plane.WebSocketIntent(**fields(clock, f"wss://{peer.host}/", peer.host), **tls)
            case _:
                lane = lanes.JsonRpcLane(egress=LOOPBACK, credentials=keys)
                way = plane.TcpTransport(address=peer.host, **tls, framing="newline", allowed_hosts=(peer.host,))
                intent = rpc_intent(way, method="m")
        call = await Call(lane, intent, clock).run()
        await lane.aclose()
    call.succeeded()
    assert call.facts["peer_certificate"] == digest_of(server)
    assert call.facts["client_certificate"] == digest_of(client)
    assert len(keys.asked) == 2


def test_nothing_but_certificates_stands_in_an_intent(intents: Intents, server: Path):
    with pytest.raises(ValueError, match="authorities"):
        plane.TlsOptions(authorities=server.read_text())
    with pytest.raises(ValueError, match="under TLS"):
        plane.TcpTransport(
            address="a.example:1", tls=False, credentials=(SHOWN,), framing="newline", allowed_hosts=("a.example:1",)
        )
    with pytest.raises(ValueError, match="under TLS"):
        intents.http(url="http://api.acme.dev/", allowed_hosts=("api.acme.dev:80",), tls=plane.TlsOptions())
    assert "tls" not in intents.http().record()
    intent = intents.http(tls=plane.TlsOptions(server_name="a.example"))
    assert plane.HttpIntent.model_validate_json(intent.canonical) == intent
    assert intent.digest != intents.http().digest
