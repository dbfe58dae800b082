"""MCP through the plane: the streams that the `mcp` library speaks by, over a session of the JSON-RPC lane.

Needs the extra `mcp`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from pydantic import ValidationError

from interlock import plane
from interlock.kernel import InterlockError

try:
    from mcp.shared.message import SessionMessage
    from mcp_types import INTERNAL_ERROR, REQUEST_TIMEOUT, ErrorData, JSONRPCError, jsonrpc_message_adapter
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError('MCP needs a library: pip install "interlock[mcp]"', name=missing.name) from missing

Streams: TypeAlias = tuple[
    MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]
]
"""To read from, and to write to."""


@asynccontextmanager
async def plane_streams(client: plane.Client, ref: plane.ExecutionRef) -> AsyncGenerator[Streams]:
    """What `mcp.Client` and `mcp.ClientSession` read from and write to, for a session that was just started (with
    `cancellation="mcp"` and `serves_peer=True`). The session's input ends with the block; `client.wait` tells how all of it
    ended."""
    said, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, to_say = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks, said, read, write, to_say:
        tasks.start_soon(_hear, client, ref, said)
        tasks.start_soon(_say, client, ref, to_say)
        try:
            yield read, write
        finally:
            with anyio.CancelScope(shield=True), suppress(InterlockError):
                await client.end_input(ref)
            tasks.cancel_scope.cancel()


async def _hear(
    client: plane.Client, ref: plane.ExecutionRef, said: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    async with said, aclosing(client.subscribe(ref)) as events:
        with suppress(anyio.BrokenResourceError):  # the library listens no more
            async for event in events:
                message = _message(event)
                if message is not None:
                    await said.send(message)


def _message(event: plane.ExecutionEvent) -> SessionMessage | Exception | None:
    """What the library is told of an event: messages, and why a request of its own will not be answered."""
    request_id = event.facts.get("id")
    match event.stream:
        case "message":
            try:
                return SessionMessage(jsonrpc_message_adapter.validate_json(event.data, by_name=False))
            except ValidationError as error:
                return error
        case "expired":
            failure = ErrorData(code=REQUEST_TIMEOUT, message="no answer in time")
        case "refused":
            failure = ErrorData(code=INTERNAL_ERROR, message=f"not sent: {event.facts.get('reason')}")
        case _:
            return None
    if not isinstance(request_id, str | int):
        return None
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request_id, error=failure))


async def _say(
    client: plane.Client, ref: plane.ExecutionRef, to_say: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    async with to_say:
        with suppress(InterlockError):  # the execution is over: the library comes to the end of what it reads
            async for message in to_say:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await client.send_input(ref, plane.Input(kind=plane.InputKind.TEXT, data=text.encode()))
