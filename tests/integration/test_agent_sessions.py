"""Conversations with agents, from Python and at the command line."""

from collections.abc import Callable
from functools import partial

import anyio
import pytest

from fix_app import World
from fix_cli import Shell
from interlock import Interlock, agents, inference, runs
from interlock.app.conversations import furnish
from interlock.testing import models

pytestmark = pytest.mark.anyio

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


async def test_the_older_part_is_summed_up_by_a_call_on_record(file_world: World):
    def says(request: inference.Request) -> str:
        texts = [each.text for each in request.messages]
        return "doors" if texts[0].startswith('{"conversation"') else " | ".join(texts)

    given: dict[str, Callable[[str], inference.Model]] = {"fake": lambda _: models.Scripted(says)}
    async with file_world.process(models=given) as process:
        conversation = {"turns": 2, "compact": True}
        spec = agents.agent("desk", "Answer.", model="fake:test", runtime_defaults={"conversation": conversation})
        session_id = (await process.il.agent_sessions.create(spec)).session_id
        said = [await process.il.agents.run(spec, str(number), session=session_id) for number in range(4)]
        summary = agents.sessions.SUMMED_UP.format("doors")
        assert said[2].answer == "0 | 0 | 1 | 0 | 0 | 1 | 2"
        assert said[3].answer == f"{summary} | 2 | {said[2].answer} | 3"
        assert (await process.il.agent_sessions.fetch(session_id)).summed_up == 2
        children = [each.parent_run_id for each in await process.il.runs.list(capability="inference.fake")]
        assert children.count(said[3].run_id) == 2
        assert (await process.il.agents.replay(said[3].run_id)).state.answer == said[3].answer


async def test_no_copy_of_a_turn_spends_its_approval(file_world: World):
    paid: list[int] = []

    @agents.operation(idempotency="unsafe_once", approval={})
    def pay(amount: int) -> str:
        """Pay it."""
        paid.append(amount)
        return "paid"

    def says(request: inference.Request) -> inference.Answer | str:
        return models.answer(models.call("pay", amount=5)) if request.messages[-1].text == "pay" else "Done."

    given: dict[str, Callable[[str], inference.Model]] = {"fake": lambda _: models.Scripted(says)}
    async with file_world.process(models=given) as process:
        il = process.il
        il.agents.offer(pay)
        spec = agents.agent("desk", "Pay.", model="fake:test", operations=[pay])
        held = await il.agents.run(spec, "pay")
        [waits] = held.waiting
        assert waits.approval_id is not None
        copy = await il.agents.snapshot(held.run_id)
        await process.reviewer.approvals.approve(waits.approval_id)
        # The copy is of a turn that waited, and stays what it was.
        assert (await il.agents.read_snapshot(copy)).state.phase == "person"
        forks = [await il.agents.fork(snapshot=copy) for _ in range(2)]
        for each in forks:
            again = await il.agents.run(spec, "pay", session=each.session_id)
            assert again.state is runs.State.HELD
            assert again.waiting[0].approval_id not in (None, waits.approval_id)
        assert paid == []
        assert (await il.agents.resume(held.run_id)).answer == "Done."
        assert (await il.agents.resume(held.run_id)).state is runs.State.COMPLETED
        assert paid == [5]
        told = await il.agent_sessions.turns(forks[0].session_id)
        assert [part.text for message in told[0].said for part in message.parts if part.kind == "outcome"] == [
            agents.sessions.NEVER_KNOWN
        ]
        spent = await il.agents.fork(held.run_id)
        assert (spent.head, spent.fingerprint) == (1, spec.fingerprint)
