"""What a server tells of agents, as values: cut anywhere, broken off, and no Interlock's."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import agents, client
from interlock.client import streams
from interlock.kernel import Secret

pytestmark = pytest.mark.anyio

TURN = (
    b'{"run_id":"run_1","agent_id":"desk","session_id":null,"state":"completed","phase":"finished","answer":"Yes.","result":null,'
    b'"failure":null,"waiting":[],"rounds":1,"operations":0,"usage":{"input_tokens":1,"output_tokens":2},"worked_s":0.5,'
    b'"error":null}'
)
ENTRY = b'id: 4\nevent: entry\ndata: {"kind":"turn.began","data":{},"run_id":"run_1","seq":4}\n\n'
WHOLE = ENTRY + b": here\n\nid: 9\nevent: turn\ndata: " + TURN + b"\n\n"


async def each_of(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8).map(sorted))
async def test_a_stream_may_be_cut_anywhere(places: list[int]):
    cuts = [0, *places, len(WHOLE)]
    pieces = [WHOLE[begin:end] for begin, end in itertools.pairwise(cuts)]
    async with aclosing(streams.read_events(each_of(pieces))) as events:
        assert [name async for name, _ in events] == ["entry", "turn"]


async def test_an_event_has_a_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "MAX_EVENT", 100)
    async with aclosing(streams.read_events(each_of([b"data: " + b"x" * 200]))) as events:
        with pytest.raises(client.NotInterlock, match="more than 100 bytes"):
            await anext(events)


async def told(content: bytes, *, kind: str = "text/event-stream", status: int = 200) -> list[Any]:
    """What a program is told of a turn, if the server answers with that."""
    answer = httpx2.Response(status, content=content, headers={"content-type": kind})
    transport = httpx2.MockTransport(lambda _: answer)
    async with (
        client.open_remote("http://127.0.0.1:1", Secret("t"), transport=transport) as il,
        aclosing(il.agents.stream(client.Asked(agent="desk"), "?")) as stream,
    ):
        return [each async for each in stream]


async def test_what_happens_and_the_turn_are_values():
    happening, turn = await told(WHOLE)
    assert happening == agents.harness.Happening(kind="turn.began", data={}, run_id="run_1", seq=4)
    assert (turn.answer, turn.usage.tokens, turn.phase) == ("Yes.", 3, agents.turns.Phase.FINISHED)


async def test_a_stream_that_breaks_off_names_the_turn_that_goes_on():
    for content in (ENTRY, WHOLE[:-20]):
        with pytest.raises(client.AnswerLost) as lost:
            await told(content)
        assert lost.value.run_id == "run_1"
        assert "interlock agent inspect run_1" in lost.value.next_step


async def test_what_a_server_refuses_is_raised_as_here():
    problem = b'{"code":"agent_not_found","message":"no such","details":{},"retry":"after_change","fault":"caller"}'
    with pytest.raises(agents.AgentNotFound, match="no such"):
        await told(problem, kind="application/problem+json", status=404)
    with pytest.raises(agents.AgentNotFound, match="no such"):
        await told(ENTRY + b"event: error\ndata: " + problem + b"\n\n")
    with pytest.raises(client.NotInterlock):
        await told(b"<html>", kind="text/html")
    with pytest.raises(client.NotInterlock):
        await told(b"event: turn\ndata: {}\n\n")
