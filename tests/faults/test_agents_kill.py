"""SIGKILL at boundaries of conversations with agents: before and after commits, in the middle of operations of all five classes
and of what a model says. Gone on with, they end as if nothing had happened, and a server counts what the classes promise."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.engine import make_url

from databases import Database
from fault_agents import AGENT, CLASSES, REVIEWER, Counting, counting
from fault_talks import offer
from fault_turns import Kit
from fix_faults import Case, Child
from interlock import agents, runs
from interlock.kernel import SystemClock
from interlock.testing import ManualClock


@pytest.fixture(scope="module")
def counted() -> Iterator[Counting]:
    with counting() as server:
        yield server


@pytest.fixture
def kit(child: Child, make_case: Callable[[], Case], counted: Counting, tmp_path: Path) -> Kit:
    return Kit(child, make_case, counted, tmp_path)


@pytest.mark.parametrize(
    ("flow", "when", "first", "every"),
    [
        ("agent_turn", "after", 3, 9),
        ("agent_delegates", "before", 5, 13),
        ("agent_talks", "after", 7, 19),
        ("agent_under_policy", "before", 4, 7),
    ],
)
def test_a_kill_at_commits_of_a_conversation(kit: Kit, flow: str, when: str, first: int, every: int) -> None:
    """At some: the long tests kill at each."""
    kit.kill_at_commits(flow, when, lambda count: range(first, count + 1, every))


def test_a_kill_leaves_nothing_reserved_for_what_nobody_was_about_to_do(kit: Kit) -> None:
    """Where a turn asks its model first, and then what it does is reserved."""
    kit.kill_at_its_beginning("agent_turn", range(2, 8))


ASKED_FOR = {
    # class: how often the server is asked, and a person, if the process dies before the server has done it; and after
    "pure": ((2, 0), (2, 0)),
    "idempotent": ((2, 0), (2, 0)),
    "dedupe": ((2, 0), (2, 0)),
    "reconcile": ((1, 0), (1, 0)),
    "unsafe_once": ((1, 1), (1, 1)),
}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_in_the_middle_of_each_operation(kit: Kit, when: str) -> None:
    for name in CLASSES:
        case = kit.case("agent_turn")
        kit.kill_within(case, "agent_turn", name, when)
        end = anyio.run(kit.ended, case, "agent_turn")
        assert {each: end.done.get(each) for each in CLASSES[2:]} == dict.fromkeys(CLASSES[2:], 1), (name, when)
        times, people = ASKED_FOR[name][when == "after"]
        lost = 1 if when == "before" and times == 2 else 0  # what never came was not counted
        assert (kit.counted.asked[case.repo, name], end.looked) == (times - lost, people), (name, when)


@pytest.mark.parametrize("name", ["unsafe_once", "dedupe 2"])
def test_a_kill_in_the_middle_of_what_is_done_below_a_turn(kit: Kit, name: str) -> None:
    """By an agent that it asked, and by a step of a workflow."""
    case = kit.case("agent_delegates")
    kit.kill_within(case, "agent_delegates", name, "after")
    end = anyio.run(kit.ended, case, "agent_delegates")
    once = ("dedupe", "dedupe 1", "dedupe 2", "dedupe 3", "reconcile", "unsafe_once")
    assert {each: end.done.get(each) for each in once} == dict.fromkeys(once, 1)
    assert end.looked == (name == "unsafe_once")


def test_a_kill_while_a_model_speaks(kit: Kit) -> None:
    case = kit.case("agent_speaks")
    kit.kill_within(case, "agent_speaks", "model", "after")
    end = anyio.run(kit.ended, case, "agent_speaks")
    assert (end.done["dedupe"], end.done["model"]) == (1, 3), "it was asked again what it had not said to the end"
    assert end.runs == {"inference.fake": 2, "agent.speaker": 1}


@pytest.mark.parametrize("commit", [0, 2, 4])
def test_two_reviewers_in_two_processes_of_which_one_is_killed(kit: Kit, other_child: Child, commit: int) -> None:
    kit.race(other_child, "after", commit)


@pytest.mark.parametrize("seconds", [86_400.0 * 400, -86_400.0 * 400])
def test_a_clock_that_jumps_in_the_middle_of_an_operation(kit: Kit, seconds: float) -> None:
    case = kit.case("agent_turn")
    kit.counted.hold(case.repo, "reconcile", "after")
    kit.child.start(case.order("agent_turn"))
    kit.child.go()
    assert kit.counted.held.wait(60)
    kit.child.jump(seconds)
    kit.counted.release.set()
    came = kit.child.finish().said["came_to"]
    assert (came["state"], came["answer"]) == ("completed", "All is done.")
    assert [kit.counted.asked[case.repo, each] for each in CLASSES] == [1] * 5


@pytest.fixture
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Case], Case]]:
    """A copy of a case's store, as from a backup."""
    made: list[Database] = []

    def copy(case: Case) -> Case:
        if case.proxy is None:
            path = tmp_path / "restored.db"
            with closing(sqlite3.connect(case.url)) as there, closing(sqlite3.connect(path)) as here:
                there.backup(here)
            return replace(case, url=str(path), through=str(path))
        server = request.getfixturevalue("postgres_server")
        made.append(Database(server, make_url(case.url).database or ""))
        return replace(case, url=made[-1].url)

    yield copy
    for each in made:
        each.drop()


def test_a_restored_store_spends_no_yes_that_was_said_after_it(kit: Kit, copied: Callable[[Case], Case]) -> None:
    case = kit.case("agent_turn")
    kit.child.start(case.order("agent_held"))
    kit.child.go()
    assert kit.child.finish().exit == 0
    copy = copied(case)
    end = anyio.run(kit.ended, case, "agent_turn")
    assert (end.approvals, end.done["unsafe_once"]) == ({"spent": 1}, 1)

    async def gone_on() -> runs.State:
        async with copy.watch(ManualClock(SystemClock().now())) as il:
            offer(il)
            [turn] = await il.agents.list()
            return (await il.as_caller(AGENT).agents.resume(turn.run_id)).state

    assert anyio.run(gone_on) is runs.State.HELD
    assert kit.counted.done[case.repo, "unsafe_once"] == 1


def test_a_restored_store_with_a_yes_in_it_asks_under_the_same_key(kit: Kit, copied: Callable[[Case], Case]) -> None:
    """So that whoever knows a call again by its key does it once, however many copies of a store there are."""
    case = kit.case("agent_turn")

    async def held(case: Case) -> None:
        async with case.watch(ManualClock(SystemClock().now())) as il:
            offer(il)
            known = il.agents.registry
            asked: list[dict[str, Any]] = [{"name": "send", "approval": {}}]
            spec = agents.agent("sender", "Send.", model="fake:helper", operations=asked, registry=known)
            await il.as_caller(AGENT).agents.run(spec, "Go.", context={"url": kit.counted.url, "case": case.repo})
            [waits] = await il.approvals.list()
            await il.as_caller(REVIEWER).approvals.approve(waits.approval_id)

    async def ended(case: Case) -> None:
        async with case.watch(ManualClock(SystemClock().now())) as il:
            offer(il)
            [turn] = await il.agents.list()
            await il.as_caller(AGENT).agents.resume(turn.run_id)
            [spent] = await il.approvals.list()
            assert spent.state.value == "spent"

    anyio.run(held, case)
    copy = copied(case)
    for each in (case, copy):
        anyio.run(ended, each)
    assert (kit.counted.asked[case.repo, "dedupe"], kit.counted.done[case.repo, "dedupe"]) == (2, 1)
