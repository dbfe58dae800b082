"""JSON-RPC by POST whose answers are streams of server-sent events, and MCP's Streamable HTTP with a server of others."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import anyio.lowlevel
import mcp
import orjson
import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

from fix_peer import Conversation, listen
from fix_streams import END, HEAD, LOOPBACK, PATIENCE, Vault, chunk
from interlock import kernel, plane
from interlock.adapters import lanes
from interlock.adapters.mcp import plane_streams
from rpc_peers import post, rpc, rpc_intent, rpc_lane, session

pytestmark = pytest.mark.anyio

F = plane.FailureClass
HOUR = timedelta(hours=1)
PATIENT = plane.RpcTimeouts(request_ms=60_000, close_ms=20_000)


def event(value: object, name: str = "message") -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"


def notice(method: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method}


async def asked(peer: Conversation) -> dict[str, object]:
    return orjson.loads((await peer.request()).partition(b"\r\n\r\n")[2])


async def test_messages_come_as_they_are_said():
    go_on = anyio.Event()

    async def script(peer: Conversation) -> None:
        request = await asked(peer)
        text = b": hello\n\n" + event("no message", "ping") + event(notice("one"))
        await peer.send(HEAD + b"".join(chunk(bytes([byte])) for byte in text))
        await go_on.wait()
        await peer.send(chunk(event(notice("two")) + event({"jsonrpc": "2.0", "id": request["id"], "result": 3})) + END)

    async with listen(script) as peer, rpc_lane() as lane, session(lane, post(peer)) as (client, call):
        await client.ask(7, "m")
        assert (await client.next())[1]["method"] == "one"
        go_on.set()
        assert (await client.next())[1]["method"] == "two"
        assert (await client.next())[1]["result"] == 3
    call.succeeded()
    assert b"Accept: application/json, text/event-stream\r\n" in peer.requests[0]


async def test_a_call():
    async def script(peer: Conversation) -> None:
        request = await asked(peer)
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": [1]}
        await peer.send(HEAD + chunk(event(notice("progress")) + event(answer)) + END)

    async with listen(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, post(peer), method="m").run()
    call.succeeded()
    assert call.exchange.body == b"[1]"


@pytest.mark.parametrize(
    ("answer", "failure_class", "code"),
    [
        (HEAD + chunk(b": nothing\n\n") + END, F.FRAMING_FAILED, "answer_missing"),
        (HEAD + chunk(b"data: " + b"x" * 2_000), F.RESPONSE_TOO_LARGE, "message_too_large"),
        (HEAD + chunk(b"data: no json\n\n") + END, F.FRAMING_FAILED, "not_json"),
        (HEAD.replace(b"200", b"500") + chunk(b"data: 1\n\n") + END, F.STATUS_REFUSED, "status_500"),
        (HEAD + chunk(event(notice("m"))), F.READ_FAILED, "answer_cut_off"),
    ],
)
async def test_a_stream_without_the_answer(answer: bytes, failure_class: F, code: str):
    async def script(peer: Conversation) -> None:
        await peer.request()
        await peer.send(answer)

    limits = plane.RpcLimits(max_message_bytes=1_000)
    async with listen(script) as peer, rpc_lane() as lane:
        call = await rpc(lane, post(peer), method="m", limits=limits).run()
    call.failed(failure_class, code)


async def test_what_names_the_session_is_said_again():
    async def script(peer: Conversation) -> None:
        for status, named in (("400 No", "no"), ("200 OK", "abc"), ("200 OK", None), ("200 OK", None)):
            request = await asked(peer)
            reply = orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": 1})
            more = () if named is None else (f"Session-Id: {named}",)
            await peer.answer(reply, status, "Content-Type: application/json", *more)

    async with listen(script) as peer, rpc_lane() as lane:
        transport = post(peer, session_header="Session-Id")
        async with session(lane, transport) as (client, call):
            for number in range(4):
                await client.ask(number, "m")
                await client.next()
    call.succeeded()
    said = [request.partition(b"Session-Id: ")[2][:3] for request in peer.requests]
    assert said == [b"", b"", b"abc", b"abc"]


async def test_an_error_without_an_id_is_about_the_request_that_it_answers():
    async def script(peer: Conversation) -> None:
        await asked(peer)
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no session", "data": [1]}}
        await peer.answer(orjson.dumps(error), "400 Bad Request", "Content-Type: application/json")

    async with listen(script) as peer, rpc_lane() as lane, session(lane, post(peer)) as (client, call):
        await client.ask("a", "m")
        stream, message, _facts = await client.next()
    call.succeeded()
    assert (stream, message["id"], message["error"]["data"]) == ("message", "a", [1])


@pytest.mark.parametrize("name", ["Accept", "x-mine", "Authorization"])
def test_a_header_that_says_something_else_cannot_name_the_session(name: str):
    with pytest.raises(ValueError, match="cannot name the session"):
        plane.HttpTransport(
            url="https://a.example/",
            allowed_hosts=("a.example:443",),
            headers=(("X-Mine", "1"),),
            session_header=name,
        )


def mcp_server() -> MCPServer:
    server = MCPServer("tests")

    @server.tool()
    def add(a: int, b: int) -> int:
        """The sum of two numbers."""
        return a + b

    @server.tool()
    async def count(ctx: Context, to: int) -> str:
        """Tells its progress."""
        for step in range(to):
            await ctx.report_progress(step + 1, to)
        return "done"

    return server


@asynccontextmanager
async def serving(*, stateless: bool) -> AsyncGenerator[str]:
    """A real MCP server at a real port; its `host:port`."""
    app = mcp_server().streamable_http_app(stateless_http=stateless)
    config = uvicorn.Config(app, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listening])
            with anyio.fail_after(PATIENCE):
                while not server.started:
                    await anyio.lowlevel.checkpoint()
            yield f"127.0.0.1:{listening.getsockname()[1]}"
            server.should_exit = True


@pytest.mark.parametrize("stateless", [False, True])
async def test_an_mcp_server(*, stateless: bool):
    clock, steps = kernel.SystemClock(), list[float]()
    authorizer = plane.Authorizer(clock=clock)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    http = lanes.HttpLane(credentials=Vault(), egress=LOOPBACK)
    lane = lanes.JsonRpcLane(egress=LOOPBACK, http=http)
    target = plane.LocalTarget("here", target_class="local-rpc", lane_id=lane.lane_id, clock=clock)
    node = plane.Node("node", lanes=[lane], targets=[target], verifier=authorizer.verifier(), clock=clock)
    async with (
        serving(stateless=stateless) as host,
        plane.Executions(node, clock=clock, ids=kernel.Uuid7Ids(clock)) as executions,
    ):
        transport = plane.HttpTransport(
            url=f"http://{host}/mcp", allowed_hosts=(host,), session_header="mcp-session-id"
        )
        intent = rpc_intent(
            transport, serves_peer=True, cancellation="mcp", timeouts=PATIENT, deadline_at=clock.now() + HOUR
        )
        authority = authorizer.issue(intent.digest, audience="node", target_class="local-rpc")
        ref = await executions.start(intent, authority=authority, target_class="local-rpc")
        async with mcp.Client(plane_streams(executions, ref)) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"add", "count"}
            answer = await client.call_tool("add", {"a": 2, "b": 40})
            assert (answer.is_error, answer.structured_content) == (False, {"result": 42})
            await client.call_tool("count", {"to": 3}, progress_callback=on_progress)
        receipt = await executions.wait(ref)
        await lane.aclose()
        await http.aclose()
    assert receipt.failure is None
    assert steps == [1, 2, 3]
    assert (receipt.facts["rpc_stray"], receipt.facts["rpc_invalid"]) == (0, 0)
    assert plane.verify_evidence(receipt) is None
