"""What MCP servers say, as the adapter takes it: nothing of theirs is judged by what they could have take for ever."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse

from interlock import agents
from interlock.adapters import mcp

pytestmark = pytest.mark.anyio

SLOW = {"type": "object", "properties": {"said": {"type": "string", "pattern": "^(a|aa)+$"}}, "required": ["said"]}
"""Of sixty letters `a` and another one, Python's own `re` looks at it for ever."""

Answers = Callable[[str, Any], dict[str, Any] | None]


@asynccontextmanager
async def played(answers: Answers) -> AsyncGenerator[mcp.Streams]:
    """A server that is played: what it answers to a method, None for one that it does not know."""
    said, read = anyio.create_memory_object_stream[SessionMessage | Exception](10)
    write, heard = anyio.create_memory_object_stream[SessionMessage](10)

    async def serve() -> None:
        async for each in heard:
            asked = each.message
            if not isinstance(asked, JSONRPCRequest):
                continue
            result = answers(asked.method, asked.params or {})
            if result is None:
                no = ErrorData(code=-32601, message="no such method")
                await said.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=asked.id, error=no)))
            else:
                await said.send(SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=asked.id, result=result)))

    async with anyio.create_task_group() as tasks, said, read, write, heard:
        tasks.start_soon(serve)
        yield read, write
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def session(called: dict[str, Any], pages: list[str] | None = None) -> AsyncGenerator[mcp.Session]:
    def answers(method: str, params: Any) -> dict[str, Any] | None:
        match method:
            case "initialize":
                about = {"name": "played", "version": "1"}
                return {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": about,
                }
            case "tools/list":
                (pages if pages is not None else []).append(str(params.get("cursor")))
                many = [
                    {"name": f"t{n}", "inputSchema": {"type": "object"}} for n in range(0 if pages is None else 600)
                ]
                tool = {"name": "say", "inputSchema": {"type": "object"}, "outputSchema": SLOW}
                return {"tools": [tool, *many], **({} if pages is None else {"nextCursor": "more"})}
            case "tools/call":
                return called
            case _:
                return None

    async with Client(played(answers)) as client:
        yield mcp.Session(client, "far", ["tools/call"])


async def test_an_answer_is_held_against_its_schema_by_ours_alone():
    said = {"said": "a" * 20 + "!"}
    async with session({"content": [], "structuredContent": said}) as speaking:
        assert [each.name for each in await speaking.list_tools()] == ["say"]
        assert await speaking.call("say", {}, timeout_s=60) == agents.ToolAnswered(output=said, structured=True)


async def test_an_answer_that_is_none_tells_that_the_tool_was_called():
    async with session({"content": "what?"}) as speaking:
        with pytest.raises(
            agents.OperationFailed, match="say of the MCP server far was called, and its answer is refused"
        ):
            await speaking.call("say", {}, timeout_s=60)


async def test_a_list_without_end_is_read_no_further_than_it_may_be_long():
    pages: list[str] = []
    async with session({}, pages) as speaking:
        with pytest.raises(agents.OperationFailed, match="more than 1000 tools"):
            await speaking.list_tools()
    assert len(pages) == 2
