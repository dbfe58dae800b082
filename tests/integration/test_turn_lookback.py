"""Turns whose session was deleted: they are looked at as before, without what was said before them."""

import pytest

from interlock import Interlock, agents
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
        assert await il.agents.list() == said[::-1]
        assert await il.agents.fetch(said[-1].run_id) == said[-1]
        assert (await il.agents.replay(said[-1].run_id)).state.conversation == ()
