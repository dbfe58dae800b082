"""MCP through the plane: the streams that the `mcp` library speaks by, over a session of the JSON-RPC lane.

Needs the extra `mcp`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from pydantic import ValidationError

from interlock import agents, plane
from interlock.kernel import JSON, InterlockError, UnknownOutcome

try:
    import mcp_types
    from mcp import Client
    from mcp.shared.exceptions import MCPError
    from mcp.shared.message import SessionMessage
    from mcp_types import (
        CONNECTION_CLOSED,
        INTERNAL_ERROR,
        REQUEST_TIMEOUT,
        ErrorData,
        JSONRPCError,
        jsonrpc_message_adapter,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError('MCP needs a library: pip install "interlock[mcp]"', name=missing.name) from missing

MOST_PAGES: Final = 50

_CALL: Final = "tools/call"

Streams: TypeAlias = tuple[
    MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]
]
"""To read from, and to write to."""


@asynccontextmanager
async def plane_streams(
    client: plane.Client, ref: plane.ExecutionRef, *, handed: list[str] | None = None
) -> AsyncGenerator[Streams]:
    """What `mcp.Client` and `mcp.ClientSession` read from and write to, for a session that was just started (with
    `cancellation="mcp"` and `serves_peer=True`). The session's input ends with the block; `client.wait` tells how all of it
    ended. `handed` is told the method of every request and notification that may have left, before it does."""
    said, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, to_say = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks, said, read, write, to_say:
        tasks.start_soon(_hear, client, ref, said)
        tasks.start_soon(_say, client, ref, to_say, [] if handed is None else handed)
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
    client: plane.Client,
    ref: plane.ExecutionRef,
    to_say: MemoryObjectReceiveStream[SessionMessage],
    handed: list[str],
) -> None:
    async with to_say:
        with suppress(InterlockError):  # the execution is over: the library comes to the end of what it reads
            async for message in to_say:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                handed.append(str(getattr(message.message, "method", "")))
                try:
                    await client.send_input(ref, plane.Input(kind=plane.InputKind.TEXT, data=text.encode()))
                except plane.InputClosed:  # nothing of it has left
                    handed.pop()
                    raise


class Session:
    """A conversation with an MCP server, about its tools: `agents.ToolSession`."""

    def __init__(self, client: Client, server: str, handed: Sequence[str]) -> None:
        """`handed`: the methods of all messages that may have left."""
        client.session.validate_tool_result = _unjudged
        self._client = client
        self._server = server
        self._handed = handed

    async def list_tools(self) -> tuple[agents.Tool, ...]:
        """What it offers now. Raises OperationFailed."""
        found: list[agents.Tool] = []
        cursor = None
        for _ in range(MOST_PAGES):
            try:
                page = await self._client.list_tools(cursor=cursor, cache_mode="bypass")
                found += map(_tool, page.tools)
            except (MCPError, ValidationError) as error:
                raise agents.OperationFailed(
                    f"the MCP server {self._server} does not say its tools: {error}"[:500]
                ) from error
            cursor = page.next_cursor
            if len(found) > agents.MAX_TOOLS:
                break
            if cursor is None:
                return tuple(sorted(found, key=lambda each: each.name))
        raise agents.OperationFailed(f"the MCP server {self._server} has more than {agents.MAX_TOOLS} tools")

    async def call(self, name: str, arguments: Mapping[str, Any], *, timeout_s: float) -> agents.ToolAnswered:
        """Have a tool do its work. Raises OperationFailed if it was not asked or refused, UnknownOutcome if there is no
        answer."""
        what = f"the tool {name} of the MCP server {self._server}"
        before = self._handed.count(_CALL)
        try:
            answer = await self._client.call_tool(name, dict(arguments), read_timeout_seconds=timeout_s)
        except MCPError as error:
            if self._handed.count(_CALL) == before:
                raise agents.OperationFailed(f"{what} was not called, and nothing was done: {error}"[:500]) from error
            if error.error.code in (REQUEST_TIMEOUT, CONNECTION_CLOSED):
                raise UnknownOutcome(f"{what} has not answered, and may have done it: {error}"[:500]) from error
            raise agents.OperationFailed(f"{what} refused: {error}"[:2000]) from error
        except (RuntimeError, ValidationError) as error:  # what the library says of an answer that breaks the protocol
            raise agents.OperationFailed(f"{what} was called, and its answer is refused: {error}"[:2000]) from error
        if answer.structured_content is not None and not answer.is_error:
            return agents.ToolAnswered(output=answer.structured_content, structured=True)
        return agents.ToolAnswered(
            output={"content": [_content(each) for each in answer.content]}, failed=answer.is_error
        )


async def _unjudged(name: str, result: mcp_types.CallToolResult) -> None:
    """In place of the library's own check of an answer against its output schema, by whose patterns a server could have this
    process search for ever. `agents.McpTools` checks it, in bounded time."""


@asynccontextmanager
async def open_session(client: plane.Client, ref: plane.ExecutionRef, server: str) -> AsyncGenerator[Session]:
    """A conversation about tools over an execution that was just started. Raises OperationFailed if it does not begin."""
    handed: list[str] = []
    async with AsyncExitStack() as stack:
        try:
            speaking = await stack.enter_async_context(Client(plane_streams(client, ref, handed=handed)))
        except (MCPError, ValidationError, ExceptionGroup) as error:
            why = await _why(client, ref, error)
            raise agents.OperationFailed(f"the MCP server {server} does not begin: {why}"[:500]) from error
        yield Session(speaking, server, handed)


async def _why(client: plane.Client, ref: plane.ExecutionRef, error: Exception) -> str:
    """What ended a conversation before it began: what became of its execution, or what the library says."""
    receipt = (await client.cancel(ref)).receipt
    failure = None if receipt is None else receipt.failure
    if failure is not None and failure.failure_class is not plane.FailureClass.CANCELLED:
        return failure.message
    reason: object = error
    while isinstance(reason, ExceptionGroup):
        reason = cast("ExceptionGroup[Exception]", reason).exceptions[0]
    return str(reason)


def _tool(told: mcp_types.Tool) -> agents.Tool:
    said = told.annotations or mcp_types.ToolAnnotations()
    return agents.Tool(
        name=told.name,
        description=(told.description or told.title or "")[:8000],
        input=told.input_schema,
        output=told.output_schema,
        read_only=said.read_only_hint is True,
        idempotent=said.idempotent_hint is True,
        destructive=said.destructive_hint is True and said.read_only_hint is not True,
    )


def _content(block: mcp_types.ContentBlock) -> dict[str, JSON]:
    """What a model can read of a piece of content; of any other its kind and size."""
    if isinstance(block, mcp_types.TextContent):
        return {"type": "text", "text": block.text}
    told = block.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"type": block.type, "mime_type": told.get("mimeType"), "characters": len(str(told))}
