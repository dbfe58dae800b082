"""The HTTP lane and certificates: verified against the host's name, before a byte of the request is sent."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_peer import Conversation, listen
from fix_plane import Bench, Intents
from fix_tls import believed, certificate, server_side
from interlock import kernel, plane
from interlock.adapters.lanes import Egress, HttpLane, egress

pytestmark = pytest.mark.anyio


class NoVault:
    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> kernel.Secret:
        return kernel.Secret("tok_0123456789abcdef")


async def answering(peer: Conversation) -> None:
    await peer.request()
    await peer.answer(b"secure")


async def call(
    intents: Intents, url: str, trusted: Path | None, allow: str = "127.0.0.0/8", **fields: Any
) -> plane.Receipt:
    authorities = believed(trusted) if trusted else None
    way = Egress(addresses=plane.AddressPolicy(allow=(allow,)), authorities=authorities)
    lane = HttpLane(credentials=NoVault(), egress=way)
    bench = Bench(intents, lane)
    try:
        intent = intents.http(url=url, allowed_hosts=(plane.parse_url(url).host_port,), **fields)
        return await bench.execute(intent)
    finally:
        await bench.node.aclose()


async def test_a_trusted_certificate(intents: Intents, tmp_path: Path):
    pem = certificate(tmp_path, "127.0.0.1")
    async with listen(answering, tls=server_side(pem)) as peer:
        receipt = await call(intents, peer.url + "/", pem)
    assert (receipt.failure, receipt.body) == (None, b"secure")


async def test_the_name_counts_not_the_address(intents: Intents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def answer(_host: str, port: int, **_kwargs: object) -> list[Any]:
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(anyio, "getaddrinfo", answer)
    pem = certificate(tmp_path, "service.example")
    async with listen(answering, tls=server_side(pem)) as peer:
        right = await call(intents, f"https://service.example:{peer.port}/", pem)
        wrong = await call(intents, f"https://other.example:{peer.port}/", pem)
    assert right.failure is None
    assert wrong.failure is not None
    assert wrong.failure.failure_class is plane.FailureClass.TLS_FAILED
    assert "other.example" in wrong.failure.message
    assert wrong.delivery is plane.Delivery.NOT_SENT
    assert len(peer.requests) == 1


@pytest.mark.parametrize("fault", ["unknown authority", "expired"])
async def test_a_certificate_that_proves_nothing(intents: Intents, tmp_path: Path, fault: str):
    pem = certificate(tmp_path, "127.0.0.1", expired=fault == "expired")
    async with listen(answering, tls=server_side(pem)) as peer:
        receipt = await call(intents, peer.url + "/", pem if fault == "expired" else None)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.TLS_FAILED
    assert receipt.delivery is plane.Delivery.NOT_SENT
    assert peer.requests == []
    assert ("expired" if fault == "expired" else "self-signed") in receipt.failure.message


async def test_a_peer_that_does_not_speak_tls(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await anyio.sleep_forever()

    async with listen(script) as peer:
        receipt = await call(intents, f"https://{peer.host}/", None)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.TLS_FAILED
    assert receipt.delivery is plane.Delivery.NOT_SENT


async def test_a_peer_that_hangs_up_in_the_handshake(intents: Intents):
    async def script(peer: Conversation) -> None:
        await peer.reset()

    async with listen(script) as peer:
        receipt = await call(intents, f"https://{peer.host}/", None)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.TLS_FAILED
    assert receipt.delivery is plane.Delivery.NOT_SENT


async def test_a_peer_that_never_shakes_hands(intents: Intents):
    async def script(_peer: Conversation) -> None:
        await anyio.sleep_forever()

    async with listen(script) as peer:
        receipt = await call(intents, f"https://{peer.host}/", None, timeouts=plane.Timeouts(connect_ms=50))
    assert receipt.failure is not None
    assert (receipt.failure.failure_class, receipt.failure.code) == (
        plane.FailureClass.CONNECT_TIMEOUT,
        "tls_timeout",
    )
    assert receipt.delivery is plane.Delivery.NOT_SENT


async def test_a_peer_that_wants_a_client_certificate(intents: Intents, tmp_path: Path):
    """With TLS 1.3 the refusal comes after the request was sent, so the effect is unknown."""
    pem = certificate(tmp_path, "127.0.0.1")
    context = server_side(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pem)

    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        receipt = await call(intents, f"https://127.0.0.1:{port}/", pem)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.READ_FAILED
    assert receipt.delivery is plane.Delivery.UNKNOWN


async def test_a_record_that_was_damaged_on_the_way(intents: Intents, tmp_path: Path):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.garble()
        await anyio.sleep_forever()

    pem = certificate(tmp_path, "127.0.0.1")
    async with listen(script, tls=server_side(pem)) as peer:
        receipt = await call(intents, peer.url + "/", pem)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.READ_FAILED
    assert receipt.delivery is plane.Delivery.UNKNOWN


@pytest.mark.parametrize("authorities", ["", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_authorities_that_are_none(authorities: str):
    with pytest.raises(ValueError, match="not certificates"):
        Egress(addresses=plane.AddressPolicy(), authorities=authorities)


@pytest.mark.parametrize("authorities", [None, "own"])
async def test_what_is_believed_is_not_for_the_environment_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authorities: str | None
):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    own = authorities and believed(certificate(tmp_path, "127.0.0.1"))
    context = await egress.tls_context(Egress(addresses=plane.AddressPolicy(), authorities=own), None, "test")
    assert context.keylog_filename is None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
