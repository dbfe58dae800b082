"""Fixtures of the JSON-RPC lane: intents, and peers on loopback that speak as a test wants."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import orjson

from fix_peer import Conversation, Peer, Script, listen
from fix_streams import LOOPBACK, Call, Ear, Vault
from interlock import plane, testing
from interlock.adapters import lanes

MINUTE = plane.RpcTimeouts(request_ms=20_000, close_ms=2_000)


class RpcPeer:
    """One connection, seen from the peer: messages in, messages or bytes out."""

    def __init__(self, conversation: Conversation, framing: plane.FramingName) -> None:
        self.raw = conversation
        self._framing = plane.make_framing(framing, max_bytes=2**26)
        self._waiting: deque[Any] = deque()

    async def next(self) -> Any:
        """The next message; raises EndOfStream when there is none."""
        while not self._waiting:
            self._waiting.extend(orjson.loads(text) for text in self._framing.feed(await self.raw.receive()))
        return self._waiting.popleft()

    async def say(self, value: Any) -> None:
        await self.raw.send(self._framing.encode(orjson.dumps(value)))

    async def answer(self, request: Any, result: Any = None) -> None:
        await self.say({"jsonrpc": "2.0", "id": request["id"], "result": result})


@asynccontextmanager
async def rpc_peer(
    script: Callable[[RpcPeer], Awaitable[None]], framing: plane.FramingName = "newline", **options: Any
) -> AsyncGenerator[Peer]:
    """A peer over TCP."""

    async def serve(conversation: Conversation) -> None:
        await script(RpcPeer(conversation, framing))

    async with listen(serve, **options) as peer:
        yield peer


@asynccontextmanager
async def rpc_post(reply: Callable[[Any], tuple[str, Any]]) -> AsyncGenerator[Peer]:
    """A peer over HTTP: `reply` gives the status and the answer to a message; None is an empty answer."""

    async def serve(conversation: Conversation) -> None:
        while True:
            request = await conversation.request()
            status, value = reply(orjson.loads(request.partition(b"\r\n\r\n")[2]))
            body = b"" if value is None else value if isinstance(value, bytes) else orjson.dumps(value)
            await conversation.answer(body, status, "Content-Type: application/json; charset=utf-8")

    script: Script = serve
    async with listen(script) as peer:
        yield peer


def tcp(peer: Peer, framing: plane.FramingName = "newline", **fields: Any) -> plane.TcpTransport:
    defaults: dict[str, Any] = {"address": peer.host, "tls": False, "framing": framing, "allowed_hosts": (peer.host,)}
    return plane.TcpTransport(**defaults | fields)


def post(peer: Peer, **fields: Any) -> plane.HttpTransport:
    defaults: dict[str, Any] = {"url": f"{peer.url}/rpc", "allowed_hosts": (peer.host,)}
    return plane.HttpTransport(**defaults | fields)


def rpc_intent(transport: plane.RpcTransport, **fields: Any) -> plane.JsonRpcIntent:
    """A valid intent: a session, or a call if it names a method."""
    defaults: dict[str, Any] = {
        "intent_id": "snd_1",
        "tenant_id": "default",
        "run_id": "run_1",
        "attempt_id": "att_1",
        "trace_id": "trace-1",
        "transport": transport,
        "mode": "call" if "method" in fields else "session",
        "timeouts": MINUTE,
        "deadline_at": testing.ManualClock().now() + timedelta(seconds=60),
    }
    return plane.JsonRpcIntent(**defaults | fields)


@asynccontextmanager
async def rpc_lane(**options: Any) -> AsyncGenerator[lanes.JsonRpcLane]:
    """The lane, over TCP and HTTP on loopback."""
    http = lanes.HttpLane(credentials=Vault(), egress=LOOPBACK)
    defaults: dict[str, Any] = {"egress": LOOPBACK, "http": http}
    lane = lanes.JsonRpcLane(**defaults | options)
    try:
        yield lane
    finally:
        await lane.aclose()
        await http.aclose()


def rpc(lane: plane.Lane, transport: plane.RpcTransport, **fields: Any) -> Call:
    return Call(lane, rpc_intent(transport, **fields), testing.ManualClock())


class Client:
    """Speaks through a session."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._seen = 0

    @property
    def ear(self) -> Ear:
        return self._call.ear

    async def send(self, value: Any) -> None:
        text = value if isinstance(value, bytes) else orjson.dumps(value)
        await self.ear.inbox.send(plane.Input(data=text))

    async def ask(self, request_id: Any, method: str, params: Any = None) -> None:
        message = {"jsonrpc": "2.0", "id": request_id, "method": method}
        await self.send(message if params is None else {**message, "params": params})

    async def tell(self, method: str, params: Any = None) -> None:
        message = {"jsonrpc": "2.0", "method": method}
        await self.send(message if params is None else {**message, "params": params})

    async def next(self) -> tuple[str, Any, dict[str, Any]]:
        """The next output: its stream, its message, its facts."""
        await self.ear.heard(self._seen + 1)
        output = self.ear.outputs[self._seen]
        self._seen += 1
        return output.stream, orjson.loads(output.data) if output.data else None, dict(output.facts)

    def end(self) -> None:
        self.ear.inbox.end()


@asynccontextmanager
async def session(
    lane: plane.Lane, transport: plane.RpcTransport, **fields: Any
) -> AsyncGenerator[tuple[Client, Call]]:
    """A session beside the block. At the end of the block its input ends, and its own end is waited for."""
    call = rpc(lane, transport, **fields)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.run)
        client = Client(call)
        yield client, call
        client.end()
        with anyio.fail_after(20):
            await call.ended.wait()
