"""JSON-RPC by POST whose answers are streams of server-sent events, and MCP's Streamable HTTP with a server of others."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import mcp
import orjson
import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage
from starlette.types import Message, Receive, Scope, Send

from fix_peer import Conversation, Peer, listen
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


# -- a session that is heard, resumed and ended

INIT: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}
NAMED = HEAD.replace(b"\r\n\r\n", b"\r\nSession-Id: abc\r\n\r\n")


def heard(peer: Peer, **fields: Any) -> plane.HttpTransport:
    return post(peer, session_header="Session-Id", listens=True, **fields)


def told_event(value: object, event_id: str = "", retry: int | None = 1) -> bytes:
    """One event with its id."""
    lines = b"" if retry is None else b"retry: %d\n" % retry
    return lines + (b"id: " + event_id.encode() + b"\n" if event_id else b"") + event(value)


class Told:
    """A peer whose answers a test gives, request by request: by its first line."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.by_line: dict[str, list[bytes]] = {}

    async def serve(self, peer: Conversation) -> None:
        while True:
            request = await peer.request()
            head, _, body = request.partition(b"\r\n\r\n")
            method = head.split(b" ", 1)[0].decode()
            last = next((line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"last-event-id: ")), b"")
            self.seen.append((method, last.decode()))
            waiting = self.by_line.get(method, [])
            answer = waiting.pop(0) if waiting else None
            if answer is None:
                if method == "GET":
                    await peer.send(HEAD)
                    await peer.receive()  # the stream stays open until the client leaves
                    return
                await peer.answer(b"", "202 Accepted" if body else "200 OK")
                continue
            await peer.send(answer)
            if not answer.endswith(END):
                return  # the link breaks


async def test_the_session_is_heard_by_itself_resumed_and_ended():
    told = Told()
    reply = {"jsonrpc": "2.0", "id": 1, "result": "hello"}
    told.by_line = {
        "POST": [NAMED + chunk(event(reply)) + END],
        "GET": [
            HEAD + chunk(told_event(notice("first"), "e1")) + END,  # a proper end is none of the session
            HEAD + chunk(told_event(notice("second"), "e2") + b"data: half"),  # and here the link breaks
            b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n" + END,
        ],
    }
    async with listen(told.serve) as peer, rpc_lane() as lane, session(lane, heard(peer)) as (client, call):
        await client.ask(1, "initialize")
        assert (await client.next())[1] == reply
        assert ("GET", "") not in told.seen
        await client.tell("notifications/initialized")
        assert (await client.next())[1]["method"] == "first"
        assert (await client.next())[1]["method"] == "second"
        with anyio.fail_after(PATIENCE):
            while [each for each in told.seen if each[0] == "GET"] != [
                ("GET", ""), ("GET", "e1"), ("GET", "e2"), ("GET", "e2"),
            ]:  # fmt: skip
                await anyio.lowlevel.checkpoint()
    call.succeeded()
    assert told.seen[-1] == ("DELETE", "")
    assert all(b"Session-Id: abc" in request for request in peer.requests[1:])


@pytest.mark.parametrize("status", [b"405 No", b"404 Gone", b"200 OK"])
async def test_a_peer_that_says_nothing_by_itself_is_asked_once(status: bytes):
    told = Told()
    told.by_line = {
        "POST": [NAMED + chunk(event({"jsonrpc": "2.0", "id": 1, "result": 1})) + END],
        "GET": [b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + END],
    }
    async with listen(told.serve) as peer, rpc_lane() as lane, session(lane, heard(peer)) as (client, call):
        await client.ask(1, "initialize")
        await client.next()
        await client.tell("notifications/initialized")
        with anyio.fail_after(PATIENCE):
            while ("GET", "") not in told.seen:
                await anyio.lowlevel.checkpoint()
        await client.tell("more")
    call.succeeded()
    assert [method for method, _last in told.seen] in (
        ["POST", "POST", "GET", "POST", "DELETE"],
        ["POST", "GET", "POST", "POST", "DELETE"],
    )
    assert call.exchange.status == 202


@pytest.mark.parametrize("end", [END, b""])
async def test_an_answer_that_breaks_off_is_resumed_after_its_last_event(end: bytes):
    told = Told()
    reply = {"jsonrpc": "2.0", "id": 1, "result": "late"}
    told.by_line = {
        "POST": [NAMED + chunk(told_event(notice("progress"), "p1")) + end],
        "GET": [HEAD + chunk(told_event(notice("more"), "p2")) + END, HEAD + chunk(told_event(reply, "p3")) + END],
    }
    async with listen(told.serve) as peer, rpc_lane() as lane:
        call = await rpc(lane, heard(peer), method="m").run()
    call.succeeded()
    assert call.exchange.body == b'"late"'
    assert told.seen == [("POST", ""), ("GET", "p1"), ("GET", "p2"), ("DELETE", "")]


async def test_an_answer_that_the_peer_has_no_more_is_as_it_was():
    told = Told()
    told.by_line = {
        "POST": [NAMED + chunk(told_event(notice("progress"), "p1"))],
        "GET": [b"HTTP/1.1 404 Gone\r\nTransfer-Encoding: chunked\r\n\r\n" + END],
    }
    async with listen(told.serve) as peer, rpc_lane() as lane:
        call = await rpc(lane, heard(peer), method="m").run()
    call.failed(F.READ_FAILED, "answer_cut_off")


def test_what_listens_names_its_session():
    with pytest.raises(ValueError, match="say in which header"):
        plane.HttpTransport(url="https://a.example/", allowed_hosts=("a.example:443",), listens=True)


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

    @server.tool()
    async def shout(ctx: Context) -> str:
        """Says something that belongs to no request."""
        await ctx.session.send_tool_list_changed()
        return "shouted"

    @server.tool()
    async def hang_up(ctx: Context) -> str:
        """Ends the connections, and goes on."""
        await ctx.close_sse_stream()
        await ctx.close_standalone_sse_stream()
        await ctx.session.send_tool_list_changed()
        return "still here"

    return server


class Kept(EventStore):
    """What was said, so that it can be said again."""

    def __init__(self) -> None:
        self._said: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._said.append((stream_id, message))
        return str(len(self._said))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        stream_id = self._said[int(last_event_id) - 1][0]
        for number, (stream, message) in enumerate(self._said[int(last_event_id) :], int(last_event_id) + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


@asynccontextmanager
async def serving(
    *, stateless: bool, kept: EventStore | None = None, opened: anyio.Event | None = None
) -> AsyncGenerator[str]:
    """A real MCP server at a real port; its `host:port`. `opened` is set when a GET is answered."""
    app = mcp_server().streamable_http_app(stateless_http=stateless, event_store=kept, retry_interval=1)

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            await send(message)
            if opened is not None and scope["method"] == "GET":
                opened.set()

        await app(scope, receive, tell if scope["type"] == "http" else send)

    config = uvicorn.Config(watched, log_config=None, lifespan="on")
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


async def test_an_mcp_server_that_speaks_by_itself_and_hangs_up():
    """A session with all that Streamable HTTP has: the GET stream, resumption of both kinds, DELETE."""
    version = ("MCP-Protocol-Version", INIT["protocolVersion"])
    opened = anyio.Event()
    async with serving(stateless=False, kept=Kept(), opened=opened) as host, rpc_lane() as lane:
        there: dict[str, Any] = {"url": f"http://{host}/mcp", "allowed_hosts": (host,), "headers": (version,)}
        transport = plane.HttpTransport(**there, session_header="mcp-session-id", listens=True)
        async with session(lane, transport, timeouts=PATIENT) as (client, call):
            await client.ask(0, "initialize", INIT)
            assert (await client.next())[1]["id"] == 0
            await client.tell("notifications/initialized")
            await opened.wait()
            for number, tool in enumerate(("shout", "hang_up"), 1):
                await client.ask(number, "tools/call", {"name": tool, "arguments": {}})
                said = [(await client.next())[1] for _ in range(2)]  # in whatever order
                [answer] = [each for each in said if each.get("id") == number]
                assert answer["result"]["isError"] is False
                assert [each.get("method") for each in said if each is not answer] == [
                    "notifications/tools/list_changed"
                ]
            [named] = [value for name, value in call.exchange.headers if name == "mcp-session-id"]
        call.succeeded()
        plain = {"session_header": None, "listens": False, "headers": (version, ("mcp-session-id", named))}
        late = transport.model_copy(update=plain)
        gone = await rpc(lane, late, method="tools/list").run()
        assert gone.exchange.status == 404


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
            assert {tool.name for tool in (await client.list_tools()).tools} >= {"add", "count"}
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
