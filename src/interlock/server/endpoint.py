"""A node's endpoint as an ASGI application: the port `plane.Client` over HTTP, and events over WebSocket.

GET  /v1/node                         what the node says of itself
POST /v1/executions                   start: an ExecutionRequest; answered by an AdmissionDecision
GET  /v1/executions/ID?wait=SECONDS   status; with `wait`, once it has ended or the time is over
POST /v1/executions/ID/cancel|attach  by an ExecutionRef; answered by a status, or by the new reference
POST /v1/executions/ID/input          an InputPiece: 204 when it was taken, 202 to be sent again
WS   /v1/executions/ID/events?after=N&reader=NAME   events as binary messages; the client acknowledges by their numbers
"""

from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from interlock import plane
from interlock.kernel import Clock
from interlock.server.bodies import read_body
from interlock.server.errors import NodeClosing
from interlock.server.gate import Gate
from interlock.server.identity import Clients
from interlock.server.readings import LINGER, Readings

MAX_WAIT: Final = 20.0
"""Seconds for which one request is left open; who wants to wait longer asks again."""

DRAIN_SECONDS: Final = 5.0
"""How long readers may take to read how all ended when the node does."""

LEFT: Final = 1000
"""The code with which a client closes that will not come back."""


class NodeEndpoint:
    """The endpoint of one node. `app` is the application; `tasks` outlive its requests."""

    def __init__(
        self,
        node: plane.Node,
        executions: plane.Executions,
        *,
        clients: Clients,
        tasks: TaskGroup,
        clock: Clock,
        hosts: frozenset[str] | None = None,
        linger: float = LINGER,
    ) -> None:
        """`hosts`: the names by which it may be spoken to; None for any."""
        self._node = node
        self._executions = executions
        self._tasks = tasks
        self._readings = Readings(clock, linger=linger)
        self._closing = False
        routes = [
            Route("/v1/node", self._describe),
            Route("/v1/executions", self._start, methods=["POST"]),
            Route("/v1/executions/{execution_id}", self._status),
            Route("/v1/executions/{execution_id}/cancel", self._cancel, methods=["POST"]),
            Route("/v1/executions/{execution_id}/attach", self._attach, methods=["POST"]),
            Route("/v1/executions/{execution_id}/input", self._input, methods=["POST"]),
            WebSocketRoute("/v1/executions/{execution_id}/events", self._events),
        ]
        router = Router(routes, redirect_slashes=False, default=_nothing_here)
        self.app = Gate(router, clients=clients, hosts=hosts)

    async def close(self) -> None:
        """Accept nothing more, end what runs, and let readers read how it ended."""
        self._closing = True
        await self._executions.end_all()
        with anyio.move_on_after(DRAIN_SECONDS):
            await self._readings.drained()

    # -- requests

    async def _describe(self, request: Request) -> Response:
        return _packet(plane.pack(self._node.describe()))

    async def _start(self, request: Request) -> Response:
        if self._closing:
            raise NodeClosing("this node is ending")
        asked = plane.unpack_request(await read_body(request))
        # Not cancelled half-way: an authority that was used and an execution that was not begun would be lost together.
        decision: plane.AdmissionDecision | None = None
        with anyio.CancelScope(shield=True):
            decision = await self._admit(asked, _subject(request))
        assert decision is not None
        return _packet(plane.pack(decision))

    async def _admit(self, asked: plane.ExecutionRequest, subject: str) -> plane.AdmissionDecision:
        try:
            ref = await self._executions.start(
                asked.intent, authority=asked.authority, target_class=asked.target_class, asked_by=subject
            )
        except plane.ExecutionRejected as rejected:
            return plane.AdmissionDecision(rejection=rejected.receipt)
        return plane.AdmissionDecision(execution=ref)

    async def _status(self, request: Request) -> Response:
        ref = self._named(request)
        with anyio.move_on_after(min(_number(request, "wait"), MAX_WAIT)):
            await self._executions.wait(ref)
        return _packet(plane.pack_status(await self._executions.status(ref)))

    async def _cancel(self, request: Request) -> Response:
        ref = await self._steering(request)
        with anyio.move_on_after(MAX_WAIT):
            await self._executions.cancel(ref)
        return _packet(plane.pack_status(await self._executions.status(ref)))

    async def _attach(self, request: Request) -> Response:
        return _packet(plane.pack(await self._executions.attach(await self._steering(request))))

    async def _input(self, request: Request) -> Response:
        piece, data = plane.unpack(plane.InputPiece, await read_body(request))
        ref = self._named(request).model_copy(update={"fence": piece.fence})
        given = plane.to_input(piece, data)
        if given is None:
            await self._executions.end_input(ref)
            return Response(status_code=204)
        with anyio.move_on_after(MAX_WAIT) as waiting:
            await self._executions.send_numbered(ref, given, sender=piece.sender, number=piece.number)
        return Response(status_code=202 if waiting.cancelled_caught else 204)

    # -- events

    async def _events(self, socket: WebSocket) -> None:
        ref, after = self._named(socket), _number(socket, "after")
        key = (ref.execution_id, socket.query_params.get("reader", "")[:64])
        reading = self._readings.take(key, after, lambda: self._executions.attach_reader(ref, after=after))
        left = False
        try:
            with reading.connection:
                await socket.accept()
                left = await _tell(socket, reading.reader)
        finally:
            self._readings.part(key, reading, self._tasks, for_good=left)

    # -- which execution

    def _named(self, connection: HTTPConnection) -> plane.ExecutionRef:
        """The execution of the path, if it is the client's. Raises ExecutionNotFound."""
        execution_id = str(connection.path_params["execution_id"])
        try:
            ref = plane.ExecutionRef(node_id=self._node.node_id, execution_id=execution_id, fence=1)
            if self._executions.find_asker(ref) == _subject(connection):
                return ref
        except (ValidationError, plane.ExecutionNotFound):
            pass
        raise plane.ExecutionNotFound(f"you have no execution {execution_id[:60]!r} on this node")

    async def _steering(self, request: Request) -> plane.ExecutionRef:
        """The reference by which the client steers. Raises ExecutionNotFound, InvalidPacket."""
        known = self._named(request)
        ref, _ = plane.unpack(plane.ExecutionRef, await read_body(request))
        if (ref.node_id, ref.execution_id) != (known.node_id, known.execution_id):
            raise plane.InvalidPacket("the reference is not the one of the path")
        return ref


async def _tell(socket: WebSocket, reader: plane.Reader) -> bool:
    """Send the events as they come, to the receipt. Whether the reader is done: it has all, or does not want more."""
    left = False

    async def listen() -> None:
        nonlocal left
        left = await _acknowledgements(socket, reader)
        both.cancel_scope.cancel()

    async with anyio.create_task_group() as both:
        both.start_soon(listen)
        # uvicorn says by a RuntimeError that it has given a silent client up meanwhile.
        with suppress(WebSocketDisconnect, RuntimeError):
            while batch := await reader.more():
                for event in batch:
                    await socket.send_bytes(plane.pack_event(event))
            await socket.close(LEFT)
            left = True
        both.cancel_scope.cancel()
    return left


async def _acknowledgements(socket: WebSocket, reader: plane.Reader) -> bool:
    """Take acknowledgements until the connection ends. Whether the client has left for good."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return message.get("code") == LEFT
        text = message.get("text") or ""
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            with suppress(WebSocketDisconnect):
                await socket.close(1008)
            return False
        reader.acknowledge(int(text))


async def _nothing_here(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)


def _subject(connection: HTTPConnection) -> str:
    return connection.scope["state"]["subject"]


def _number(connection: HTTPConnection, name: str) -> int:
    text = connection.query_params.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise plane.InvalidPacket(f"{name}={text[:40]!r} is no number")
    return int(text)


def _packet(packet: bytes) -> Response:
    return Response(packet, media_type="application/octet-stream")
