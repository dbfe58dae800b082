"""`python -m interlock.sdk.child`: runs one handler in a process of its own, with its port over the pipe.

The handler never holds a credential or a socket of ours: it asks for requests in lines (`messages` draws them), which the
parent sends, or refuses. What the handler prints goes to stderr, so that it cannot speak in the child's name; it reads
nothing from stdin. Isolation beyond that (no network, no files) is what the parent starts this process in.
"""

import os
import sys
from typing import IO

from interlock.kernel import JSON, InterlockError
from interlock.sdk import messages
from interlock.sdk.errors import HandlerFailed, OperationFailed
from interlock.sdk.functions import call_handler
from interlock.sdk.wire import HttpRequest, HttpResponse


class PipePort:
    """The handler's port: each request is a line out and a line in, one at a time."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        import anyio

        self._reader = reader
        self._writer = writer
        self._turn = anyio.Lock()

    async def request(self, request: HttpRequest) -> HttpResponse:
        """Raises OperationFailed when the parent has no answer."""
        import anyio

        line = messages.encode("request", messages.request_content(request))
        async with self._turn:
            kind, content = await anyio.to_thread.run_sync(self._exchange, line)
        if kind == "response":
            return messages.response_from(content)
        raise OperationFailed(messages.refusal_from(content))

    def _exchange(self, line: bytes) -> tuple[str, JSON]:
        self._writer.write(line)
        self._writer.flush()
        return _read(self._reader)


def serve(reader: IO[bytes], writer: IO[bytes]) -> None:
    """Serve one call: read it, run its handler, and write one last line, whatever happens."""
    import anyio

    try:
        kind, content = _read(reader)
        if kind != "call":
            raise HandlerFailed(f"the first line is a call, not a {kind}", effect="none")
        handler, value = messages.call_from(content)

        async def run() -> JSON:
            return await call_handler(handler, value, PipePort(reader, writer))

        last = messages.encode("result", {"value": anyio.run(run)})
    except InterlockError as error:
        last = messages.encode("error", error.to_json())
    writer.write(last)
    writer.flush()


def _private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Our own ends of stdin and stdout; the handler's stdin is empty and its stdout is stderr, even for C code."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return reader, writer


def _read(reader: IO[bytes]) -> tuple[str, JSON]:
    line = reader.readline(messages.MAX_LINE + 1)
    if not line.endswith(b"\n"):
        raise HandlerFailed("the parent ended the conversation, or sent a line that is too long")
    return messages.decode(line)


if __name__ == "__main__":
    serve(*_private_pipes())
