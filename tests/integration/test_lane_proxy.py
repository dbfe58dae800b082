"""Lanes through a proxy: the address is checked here, and the proxy is told nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from fix_peer import PEER_ERRORS, Conversation, Peer, closed_port, listen
from fix_streams import LOOPBACK, REF, TOKEN, Call, Vault, fields
from fix_tls import believed, certificate, server_side
from interlock import kernel, plane, testing
from interlock.adapters.lanes.http import HttpLane
from interlock.adapters.lanes.tunnel import Proxy

pytestmark = pytest.mark.anyio


async def tunnelling(peer: Conversation) -> None:
    """A proxy."""
    head = (await peer.request()).decode()
    host, _, port = head.split()[1].rpartition(":")
    async with await anyio.connect_tcp(host.strip("[]"), int(port)) as onward:
        await peer.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")

        async def back() -> None:
            async for data in onward:
                await peer.send(data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(back)
            try:
                while True:
                    await onward.send(await peer.receive())
            except PEER_ERRORS:
                tasks.cancel_scope.cancel()


async def answering(peer: Conversation) -> None:
    await peer.request()
    await peer.answer(b"hello")


async def get(
    url: str, proxy: Peer | str, authorization: kernel.Secret | None = None, connect_ms: int = 60_000, **settings: Any
) -> Call:
    place = plane.parse_url(proxy if isinstance(proxy, str) else f"{proxy.url}/")
    clock = testing.ManualClock()
    egress = replace(LOOPBACK, proxy=Proxy(place, authorization), **settings)
    lane = HttpLane(credentials=Vault(), egress=egress)
    values: dict[str, Any] = {
        "method": "GET",
        "credentials": (REF,),
        "timeouts": plane.Timeouts(connect_ms=connect_ms),
        **fields(clock, url, plane.parse_url(url).host_port),
    }
    call = await Call(lane, plane.HttpIntent(**values), clock).run()
    await lane.aclose()
    return call


async def test_a_tunnel():
    async with listen(answering) as peer, listen(tunnelling) as proxy:
        url = f"http://localhost:{peer.port}/"
        call = await get(url, proxy, kernel.Secret("Basic eHh4eHh4eHg6eXl5"))
    call.succeeded()
    assert call.exchange.body == b"hello"
    assert call.exchange.peer == f"127.0.0.1 through {proxy.host}"
    [request] = proxy.requests
    where = f"127.0.0.1:{peer.port}"
    assert request.decode().split("\r\n") == [
        f"CONNECT {where} HTTP/1.1",
        f"Host: {where}",
        "Proxy-Authorization: Basic eHh4eHh4eHg6eXl5",
        "",
        "",
    ]
    assert TOKEN.encode() in peer.requests[0]


async def test_tls_is_spoken_with_the_service_itself(tmp_path: Path):
    path = certificate(tmp_path, "127.0.0.1")
    async with listen(answering, tls=server_side(path)) as peer, listen(tunnelling) as proxy:
        call = await get(f"https://{peer.host}/", proxy, authorities=believed(path))
    call.succeeded()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "status 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "says more"),
        (b"SSH-2.0\r\n\r\n", "not HTTP/1.1"),
        (b"", "closed|broke|not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "not HTTP/1.1"),
    ],
)
async def test_a_proxy_that_refuses(answer: bytes, reason: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(answer)

    async with listen(script) as proxy:
        call = await get("http://127.0.0.1:9/", proxy)
    call.failed(plane.FailureClass.CONNECT_FAILED, "proxy_refused")
    assert call.exchange.bytes_sent == 0
    assert call.failure is not None
    assert any(part in call.failure.message for part in reason.split("|")), call.failure


async def test_a_proxy_that_stalls():
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.receive()

    async with listen(script) as proxy:
        call = await get("http://127.0.0.1:9/", proxy, connect_ms=300)
        await proxy.ended.wait()
    call.failed(plane.FailureClass.CONNECT_TIMEOUT, "proxy_timeout")


async def test_a_proxy_that_is_not_there():
    call = await get("http://127.0.0.1:9/", f"http://127.0.0.1:{closed_port()}/")
    call.failed(plane.FailureClass.CONNECT_FAILED)


@pytest.mark.parametrize("allow", ["127.0.0.1:9", "127.0.0.1:{port}"])
async def test_both_addresses_are_checked(allow: str):
    async with listen(tunnelling) as proxy:
        addresses = plane.AddressPolicy(allow=(allow.format(port=proxy.port),))
        call = await get("http://127.0.0.1:9/", proxy, addresses=addresses)
    call.failed(plane.FailureClass.ADDRESS_REFUSED)
    assert (call.exchange.bytes_sent, proxy.connections) == (0, 0)
