"""Turns whose session was deleted: they are looked at as before, without what was said before them."""

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, event

from interlock import Interlock, agents
from interlock.kernel import RequestError
from interlock.testing import models

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("compact", [False, True])
async def test_turns_are_looked_at_when_their_session_is_deleted(compact: bool):
    script = models.Scripted(["One.", "Two.", "Three.", "Four.", "Five.", "Six."])
    async with Interlock.open(":memory:", models={"fake": lambda _: script}) as il:
        conversation = {"turns": 1, "compact": compact}
        spec = agents.agent("desk", "Help.", model="fake:x", runtime_defaults={"conversation": conversation})
        session = await il.agent_sessions.create(spec)
        said = [await il.agents.run(spec, text, session=session.session_id) for text in ("a", "b", "c")]
        await il.agent_sessions.delete(session.session_id)
        listed = await il.agents.list()
        assert [(each.run_id, each.state, each.rounds) for each in listed] == [
            (each.run_id, each.state, each.rounds) for each in said[::-1]
        ]
        assert {each.session_id for each in listed} == {session.session_id}
        assert await il.agents.fetch(said[-1].run_id) == said[-1]
        assert (await il.agents.replay(said[-1].run_id)).state.conversation == ()


async def test_a_list_takes_as_many_queries_for_many_turns_as_for_one():
    script = models.Scripted(lambda request: "Done." if request.messages[-1].text == "a" else "")
    async with Interlock.open(":memory:", models={"fake": lambda _: script}) as il:
        spec = agents.agent("desk", "Help.", model="fake:x")
        counts: list[int] = []
        queries = 0
        for text in ("a", "a", "a", "b"):
            with suppress(agents.TurnFailed):
                await il.agents.run(spec, text)
            queries = 0

            def count(*_: object) -> None:
                nonlocal queries
                queries += 1

            event.listen(Engine, "before_cursor_execute", count)
            try:
                listed = await il.agents.list()
            finally:
                event.remove(Engine, "before_cursor_execute", count)
            counts.append(queries)
        assert len(set(counts)) == 1, counts
        assert [(each.state.value, each.rounds) for each in listed] == [("failed", 2), *[("completed", 1)] * 3]
        assert isinstance(listed[0].error, dict)
        assert listed[0].error["code"] == "agent_turn_failed"


async def test_a_run_that_is_no_turn_is_told_from_a_turn_that_cannot_be_read():
    async with Interlock.open(":memory:", models={"fake": models.named}) as il:
        asked = await il.inference.ask("fake:echo", "Hm?", key="k1")
        with pytest.raises(agents.UnreadableJournal, match="is no turn of an agent") as refused:
            await il.agents.fetch(asked.run_id)
        assert "interlock agent list" in (refused.value.next_step or "")


async def test_what_a_turn_would_ask_is_shown_and_nothing_is_asked():
    script = models.Scripted(["One.", "Two."])
    async with Interlock.open(":memory:", models={"fake": lambda _: script}) as il:
        spec = agents.agent("desk", "Help.", model="fake:x", memory={"scope": "agent"})
        session = await il.agent_sessions.create(spec)
        await il.agents.run(spec, "a", session=session.session_id)
        shown = await il.agents.preview(spec, "b", session=session.session_id)
        assert [each.text for each in shown.request.messages] == ["a", "One.", "b"]
        assert (shown.request.instructions, shown.earlier, shown.recalled, shown.most_usd) == ("Help.", 2, None, None)
        assert shown.most is not None
        assert len(await il.agents.list()) == 1, "no run"
        assert (await il.agents.run(spec, "b", session=session.session_id)).answer == "Two.", "nobody was asked"
        unknown = await il.agents.preview(agents.agent("far", "Help.", model="nowhere:x"), "b")
        assert unknown.most is None
        with pytest.raises(agents.sessions.InvalidSession, match="one with the agent desk, not far"):
            await il.agents.preview(agents.agent("far", "Help.", model="fake:x"), "b", session=session.session_id)
        with pytest.raises(RequestError, match="1 to 1000000 characters, not 0"):
            await il.agents.preview(spec, "")


async def test_a_turn_is_gone_through_again_with_as_many_queries_however_much_is_kept_beside_its_chain():
    @agents.operation(idempotency="pure")
    def look(n: int) -> str:
        """Look."""
        return f"{n}" * 20_000

    counts: list[int] = []
    for calls in (1, 4):
        asked = models.answer(*(models.call("look", n=each, call_id=f"c{each}") for each in range(calls)))
        script = models.Scripted([asked, "Done."])
        async with Interlock.open(":memory:", models={"fake": lambda _, script=script: script}) as il:
            il.agents.offer(look)
            turn = await il.agents.run(agents.agent("desk", "Help.", model="fake:x", operations=[look]), "Go.")
            assert len([each for each in await il.agents.lines(turn.run_id) if each.kept_in]) == calls
            queries: list[str] = []

            def count(_connection: Any, _cursor: Any, statement: str, *_: Any, queries: list[str] = queries) -> None:
                queries.append(statement)

            event.listen(Engine, "before_cursor_execute", count)
            try:
                assert (await il.agents.replay(turn.run_id)).state.answer == "Done."
            finally:
                event.remove(Engine, "before_cursor_execute", count)
            counts.append(len(queries))
    assert len(set(counts)) == 1, counts
