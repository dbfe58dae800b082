"""The JSON-RPC lane: a call, or a conversation in both directions, over whatever carries its messages."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

from interlock import plane
from interlock.adapters.lanes.credentials import show_at
from interlock.adapters.lanes.egress import Egress
from interlock.adapters.lanes.rpc_http import HttpLink
from interlock.adapters.lanes.rpc_links import LaneLink, Link, TcpLink
from interlock.adapters.lanes.rpc_talk import Talk
from interlock.adapters.lanes.wire import Dialler, Wire


class JsonRpcLane:
    """Carries `plane.JsonRpcIntent`.

    What is sent into a session are messages, one text or a batch each. Out come, by stream: `message` (what the peer says;
    facts `kind`, `id`, `method`, and `code` of an error), `stray` (an answer to nothing; `reason`), `invalid` (JSON and
    no JSON-RPC; `reason`), `unserved` (a request of the peer's that was refused for the caller; `code`), `refused` (input
    that was not sent; `reason`), `expired` (a request whose time was over; `id`), and a command's `stderr`.
    """

    def __init__(
        self,
        *,
        egress: Egress,
        credentials: plane.CredentialResolver | None = None,
        http: plane.Lane | None = None,
        websocket: plane.Lane | None = None,
        process: plane.Lane | None = None,
        lane_id: str = "jsonrpc",
    ) -> None:
        """It rides on other lanes, which are their owner's to close; it does not take intents for those it has not.
        `credentials` redeems client certificates for its own connections."""
        self._credentials = credentials
        self._dialler = Dialler(egress)
        self._lanes = {"http": http, "websocket": websocket, "process": process}
        self._lane_id = lane_id
        self._wires: set[Wire] = set()
        self._closed = False

    @property
    def lane_id(self) -> str:
        return self._lane_id

    @property
    def carries(self) -> type[plane.JsonRpcIntent]:
        return plane.JsonRpcIntent

    async def execute(self, intent: plane.JsonRpcIntent, exchange: plane.Exchange) -> None:
        try:
            async with self._link(intent, exchange) as link:
                await Talk(intent, exchange, link).hold()
        except BaseExceptionGroup as group:
            failure = _lone(group)
            if failure is None:
                raise
            raise failure from group

    async def aclose(self) -> None:
        self._closed = True
        for wire in self._wires:
            wire.close()
        await anyio.lowlevel.checkpoint()  # then they are gone

    @asynccontextmanager
    async def _link(self, intent: plane.JsonRpcIntent, exchange: plane.Exchange) -> AsyncGenerator[Link]:
        if self._closed:
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, "the lane is closed", code="lane_closed")
        transport, write_ms = intent.transport, intent.timeouts.write_ms
        match transport:
            case plane.TcpTransport():
                async with self._wire(transport, intent) as wire:
                    yield TcpLink(wire, transport, intent, exchange)
            case plane.ProcessTransport():
                framing = plane.make_framing(transport.framing, max_bytes=intent.limits.max_message_bytes)
                link = LaneLink(
                    self._below("process"),
                    transport.carrier(intent),
                    exchange,
                    stream="stdout",
                    framing=framing,
                    write_ms=write_ms,
                )
                async with link.running():
                    yield link
            case plane.WebSocketTransport():
                link = LaneLink(
                    self._below("websocket"),
                    transport.carrier(intent),
                    exchange,
                    stream="message",
                    framing=None,
                    write_ms=write_ms,
                )
                async with link.running():
                    yield link
            case plane.HttpTransport():
                async with anyio.create_task_group() as tasks:
                    link = HttpLink(self._below("http"), transport, intent, exchange, tasks)
                    try:
                        yield link
                        tasks.cancel_scope.cancel()
                    finally:
                        link.close()
                        await link.leave()

    def _below(self, name: str) -> plane.Lane:
        lane = self._lanes[name]
        if lane is None:
            message = f"the lane {self._lane_id} has no {name} lane to go over"
            raise plane.LaneFailure(plane.FailureClass.LANE_UNAVAILABLE, message, code="transport_not_registered")
        return lane

    @asynccontextmanager
    async def _wire(self, transport: plane.TcpTransport, intent: plane.JsonRpcIntent) -> AsyncGenerator[Wire]:
        if transport.host not in transport.allowed_hosts:
            message = f"{transport.host} is not among the hosts that this call may reach"
            raise plane.LaneFailure(plane.FailureClass.HOST_NOT_ALLOWED, message)
        options = None if isinstance(transport.tls, bool) else transport.tls
        shown = await show_at(self._credentials, intent, transport.credentials, options, transport.host)
        wire = await self._dialler.dial(transport.target, intent.timeouts.connect_ms / 1000, shown.tls)
        self._wires.add(wire)
        try:
            yield wire
        finally:
            self._wires.discard(wire)
            wire.close()


def _lone(group: BaseExceptionGroup[BaseException]) -> plane.LaneFailure | None:
    """The lane's own failure, the first of a group of nothing else."""
    failures, others = group.split(plane.LaneFailure)
    first: BaseException | None = failures if others is None else None
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert first is None or isinstance(first, plane.LaneFailure)
    return first
