"""Turns of agents as streams of server-sent events: one that is taken in this process for whoever listens, with what the model is
saying, and any other as its journal grows.

    event: entry      an entry of the turn's journal, once it is committed; its id is its number there
    event: delta      a piece of what the model is saying
    event: missed     so many of those were left out, since the client was slow
    event: turn       the turn as it then stands: the last
    event: error      what ended the attempt and not the turn, as a problem: the last
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

import anyio
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from interlock import agents, app
from interlock.kernel import JSON, Clock
from interlock.server.api.answers import HEADERS
from interlock.server.api.runs import LISTENING, MAX_EVENTS, SILENCE
from interlock.server.errors import NodeClosing

Told: TypeAlias = AsyncGenerator[agents.harness.Happening | agents.harness.Turn]

KIND: Final = "text/event-stream"


class Taken(Response):
    """A turn that is taken while it is told. A client that goes away ends nothing: the turn goes on to where it would have come,
    and is found by its run. A server that ends stops the attempt; the turn is gone on with by `resume`."""

    media_type = KIND

    def __init__(self, told: Told, request: Request) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._told = told
        self._answer: Callable[[Exception], Response] = request.app.state.answer
        self._closing: anyio.Event = request.state.closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def say(data: bytes, *, more: bool = True) -> None:
            nonlocal begun
            try:
                if not begun:  # what is refused before anything happens is no stream
                    begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": data, "more_body": more})
            except OSError:
                pass  # nobody listens any more

        ended = NodeClosing(
            "this server is ending, and has stopped here",
            next_step="Go on with the turn once it is back: `POST /v1/agents/turns/RUN/resume`.",
        )
        failure: Exception | None = ended
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_with_the_server, tasks.cancel_scope)
            tasks.start_soon(_breathe, say)
            try:
                async with aclosing(self._told) as told:
                    async for each in told:
                        ended.run_id = each.run_id
                        await say(event_of(each))
                failure = None
            except Exception as error:  # noqa: BLE001 - told below, as what it is
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None and not begun:
            raise failure
        await say(b"" if failure is None else _event("error", bytes(self._answer(failure).body)), more=False)

    async def _end_with_the_server(self, scope: anyio.CancelScope) -> None:
        await self._closing.wait()
        scope.cancel()


async def _breathe(say: Callable[[bytes], Awaitable[None]]) -> None:
    """Say now and then that somebody is there, while a model thinks."""
    while True:
        await anyio.sleep(SILENCE)
        await say(b": here\n\n")


async def followed(
    il: app.Interlock, run_id: str, after: int, *, closing: anyio.Event, clock: Clock
) -> AsyncGenerator[bytes]:
    """A turn's journal after that entry as it grows, whoever takes the turn, and the turn once it has ended."""
    run = await il.runs.fetch(run_id)
    judged = not agents.harness.is_guest(run) and bool(agents.harness.asked_for(run).spec.controls.outputs)
    silent_since = clock.monotonic()
    while not closing.is_set():
        run = await il.runs.fetch(run_id)
        while after < run.head_seq and (found := await il.runs.events(run_id, after_seq=after, limit=MAX_EVENTS)):
            for each in found:
                if (entry := agents.harness.happening(each, judged=judged)) is not None:
                    silent_since = clock.monotonic()
                    yield event_of(entry)
            after = found[-1].seq
        if run.finished_at is not None:
            yield _event("turn", _json((await il.agents.fetch(run_id)).to_json()), seq=run.head_seq)
            return
        if clock.monotonic() - silent_since >= SILENCE:
            silent_since = clock.monotonic()
            yield b": here\n\n"
        await clock.sleep(LISTENING)


def event_of(told: agents.harness.Happening | agents.harness.Turn) -> bytes:
    """What happens, or the turn, as an event."""
    if isinstance(told, agents.harness.Turn):
        return _event("turn", _json(told.to_json()))
    return _event(told.kind if told.seq is None else "entry", _json(told.to_json()), seq=told.seq)


def _json(document: JSON) -> bytes:
    return orjson.dumps(document)


def _event(name: str, data: bytes, *, seq: int | None = None) -> bytes:
    number = b"" if seq is None else b"id: %d\n" % seq
    return b"%sevent: %s\ndata: %s\n\n" % (number, name.encode(), data)
