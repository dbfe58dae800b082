"""The JSON-RPC lane over processes and WebSockets: what the lanes below find out, it tells."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from fix_process import PYTHON, Leases, alive, nothing_left
from fix_streams import LOOPBACK, REF, TOKEN, Vault
from interlock import plane
from interlock.adapters import lanes
from interlock.adapters.lanes.websocket import WebSocketLane
from rpc_peers import rpc, session

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

F = plane.FailureClass
SHORT = plane.RpcTimeouts(close_ms=50)
SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    print("took", message.get("method"), file=sys.stderr, flush=True)
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": message.get("params")}), flush=True)
"""


@pytest.fixture
async def lane() -> AsyncGenerator[lanes.JsonRpcLane]:
    """Over processes and WebSockets; nothing of them is left."""
    with nothing_left():
        process = lanes.ProcessLane(credentials=Leases(token=TOKEN))
        socket = WebSocketLane(credentials=Vault(), egress=LOOPBACK)
        lane = lanes.JsonRpcLane(egress=LOOPBACK, process=process, websocket=socket)
        yield lane
        for each in (lane, process, socket):
            await each.aclose()


def command(source: str, *arguments: str, **fields: Any) -> plane.ProcessTransport:
    defaults: dict[str, Any] = {"argv": (*PYTHON, source, *arguments), "framing": "newline", "grace_ms": 0}
    return plane.ProcessTransport(**defaults | fields)


# -- processes


async def test_a_call_to_a_command(lane: lanes.JsonRpcLane, marker: str):
    call = await rpc(lane, command(SERVER, marker), method="m", params=b'["a"]').run()
    call.succeeded()
    assert call.exchange.body == b'["a"]'
    assert (call.facts["exit_code"], call.facts["signal"], call.facts["rpc_code"]) == (0, None, None)
    assert [(output.stream, output.data) for output in call.ear.outputs] == [("stderr", b"took m\n")]
    text = plane.rpc_request(1, "m", b'["a"]') + b"\n"
    assert call.exchange.bytes_sent == len(text) + sum(map(len, command(SERVER, marker).argv))


async def test_a_session_with_a_command(lane: lanes.JsonRpcLane, marker: str):
    async with session(lane, command(SERVER, marker)) as (client, call):
        for index in range(100):
            await client.ask(index, "m")
    call.succeeded()
    answers = [output.facts["id"] for output in call.ear.outputs if output.stream == "message"]
    assert answers == list(range(100))
    assert call.facts["exit_code"] == 0


async def test_a_secret_goes_to_the_command_and_nowhere_else(lane: lanes.JsonRpcLane, marker: str):
    source = """
import json, os, sys
request = json.loads(sys.stdin.readline())
error = {"code": 1, "message": os.environ["TOKEN"]}
print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}), flush=True)
"""
    secret = plane.ProcessSecret(handle="token", field="token", host="a.b:1", env="TOKEN")
    call = await rpc(lane, command(source, marker, secrets=(secret,)), method="m").run()
    assert orjson.loads(call.exchange.body)["message"] == TOKEN
    assert call.failure is None
    assert TOKEN not in str(call.facts)


async def test_a_command_that_is_not_there(lane: lanes.JsonRpcLane):
    call = await rpc(lane, command("", argv=("/nowhere/at-all",)), method="m").run()
    call.failed(F.LAUNCH_FAILED, "command_not_found")
    assert call.exchange.bytes_sent == 0


@pytest.mark.parametrize(
    ("source", "failure_class", "code", "fact"),
    [
        ("print('Traceback', flush=True); input(); input()", F.FRAMING_FAILED, "not_json", None),
        ("print('x' * 9999999, flush=True); input(); input()", F.FRAMING_FAILED, "message_too_large", None),
        ("input(); raise SystemExit(3)", F.PEER_LOST, "peer_lost", ("exit_code", 3)),
        ("import os; input(); os.kill(os.getpid(), 9)", F.PEER_LOST, "peer_lost", ("signal", "SIGKILL")),
        ("input(); print('{', end='', flush=True)", F.PEER_LOST, "message_cut_off", ("exit_code", 0)),
        ("import os; os.close(1); input(); input()", F.READ_TIMEOUT, "request_timeout", ("signal", "SIGKILL")),
        ("raise SystemExit(0)", F.PEER_LOST, "peer_lost", ("exit_code", 0)),
    ],
)
async def test_commands_that_do_not_answer(
    lane: lanes.JsonRpcLane, marker: str, source: str, failure_class: F, code: str, fact: tuple[str, Any] | None
):
    timeouts = plane.RpcTimeouts(request_ms=500 if failure_class is F.READ_TIMEOUT else 30_000)
    call = await rpc(lane, command(source, marker), method="m", timeouts=timeouts).run()
    call.failed(failure_class, code)
    assert not call.exchange.answered
    assert fact is None or call.facts[fact[0]] == fact[1]


@pytest.mark.parametrize(
    ("source", "failure_class", "fact"),
    [
        ("raise SystemExit(3)", F.EXIT_NONZERO, ("exit_code", 3)),
        ("import os; os.kill(os.getpid(), 9)", F.KILLED_BY_SIGNAL, ("signal", "SIGKILL")),
        ("raise SystemExit(0)", None, ("exit_code", 0)),
    ],
)
@pytest.mark.parametrize("ends", [False, True], ids=["by-itself", "after-the-last-word"])
async def test_how_a_command_ends_with_nothing_open(
    lane: lanes.JsonRpcLane,
    marker: str,
    source: str,
    failure_class: F | None,
    fact: tuple[str, Any],
    *,
    ends: bool,
):
    """A session has no answer that could make up for it."""
    lines = SERVER.replace("sys.stdin", "sys.stdin" if ends else "[input()]")
    async with session(lane, command(f"{lines}\n{source}", marker)) as (client, call):
        await client.ask(1, "m")
        await client.ear.heard(2)
        if not ends:
            await call.ended.wait()
    if failure_class is None:
        call.succeeded()
    else:
        call.failed(failure_class)
    assert call.exchange.answered
    assert call.facts[fact[0]] == fact[1]


async def test_an_answer_counts_however_the_command_ends(lane: lanes.JsonRpcLane, marker: str):
    call = await rpc(lane, command(f"{SERVER}\nraise SystemExit(3)", marker), method="m").run()
    call.succeeded()
    assert call.facts["exit_code"] == 3


async def test_a_command_that_does_not_leave(lane: lanes.JsonRpcLane, marker: str):
    source = f"{SERVER}\nimport signal\nwhile True: signal.pause()"
    call = await rpc(lane, command(source, marker), method="m", timeouts=SHORT).run()
    call.succeeded()
    assert call.facts["signal"] == "SIGKILL"
    assert not alive(marker)


async def test_a_command_that_does_not_read(lane: lanes.JsonRpcLane, marker: str):
    timeouts = plane.RpcTimeouts(write_ms=100, close_ms=50)
    limits = plane.RpcLimits(max_message_bytes=16_777_216)
    async with session(lane, command("import signal; signal.pause()", marker), timeouts=timeouts, limits=limits) as (
        client,
        call,
    ):
        for _ in range(3):
            await client.send(b'{"jsonrpc":"2.0","method":"m","params":["' + b"x" * 2_000_000 + b'"]}')
        await call.ended.wait()
    call.failed(F.WRITE_TIMEOUT)


async def test_a_cancelled_session_leaves_no_command(lane: lanes.JsonRpcLane, marker: str):
    call = rpc(lane, command(SERVER, marker))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.run)
        await call.ear.inbox.send(plane.Input(data=b'{"jsonrpc":"2.0","id":1,"method":"m"}'))
        await call.ear.heard(2)
        assert alive(marker)
        tasks.cancel_scope.cancel()
    assert not alive(marker)
    assert call.facts["signal"] == "SIGKILL"


# -- WebSockets


@asynccontextmanager
async def socket(handler: Any, **settings: Any) -> AsyncGenerator[plane.WebSocketTransport]:
    async with serve(handler, "127.0.0.1", 0, **settings) as listening:
        host = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield plane.WebSocketTransport(url=f"ws://{host}/rpc", allowed_hosts=(host,), credentials=(REF,))


async def echo(connection: ServerConnection) -> None:
    async for text in connection:
        message = orjson.loads(text)
        if "id" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": message.get("params")}
            await connection.send(orjson.dumps(answer).decode())


async def test_a_call_over_a_websocket(lane: lanes.JsonRpcLane):
    async with socket(echo) as transport:
        call = await rpc(lane, transport, method="m", params=b"[1]").run()
    call.succeeded()
    assert (call.exchange.body, call.exchange.status, call.exchange.peer) == (b"[1]", 101, "127.0.0.1")
    assert call.facts["close_code"] == 1000


async def test_a_session_over_a_websocket(lane: lanes.JsonRpcLane):
    async with socket(echo) as transport, session(lane, transport) as (client, call):
        for index in range(100):
            await client.ask(index, "m", ["é"])
        await client.ear.heard(100)
    call.succeeded()
    assert [output.facts["id"] for output in call.ear.outputs] == list(range(100))


@pytest.mark.parametrize(
    ("text", "failure_class", "code"),
    [
        ("hello", F.FRAMING_FAILED, "not_json"),
        ("", F.FRAMING_FAILED, "not_json"),
        ("x" * 9999, F.RESPONSE_TOO_LARGE, "message_too_large"),
    ],
)
async def test_garbage_over_a_websocket(lane: lanes.JsonRpcLane, text: str, failure_class: F, code: str):
    async def handler(connection: ServerConnection) -> None:
        await connection.send(text)
        await connection.wait_closed()

    async with socket(handler) as transport:
        call = await rpc(lane, transport, method="m", limits=plane.RpcLimits(max_message_bytes=999)).run()
    call.failed(failure_class, code)


async def test_a_websocket_that_closes_with_a_request_open(lane: lanes.JsonRpcLane):
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()

    async with socket(handler) as transport:
        call = await rpc(lane, transport, method="m").run()
    call.failed(F.PEER_LOST)
    assert call.facts["close_code"] == 1000


async def test_a_websocket_that_breaks_with_nothing_open(lane: lanes.JsonRpcLane):
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with socket(handler) as transport, session(lane, transport) as (_client, call):
        await call.ended.wait()
    call.failed(F.PEER_LOST)
    assert not call.exchange.answered


async def test_a_websocket_that_is_refused(lane: lanes.JsonRpcLane):
    async def refuse(connection: ServerConnection, _request: Any) -> Any:
        return connection.respond(403, "no")

    async with socket(echo, process_request=refuse) as transport:
        call = await rpc(lane, transport, method="m").run()
    call.failed(F.STATUS_REFUSED, "status_403")


async def test_a_cancelled_call_leaves_no_websocket(lane: lanes.JsonRpcLane):
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"jsonrpc":"2.0","method":"took"}')
        await connection.wait_closed()

    async with socket(handler) as transport:
        call = rpc(lane, transport, method="m")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run)
            await call.ear.heard(1)
            tasks.cancel_scope.cancel()
    assert call.exchange.bytes_sent
    assert not call.exchange.answered
