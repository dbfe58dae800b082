"""Bodies of HTTP messages that are passed on as they come, in either direction."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import h11

from interlock import plane
from interlock.adapters.lanes.body import Body
from interlock.adapters.lanes.pool import HttpLine
from interlock.adapters.lanes.turns import SLICE

T = TypeVar("T")


async def while_uploading(
    line: HttpLine, intent: plane.HttpIntent, exchange: plane.Exchange, answer: Callable[[], Awaitable[T]]
) -> T:
    """Send the input as the request's body, while `answer` reads, since an answer may come before the body's end. Raises
    LaneFailure."""
    upload = _Upload(line, intent, exchange)
    results: list[T] = []
    failure: plane.LaneFailure | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload.run)
        try:
            results.append(await answer())
        except plane.LaneFailure as error:
            failure = upload.failure or error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return results[0]


class _Upload:
    """A request's body, piece by piece."""

    def __init__(self, line: HttpLine, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        assert exchange.channel is not None
        self.failure: plane.LaneFailure | None = None
        self._line = line
        self._timeouts = intent.timeouts
        self._exchange = exchange
        self._inbox = exchange.channel.inbox

    async def run(self) -> None:
        """Send all there is; from then on the answer has its time. What goes wrong is kept, and ends the reading, too."""
        try:
            await self._send()
        except plane.LaneFailure as error:
            self._give_up(error)
            return
        await anyio.sleep(self._timeouts.read_ms / 1000)
        if self._exchange.status is None:
            message = "the peer sent nothing in time"
            self._give_up(plane.LaneFailure(plane.FailureClass.READ_TIMEOUT, message))

    async def _send(self) -> None:
        limit = self._timeouts.write_ms / 1000
        while (piece := await self._inbox.receive()) is not None:
            if not await self._line.send_more(self._exchange, piece.data, limit=limit):
                return
        await self._line.send_more(self._exchange, None, limit=limit)

    def _give_up(self, failure: plane.LaneFailure) -> None:
        self.failure = failure
        self._line.close()


async def pass_on(line: HttpLine, body: Body, exchange: plane.Exchange, *, limit: float) -> None:
    """The answer's head and then its body, piece by piece, as outputs. `limit` is for one wait, in seconds. Raises
    LaneFailure."""
    channel = exchange.channel
    assert channel is not None
    headers = [f"{name}: {value}" for name, value in exchange.headers]
    await channel.output("head", b"", {"status": exchange.status, "headers": headers})
    size, digest = 0, hashlib.sha256()
    while isinstance(part := await line.receive(limit=limit), h11.Data):
        # What is coded is decoded step by step: it may become a thousand times as much.
        for start in range(0, len(part.data), SLICE) if body.is_coded else (0,):
            body.feed(bytes(part.data[start : start + SLICE] if body.is_coded else part.data))
            piece = body.take()
            if piece:
                size += len(piece)
                digest.update(piece)
                exchange.facts["streamed_bytes"] = size
                await channel.output("body", piece)
    body.finish()
    exchange.facts["streamed_bytes"], exchange.facts["streamed_digest"] = size, f"sha256:{digest.hexdigest()}"
