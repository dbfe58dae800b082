"""The JSON-RPC lane over TCP and HTTP, against peers that speak well and peers that do not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import psutil
import pytest

from fix_peer import closed_port
from fix_plane import Bench, Intents
from fix_streams import LOOPBACK, REF, TOKEN, Vault, running
from fix_tls import believed, certificate, server_side
from interlock import plane
from interlock.adapters import lanes
from rpc_peers import RpcPeer, post, rpc, rpc_intent, rpc_lane, rpc_peer, rpc_post, session, tcp

pytestmark = pytest.mark.anyio

FRAMINGS: tuple[plane.FramingName, ...] = ("newline", "content-length")
SHORT = plane.RpcTimeouts(request_ms=50, close_ms=50)
F = plane.FailureClass


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No connection outlives its test."""
    before = psutil.Process().num_fds()
    yield
    assert psutil.Process().num_fds() <= before


async def echo(peer: RpcPeer) -> None:
    while True:
        message = await peer.next()
        if "id" in message:
            await peer.answer(message, message.get("params"))


# -- calls


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_call(framing: plane.FramingName):
    async with rpc_peer(echo, framing) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer, framing), method="echo", params=b'{"a":\n[1, "\xc3\xa9"]}').run()
    call.succeeded()
    assert orjson.loads(call.exchange.body) == {"a": [1, "é"]}
    assert call.exchange.peer == "127.0.0.1"
    assert call.exchange.bytes_sent == peer.bytes_received
    assert call.facts == {
        "rpc_in": 1, "rpc_out": 1, "rpc_stray": 0, "rpc_invalid": 0, "rpc_refused": 0, "rpc_expired": 0, "rpc_code": None,
    }  # fmt: skip


async def test_an_error_is_an_answer():
    async def script(peer: RpcPeer) -> None:
        request = await peer.next()
        error = {"code": -32602, "message": "bad\x1b[31m " + "x" * 500, "data": {"why": 1}}
        await peer.say({"jsonrpc": "2.0", "id": request["id"], "error": error})

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer), method="m").run()
    call.succeeded()
    assert orjson.loads(call.exchange.body)["data"] == {"why": 1}
    assert call.facts["rpc_code"] == -32602
    assert call.facts["rpc_message"] == ("bad[31m " + "x" * 500)[:200]


async def test_an_error_without_an_id_answers_the_one_call():
    async def script(peer: RpcPeer) -> None:
        await peer.next()
        await peer.say({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "parse error"}})

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer), method="m").run()
    call.succeeded()
    assert call.facts["rpc_code"] == -32700


async def test_what_comes_before_the_answer():
    """Notifications are passed on, requests are refused, strays and invalid messages are told."""
    refusals: list[Any] = []

    async def script(peer: RpcPeer) -> None:
        request = await peer.next()
        await peer.say({"jsonrpc": "2.0", "method": "progress", "params": {"done": 1}})
        await peer.say({"jsonrpc": "2.0", "id": "p1", "method": "sampling"})
        refusals.append(await peer.next())
        await peer.say([{"jsonrpc": "2.0", "id": "p2", "method": "roots"}, {"jsonrpc": "2.0", "id": 99, "result": 1}])
        refusals.append(await peer.next())
        await peer.say({"id": 5, "method": "old"})
        refusals.append(await peer.next())
        await peer.answer(request, "done")

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer), method="m").run()
    call.succeeded()
    assert call.exchange.body == b'"done"'
    told = [(output.stream, output.facts.get("id"), output.facts.get("reason")) for output in call.ear.outputs]
    assert told == [
        ("message", None, None),
        ("unserved", "p1", None),
        ("unserved", "p2", None),
        ("stray", 99, "unknown"),
        ("invalid", 5, 'its member "jsonrpc" is not "2.0"'),
    ]
    assert [(refusals[0]["id"], refusals[0]["error"]["code"])] == [("p1", -32601)]
    assert [(one["id"], one["error"]["code"]) for one in refusals[1]] == [("p2", -32601)]
    assert (refusals[2]["id"], refusals[2]["error"]["code"]) == (5, -32600)


async def test_an_answer_that_is_no_answer():
    async def script(peer: RpcPeer) -> None:
        request = await peer.next()
        await peer.say({"jsonrpc": "2.0", "id": request["id"], "result": 1, "error": None})
        await peer.next()

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer), method="m").run()
    call.failed(F.PROTOCOL_ERROR, "invalid_answer")


@pytest.mark.parametrize(
    ("cancellation", "expected"), [("none", None), ("lsp", "$/cancelRequest"), ("mcp", "notifications/cancelled")]
)
async def test_a_peer_that_never_answers(cancellation: plane.RpcCancellation, expected: str | None):
    heard: list[Any] = []

    async def script(peer: RpcPeer) -> None:
        while True:
            heard.append(await peer.next())

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer), method="m", cancellation=cancellation, timeouts=SHORT).run()
        await peer.ended.wait()
    call.failed(F.READ_TIMEOUT, "request_timeout")
    assert [message["method"] for message in heard] == ["m", *([expected] if expected else [])]


async def test_a_caller_who_leaves_says_so():
    heard: list[Any] = []
    asked = anyio.Event()

    async def script(peer: RpcPeer) -> None:
        while True:
            heard.append(await peer.next())
            asked.set()

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = rpc(lane, tcp(peer), method="m", cancellation="lsp")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run)
            await asked.wait()
            tasks.cancel_scope.cancel()
        await peer.ended.wait()
    assert [message["method"] for message in heard] == ["m", "$/cancelRequest"]
    assert not call.exchange.answered
    assert call.exchange.bytes_sent


async def test_a_call_by_a_node(intents: Intents):
    async with rpc_peer(echo) as peer, rpc_lane() as lane:
        target = plane.LocalTarget("here", target_class="local-rpc", lane_id="jsonrpc", clock=intents.clock)
        bench = Bench(intents, lane, [target])
        receipt = await bench.execute(rpc_intent(tcp(peer), method="m", params=b"[1]"), "local-rpc")
    assert (receipt.failure, receipt.body, receipt.lane_id) == (None, b"[1]", "jsonrpc")


# -- sessions


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_session(framing: plane.FramingName):
    async with rpc_peer(echo, framing) as peer, rpc_lane() as lane, session(lane, tcp(peer, framing)) as (client, call):
        await client.tell("hello")
        await client.ask("a", "echo", [1])
        assert await client.next() == (
            "message", {"jsonrpc": "2.0", "id": "a", "result": [1]}, {"kind": "response", "id": "a"},
        )  # fmt: skip
        await client.ask("a", "echo", [2])  # an answered id may be used again
        assert (await client.next())[1]["result"] == [2]
    call.succeeded()
    assert (call.facts["rpc_in"], call.facts["rpc_out"]) == (2, 3)


async def test_both_sides_ask():
    async def script(peer: RpcPeer) -> None:
        request = await peer.next()
        await peer.say({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
        roots = await peer.next()
        await peer.answer(request, roots["result"])
        await peer.say({"jsonrpc": "2.0", "id": 2, "method": "late"})
        await peer.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}})
        await peer.next()

    async with (
        rpc_peer(script) as peer,
        rpc_lane() as lane,
        session(lane, tcp(peer), serves_peer=True, cancellation="mcp") as (client, call),
    ):
        await client.ask(1, "tools/call")
        assert (await client.next())[2] == {"kind": "request", "id": 1, "method": "roots/list"}
        await client.send({"jsonrpc": "2.0", "id": 1, "result": ["r"]})
        assert (await client.next())[1]["result"] == ["r"]
        assert (await client.next())[2]["kind"] == "request"
        assert (await client.next())[2]["kind"] == "notification"
        await client.send({"jsonrpc": "2.0", "id": 2, "result": 1})
        assert await client.next() == ("refused", None, {"id": 2, "reason": "unknown_id"})
    call.succeeded()


async def test_input_that_is_not_sent():
    async with rpc_peer(echo) as peer, rpc_lane() as lane:
        limits = plane.RpcLimits(max_message_bytes=300, max_pending=2, max_depth=9)
        async with session(lane, tcp(peer), limits=limits) as (client, call):
            for text, reason in [
                (b"{", "not_json"),
                (b"[]", "invalid"),
                (b'{"id":1,"method":"m"}', "invalid"),
                (b"[" * 20 + b"]" * 20, "too_deep"),
                (b" " * 301, "message_too_large"),
                (b'{"jsonrpc":"2.0","id":7,"result":1}', "unknown_id"),
            ]:
                await client.send(text)
                assert (await client.next())[2]["reason"] == reason
            await client.send([{"jsonrpc": "2.0", "id": index, "method": "m"} for index in range(3)])
            assert (await client.next())[2]["reason"] == "too_many_requests"
    call.succeeded()
    assert (call.facts["rpc_refused"], call.facts["rpc_out"], call.exchange.bytes_sent) == (7, 0, 0)


async def test_a_batch_both_ways():
    async def script(peer: RpcPeer) -> None:
        batch = await peer.next()
        await peer.say([{"jsonrpc": "2.0", "id": one["id"], "result": one["id"]} for one in batch if "id" in one])

    async with rpc_peer(script) as peer, rpc_lane() as lane, session(lane, tcp(peer)) as (client, call):
        calls = [{"jsonrpc": "2.0", "id": index, "method": "m"} for index in (1, "2")]
        await client.send([*calls, {"jsonrpc": "2.0", "method": "n"}])
        assert [(await client.next())[2]["id"] for _ in calls] == [1, "2"]
    call.succeeded()


async def test_a_peer_that_answers_twice_late_and_to_nothing():
    async def script(peer: RpcPeer) -> None:
        first, second = await peer.next(), await peer.next()
        for _ in range(2):
            await peer.answer(first)
        await peer.say({"jsonrpc": "2.0", "id": "nobody", "result": 1})
        await peer.say({"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "?"}})
        cancellation = await peer.next()
        assert cancellation["params"] == {"requestId": second["id"]}
        await peer.answer(second)
        await peer.next()

    timeouts = plane.RpcTimeouts(request_ms=1_000)
    async with (
        rpc_peer(script) as peer,
        rpc_lane() as lane,
        session(lane, tcp(peer), timeouts=timeouts, cancellation="mcp") as (client, call),
    ):
        await client.ask(1, "m")
        await client.ask(2, "m")
        told = [await client.next() for _ in range(6)]
    call.succeeded()
    assert [(stream, facts["id"], facts.get("reason")) for stream, _message, facts in told] == [
        ("message", 1, None),
        ("stray", 1, "duplicate"),
        ("stray", "nobody", "unknown"),
        ("stray", None, "without_id"),
        ("expired", 2, None),
        ("stray", 2, "expired"),
    ]
    assert (call.facts["rpc_stray"], call.facts["rpc_expired"]) == (4, 1)


async def test_ten_thousand_requests_on_the_way_at_once():
    count = 10_000
    async with (
        rpc_peer(echo) as peer,
        rpc_lane() as lane,
        session(lane, tcp(peer), limits=plane.RpcLimits(max_pending=count)) as (client, call),
    ):
        for index in range(count):
            await client.ask(index, "echo", [index])
        await client.ear.heard(count)
    call.succeeded()
    assert [output.facts["id"] for output in call.ear.outputs] == list(range(count))


async def test_the_end_waits_for_answers():
    released = anyio.Event()

    async def script(peer: RpcPeer) -> None:
        request = await peer.next()
        await released.wait()
        await peer.answer(request)
        with pytest.raises(anyio.EndOfStream):
            await peer.next()

    async with rpc_peer(script) as peer, rpc_lane() as lane, session(lane, tcp(peer)) as (client, call):
        await client.ask(1, "m")
        client.end()
        released.set()
    call.succeeded()
    assert [output.facts["id"] for output in call.ear.outputs] == [1]


async def test_a_peer_that_does_not_hang_up():
    async def script(peer: RpcPeer) -> None:
        await peer.answer(await peer.next())
        await anyio.sleep_forever()

    async with rpc_peer(script) as peer, rpc_lane() as lane, session(lane, tcp(peer), timeouts=SHORT) as (client, call):
        await client.ask(1, "m")
        await client.next()
    call.succeeded()


async def test_silence_on_both_sides():
    async def script(peer: RpcPeer) -> None:
        await peer.next()

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer), timeouts=plane.RpcTimeouts(idle_ms=50)).run()
    call.failed(F.IDLE_TIMEOUT)


# -- peers that misbehave


GARBAGE: list[tuple[plane.FramingName, bytes, str]] = [
    ("newline", b"Traceback (most recent call last):\n", "not_json"),
    ("newline", b"\x00\xff\xfe\n", "not_json"),
    ("newline", b'{"jsonrpc":"2.0","id":1,"result":1,"result":2}\n', "key_stands_twice"),
    ("newline", b"x" * 2000, "message_too_large"),
    ("newline", b"[" * 500 + b"]" * 500 + b"\n", "too_deep"),
    ("newline", b"[" + b"1," * 50 + b"1]\n", "batch_too_large"),
    ("content-length", b"HTTP/1.1 200 OK\r\n\r\n", "bad_header"),
    ("content-length", b"X: " + b"y" * 5000, "header_too_large"),
    ("content-length", b"Content-Length: 99999999\r\n\r\n", "message_too_large"),
    ("content-length", b"Content-Length: 5\r\n\r\n{}Content-Length: 2\r\n\r\n{}", "not_json"),
    ("content-length", b"Content-Length: 1\r\n\r\n{}", "not_json"),
]


@pytest.mark.parametrize(("framing", "data", "code"), GARBAGE)
@pytest.mark.parametrize("mode", ["call", "session"])
async def test_garbage(framing: plane.FramingName, data: bytes, code: str, mode: str):
    async def script(peer: RpcPeer) -> None:
        if mode == "call":
            await peer.next()
        await peer.raw.send(data)
        await anyio.sleep_forever()

    limits = plane.RpcLimits(max_message_bytes=1024, max_batch=9)
    async with rpc_peer(script, framing) as peer, rpc_lane() as lane:
        fields: dict[str, Any] = {"method": "m"} if mode == "call" else {}
        call = await rpc(lane, tcp(peer, framing), limits=limits, **fields).run()
    call.failed(F.FRAMING_FAILED, code)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_what_comes_whole_before_garbage_counts(framing: plane.FramingName):
    async def script(peer: RpcPeer) -> None:
        request = await peer.next()
        whole = plane.make_framing(framing, max_bytes=999).encode(
            orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": 5})
        )
        await peer.raw.send(whole + b"garbage\n\r\n\r\n")
        await anyio.sleep_forever()

    async with rpc_peer(script, framing) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer, framing), method="m").run()
    call.succeeded()
    assert call.exchange.body == b"5"


@pytest.mark.parametrize(
    ("framing", "half"),
    [("newline", b'{"jsonrpc":"2.0"'), ("content-length", b"Content-Length: 99\r\n\r\n{"), ("content-length", b"Cont")],
)
async def test_half_a_message_then_the_end(framing: plane.FramingName, half: bytes):
    async def script(peer: RpcPeer) -> None:
        await peer.next()
        await peer.raw.send(half)

    async with rpc_peer(script, framing) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer, framing), method="m").run()
    call.failed(F.PEER_LOST, "message_cut_off")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("mode", ["call", "session"])
async def test_a_peer_that_goes_with_requests_open(mode: str, *, reset: bool):
    async def script(peer: RpcPeer) -> None:
        await peer.next()
        if reset:
            await peer.raw.reset()

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        if mode == "call":
            call = await rpc(lane, tcp(peer), method="m").run()
        else:
            async with session(lane, tcp(peer)) as (client, call):
                await client.ask(1, "m")
                await call.ended.wait()
    call.failed(F.PEER_LOST)
    assert not call.exchange.answered


async def test_a_peer_that_ends_with_nothing_open():
    async def script(peer: RpcPeer) -> None:
        await peer.answer(await peer.next())

    async with rpc_peer(script) as peer, rpc_lane() as lane, session(lane, tcp(peer)) as (client, call):
        await client.ask(1, "m")
        await call.ended.wait()
    call.succeeded()


async def test_a_peer_that_does_not_read():
    async def script(peer: RpcPeer) -> None:
        await anyio.sleep_forever()

    timeouts = plane.RpcTimeouts(write_ms=50)
    async with rpc_peer(script, receive_buffer=4096) as peer, rpc_lane() as lane:
        limits = plane.RpcLimits(max_message_bytes=67_108_864)
        params = b'["' + b"x" * 30_000_000 + b'"]'
        call = await rpc(lane, tcp(peer), method="m", params=params, timeouts=timeouts, limits=limits).run()
    call.failed(F.WRITE_TIMEOUT)


async def test_a_flood_of_requests_is_answered_without_piling_up():
    async def script(peer: RpcPeer) -> None:
        for index in range(500):
            await peer.say({"jsonrpc": "2.0", "id": index, "method": "m"})
        assert sorted([(await peer.next())["id"] for _ in range(500)]) == list(range(500))

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        limits = plane.RpcLimits(max_pending=5)
        async with session(lane, tcp(peer), serves_peer=True, limits=limits) as (client, call):
            for _ in range(500):
                stream, _message, facts = await client.next()
                assert stream == ("message" if facts["id"] < 5 else "unserved")
                if facts["id"] == 499:
                    for index in range(5):
                        await client.send({"jsonrpc": "2.0", "id": index, "result": 1})
            await peer.ended.wait()
    assert call.facts["rpc_in"] == 500


# -- where it may go


async def test_nobody_listens():
    address = f"127.0.0.1:{closed_port()}"
    transport = plane.TcpTransport(address=address, tls=False, framing="newline", allowed_hosts=(address,))
    async with rpc_lane() as lane:
        call = await rpc(lane, transport, method="m").run()
    call.failed(F.CONNECT_FAILED)


async def test_addresses_are_checked():
    async with rpc_peer(echo) as peer, rpc_lane(egress=lanes.Egress(addresses=plane.AddressPolicy())) as lane:
        call = await rpc(lane, tcp(peer), method="m").run()
        call.failed(F.ADDRESS_REFUSED)
        call = await rpc(lane, tcp(peer, allowed_hosts=("a.b:1",)), method="m").run()
        call.failed(F.HOST_NOT_ALLOWED)
    assert peer.connections == 0


async def test_under_tls(tmp_path: Path):
    pem = certificate(tmp_path, "127.0.0.1")
    trusting = replace(LOOPBACK, authorities=believed(pem))
    async with rpc_peer(echo, tls=server_side(pem)) as peer, rpc_lane(egress=trusting) as lane:
        call = await rpc(lane, tcp(peer, tls=True), method="m", params=b"[1]").run()
        call.succeeded()
        async with session(lane, tcp(peer, tls=True)) as (client, call):
            await client.ask(1, "m")
            await client.next()
    call.succeeded()


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path):
    pem = certificate(tmp_path, "127.0.0.1")
    async with rpc_peer(echo, tls=server_side(pem)) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer, tls=True), method="m").run()
    call.failed(F.TLS_FAILED)


async def test_a_peer_that_speaks_no_tls():
    async def script(peer: RpcPeer) -> None:
        await peer.raw.receive()
        await peer.raw.send(b"{}\n")

    async with rpc_peer(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, tcp(peer, tls=True), method="m").run()
    call.failed(F.TLS_FAILED)


async def test_a_lane_without_that_transport_and_one_that_is_closed():
    transport = plane.ProcessTransport(argv=("true",), framing="newline")
    async with rpc_lane() as lane:
        call = await rpc(lane, transport, method="m").run()
        call.failed(F.LANE_UNAVAILABLE, "transport_not_registered")
        await lane.aclose()
        call = await rpc(lane, transport, method="m").run()
        call.failed(F.LANE_UNAVAILABLE, "lane_closed")


async def test_closing_the_lane_ends_what_is_under_way():
    asked = anyio.Event()

    async def script(peer: RpcPeer) -> None:
        await peer.next()
        asked.set()
        await peer.next()

    async with rpc_peer(script) as peer, rpc_lane() as lane, running(rpc(lane, tcp(peer), method="m")) as call:
        await asked.wait()
        await lane.aclose()
    call.failed(F.PEER_LOST)


# -- over HTTP


def result(request: Any, value: Any = "ok") -> Any:
    return {"jsonrpc": "2.0", "id": request["id"], "result": value}


async def test_a_call_by_post():
    vault = Vault()
    http = lanes.HttpLane(credentials=vault, egress=LOOPBACK)
    async with rpc_post(lambda request: ("200 OK", result(request, request["params"]))) as peer:
        async with rpc_lane(http=http) as lane:
            call = await rpc(lane, post(peer, credentials=(REF,)), method="m", params=b"[1]").run()
        await http.aclose()
    call.succeeded()
    assert (call.exchange.body, call.exchange.status, vault.asked) == (b"[1]", 200, 1)
    assert call.exchange.bytes_sent == peer.bytes_received
    head = peer.requests[0].decode()
    assert head.startswith("POST /rpc HTTP/1.1\r\n")
    assert "Content-Type: application/json\r\n" in head
    assert f"Bearer {TOKEN}" in head


async def test_an_error_by_post_under_any_status():
    def reply(request: Any) -> tuple[str, Any]:
        error = {"code": -32000, "message": f"you said {TOKEN}"}
        return "500 Internal Server Error", {"jsonrpc": "2.0", "id": request["id"], "error": error}

    async with rpc_post(reply) as peer, rpc_lane() as lane:
        call = await rpc(lane, post(peer, credentials=(REF,)), method="m").run()
    assert TOKEN in call.exchange.body.decode()
    assert "rpc_message" not in call.facts
    assert (call.failure, call.exchange.status, call.facts["rpc_code"]) == (None, 500, -32000)


@pytest.mark.parametrize(
    ("status", "body", "failure_class", "code"),
    [
        ("500 Oops", None, F.STATUS_REFUSED, "status_500"),
        ("202 Accepted", None, F.FRAMING_FAILED, "answer_missing"),
        ("200 OK", b"<html>", F.FRAMING_FAILED, "not_json"),
        ("307 Elsewhere", None, F.STATUS_REFUSED, "status_307"),
    ],
)
async def test_an_answer_by_post_that_is_none(status: str, body: bytes | None, failure_class: F, code: str):
    async with rpc_post(lambda _request: (status, body)) as peer, rpc_lane() as lane:
        call = await rpc(lane, post(peer), method="m").run()
    call.failed(failure_class, code)


async def test_a_session_by_post():
    def reply(message: Any) -> tuple[str, Any]:
        return ("200 OK", result(message)) if "id" in message else ("202 Accepted", None)

    async with rpc_post(reply) as peer, rpc_lane() as lane, session(lane, post(peer)) as (client, call):
        await client.tell("hello")
        for index in range(20):
            await client.ask(index, "m")
        await client.ear.heard(20)
    call.succeeded()
    assert sorted(str(output.facts["id"]) for output in call.ear.outputs) == sorted(map(str, range(20)))
    assert len(peer.requests) == 21


async def test_a_peer_that_asks_back_by_post():
    """Its request comes with the answer; ours goes by a POST of its own, whose answer may speak, too."""

    def reply(message: Any) -> tuple[str, Any]:
        if isinstance(message, dict) and "method" in message:
            return "200 OK", [{"jsonrpc": "2.0", "id": "p", "method": "roots"}, result(message)]
        return "200 OK", {"jsonrpc": "2.0", "method": "thanks"}

    async with rpc_post(reply) as peer, rpc_lane() as lane:
        async with session(lane, post(peer)) as (client, call):
            await client.ask(1, "m")
            told = [await client.next() for _ in range(3)]
        call.succeeded()
        assert [(stream, facts["kind"]) for stream, _message, facts in told] == [
            ("unserved", "request"), ("message", "response"), ("message", "notification"),
        ]  # fmt: skip
        assert (await rpc(lane, post(peer), method="m").run()).exchange.body == b'"ok"'
    [refused] = orjson.loads(peer.requests[1].partition(b"\r\n\r\n")[2])
    assert (refused["id"], refused["error"]["code"]) == ("p", -32601)


async def test_a_post_that_is_not_answered_in_time():
    async def reply(peer: RpcPeer) -> None:
        await peer.raw.request()
        await anyio.sleep_forever()

    async with rpc_peer(reply) as peer, rpc_lane() as lane:
        call = await rpc(lane, post(peer), method="m", timeouts=SHORT).run()
        call.failed(F.READ_TIMEOUT, "request_timeout")
        async with session(lane, post(peer), timeouts=SHORT) as (client, call):
            await client.ask(1, "m")
            assert (await client.next())[0] == "expired"
    call.succeeded()


def test_intents_say_what_is_wrong_with_them():
    transport = plane.TcpTransport(address="a.b:1", framing="newline", allowed_hosts=())
    for fields in [
        {"mode": "call"},
        {"mode": "session", "method": "m"},
        {"params": b"[1]"},
        {"method": "m", "params": b"5"},
        {"method": "m", "params": b"{"},
        {"method": "m", "params": b'{"a":1,"a":2}'},
        {"method": "m", "params": b"[[[]]]", "limits": plane.RpcLimits(max_depth=3)},
        {"method": "m", "serves_peer": True},
        {"method": ""},
    ]:
        with pytest.raises(ValueError, match="validation error"):
            rpc_intent(transport, **fields)
    commands: list[dict[str, Any]] = [{"argv": ()}, {"argv": ("",)}, {"argv": ("x",), "env": (("A", "1"), ("A", "2"))}]
    for fields in commands:
        with pytest.raises(ValueError, match="validation error"):
            rpc_intent(plane.ProcessTransport(framing="newline", **fields))
    with pytest.raises(ValueError, match="validation error"):
        plane.TcpTransport(address="a.b:99999", framing="newline", allowed_hosts=())
    intent = rpc_intent(transport, method="m", params=b"[1]")
    again = plane.JsonRpcIntent.model_validate_json(intent.canonical)
    assert (again.digest, again.has_body, intent.has_body) == (intent.digest, False, True)
