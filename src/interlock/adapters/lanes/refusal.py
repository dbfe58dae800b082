"""What a peer says that does not begin the stream it was asked for."""

from typing import Final

import anyio
import h11

from interlock import plane
from interlock.adapters.lanes.body import Body
from interlock.adapters.lanes.pool import HttpLine

MAX_REFUSAL_BYTES: Final = 65_536
"""How much of it is read."""


async def read_refusal(line: HttpLine, exchange: plane.Exchange, *, limit: float) -> None:
    """Read the body of an answer that is not what was asked for, since it may say why: if it is short and is there within
    `limit` seconds. Its head is in the exchange already."""
    try:
        with anyio.fail_after(limit):
            coding = dict(exchange.headers).get("content-encoding", "")
            body = Body(coding=coding.lower(), limit=MAX_REFUSAL_BYTES)
            while isinstance(part := await line.receive(limit=limit), h11.Data):
                body.feed(bytes(part.data))
            exchange.body = body.whole()
    except (plane.LaneFailure, TimeoutError):
        return
    exchange.answered = True
