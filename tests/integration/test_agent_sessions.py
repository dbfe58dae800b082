"""Conversations with agents, from Python and at the command line."""

from functools import partial

import anyio
import pytest

from fix_cli import Shell
from interlock import Interlock, agents, inference
from interlock.app.agent_sessions import furnish

DESK = agents.agent("desk", "Answer.", model="test:one")


async def converse(store: str, turns: int) -> str:
    """Hold a conversation, as the harness would, and let a last turn be open whose run there never was."""
    async with Interlock.open(store, background=False) as il:
        made = await il.agent_sessions.create(DESK)
        wiring = il._parts.wiring
        room = furnish(wiring)
        for number in range(1, turns + 2):
            turn_id = f"run_{number}"
            await wiring.store.write(
                partial(room.begin, caller=il.caller, session_id=made.session_id, turn_id=turn_id, spec=DESK)
            )
            call = inference.Call(call_id="c", name="look", arguments='{"n": 1}')
            said = (
                inference.said(f"question {number}"),
                inference.Message(role=inference.Role.MODEL, parts=(inference.Thinking(text="hm"), call)),
                inference.Message(
                    role=inference.Role.OPERATIONS,
                    parts=(inference.Outcome(call_id="c", name="look", text="a door"),),
                ),
                inference.Message(role=inference.Role.MODEL, parts=(inference.Text(text=f"answer {number}"),)),
            )
            if number <= turns:
                await wiring.store.write(
                    partial(room.end, tenant_id=made.tenant_id, session_id=made.session_id, turn_id=turn_id, said=said)
                )
        return made.session_id


def test_a_session_is_listed_shown_forked_and_deleted(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", shell.environment["XDG_CONFIG_HOME"])
    assert "No sessions" in shell.run("agent", "sessions", "list").out
    session_id = anyio.run(converse, str(shell.store), 2)
    [listed] = shell.good("agent", "sessions", "list", "--agent", "desk")["sessions"]
    assert (listed["session_id"], listed["head"], listed["title"]) == (session_id, 2, "question 1")
    assert listed["open_turn"] == "run_3"
    shown = shell.run("agent", "sessions", "show", session_id, "--after", "1").out
    assert "user: question 2" in shown
    assert 'calls look {"n": 1}' in shown
    assert "look said: a door" in shown
    assert "question 1\n" not in shown.split("Turn 2")[1]
    told = shell.good("agent", "sessions", "show", session_id, "--limit", "1")
    assert [each["number"] for each in told["turns"]] == [1]
    fork = shell.good("agent", "sessions", "fork", session_id, "--at", "1", "--title", "another way")["session"]
    assert (fork["head"], fork["forked_at"], fork["title"]) == (1, 1, "another way")
    # The run that holds it is none, so nobody goes on with it.
    assert shell.good("agent", "sessions", "delete", session_id) == {"deleted": session_id}
    gone = shell.run("agent", "sessions", "show", session_id, "--json")
    assert (gone.code, gone.json["error"]["code"]) == (2, "session_not_found")
    assert [each["session_id"] for each in shell.good("agent", "sessions", "list")["sessions"]] == [fork["session_id"]]
