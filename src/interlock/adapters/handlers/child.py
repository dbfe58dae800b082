"""The parent's side of `interlock.sdk.child`: one process per call, spoken to in lines over its pipes."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import cast

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from interlock import catalog, sdk
from interlock.kernel import JSON, InterlockError

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
"""What a child may know of our environment. No secret is among them."""

_PATIENCE = 5.0
"""Seconds for a child whose pipe is closed to be gone."""


class ChildHost:
    """Runs each call in a process group of its own, which is killed when the call is over."""

    async def call(self, capability: catalog.Capability, value: Mapping[str, JSON], http: sdk.Http) -> JSON:
        """Run the capability's handler. Raises what it raised of the error tree, else HandlerFailed."""
        handler = capability.operation.handler or ""
        process = await anyio.open_process(
            [sys.executable, "-m", "interlock.sdk.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=_stderr(),  # what the handler prints
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            start_new_session=True,
        )
        try:
            return await _converse(process, handler, value, http)
        finally:
            with anyio.CancelScope(shield=True):
                _kill_group(process)
                await process.aclose()


async def _converse(process: Process, handler: str, value: Mapping[str, JSON], http: sdk.Http) -> JSON:
    if process.stdin is None or process.stdout is None:
        raise sdk.HandlerFailed("the child has no pipes", effect="none")
    incoming = BufferedByteReceiveStream(process.stdout)
    refused: InterlockError | None = None
    try:
        await process.stdin.send(sdk.messages.encode("call", {"handler": handler, "input": dict(value)}))
        while True:
            kind, content = sdk.messages.decode(await incoming.receive_until(b"\n", sdk.messages.MAX_LINE))
            if kind == "request":
                line, refused = await _answer(content, http)
                await process.stdin.send(line)
            elif kind == "result":
                return cast("Mapping[str, JSON]", content)["value"]
            elif kind == "error":
                raise _failure(content, refused)
            else:
                raise sdk.HandlerFailed(f"a child does not send a {kind}")
    except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
        how = await _end_of(process)
        raise sdk.HandlerFailed(f"the child process of {handler} ended without a result ({how})") from error
    except anyio.DelimiterNotFound as error:
        raise sdk.HandlerFailed(
            f"the child process of {handler} sent a line above {sdk.messages.MAX_LINE} bytes"
        ) from error


async def _answer(content: JSON, http: sdk.Http) -> tuple[bytes, InterlockError | None]:
    """The line that answers a request, and why there is no answer, if there is none."""
    request = sdk.messages.request_from(content)
    try:
        response = await http.request(request)
    except InterlockError as error:
        return sdk.messages.encode("failed", {"message": error.message}), error
    return sdk.messages.encode("response", sdk.messages.response_content(response)), None


def _failure(content: JSON, refused: InterlockError | None) -> InterlockError:
    """The child's last word. It may choose among the known meanings; what it claims beyond that is its message only. When it
    only passes on that its last request had no answer, the error is that one."""
    told: Mapping[str, JSON] = cast("Mapping[str, JSON]", content) if isinstance(content, Mapping) else {}
    code, message = str(told.get("code")), str(told.get("message"))[:2000]
    if refused is not None and (code, message) == (sdk.OperationFailed.code, refused.message[:2000]):
        return refused
    known = sdk.FAILURES.get(code)
    if code == sdk.HandlerFailed.code:
        return sdk.HandlerFailed(message)
    return sdk.HandlerFailed(f"{code}: {message}") if known is None else known(message, effect="none")


def _stderr() -> int | None:
    """This process's own, if it has one."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return None


async def _end_of(process: Process) -> str:
    """How it ended, or that it has only closed its pipes."""
    with anyio.move_on_after(_PATIENCE):
        code = await process.wait()
        return f"exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    return "it still runs, and closed its pipe"


def _kill_group(process: Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
