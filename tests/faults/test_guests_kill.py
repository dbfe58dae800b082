"""SIGKILL in the middle of the turn of another framework's agent, over all five classes: run again under its key it goes on, a
server counts exactly what the classes promise, and no answer of its model is asked for twice that is on record."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import anyio
import pytest

import fault_guests
from fault_agents import CLASSES, REVIEWER, Counting, counting
from fault_kills import commits_of, kill_at
from fix_faults import Case, Child
from interlock import agents, runs
from interlock.kernel import SystemClock
from interlock.testing import ManualClock

FLOW = "guest_turn"
ONCE = ("dedupe", "reconcile", "unsafe_once")
MODEL_CALLS = len(fault_guests.SAID) + 1


@pytest.fixture(scope="module")
def counted() -> Iterator[Counting]:
    with counting() as server:
        yield server


async def finished(case: Case, counted: Counting) -> tuple[agents.harness.Taken, int, int]:
    """The turn, gone on with by another process until it has ended; how often a person had to say what they saw, and how often
    that process asked the model."""
    looked, asked = 0, fault_guests.Asked()
    where = fault_guests.Where(counted.url, case.repo)
    async with case.watch(ManualClock(SystemClock().now())) as il:
        while any(each.state.value == "running" for each in await il.runs.list()):
            await il.runs.recover()
        while True:
            taken = await fault_guests.go_on(il, where, asked)
            if taken.turn.state.value != "waiting":
                break
            [waiting] = taken.turn.waiting
            assert (waiting.operation, waiting.unclear) == ("pay", True)
            happened = counted.done[case.repo, "unsafe_once"] > 0
            await il.as_caller(REVIEWER).agents.settle(
                taken.turn.run_id, waiting.call_id or "", happened=happened, text="paid" if happened else ""
            )
            looked += 1
        trust = runs.Trust.parse(await il.trust())
        [run] = await il.runs.list()
        assert runs.verify.verify(await il.runs.packet(run.run_id), trust=trust).ok
        again = await fault_guests.go_on(il, where, asked)
        assert again.value.output == fault_guests.ANSWER, "what has ended is told again"
    return taken, looked, asked.times


def check(case: Case, counted: Counting, boundary: str, taken: agents.harness.Taken) -> None:
    turn = taken.turn
    assert (turn.state.value, turn.answer) == ("completed", fault_guests.ANSWER), (boundary, turn)
    assert taken.value.output == fault_guests.ANSWER
    done = {name: counted.done[case.repo, name] for name in CLASSES}
    assert {name: done[name] for name in ONCE} == dict.fromkeys(ONCE, 1), boundary
    assert done["pure"] == 0
    assert done["idempotent"] in (1, 2), boundary


@pytest.mark.parametrize(("when", "first"), [("before", 2), ("after", 4)])
def test_a_kill_at_commits_of_a_guests_turn(
    child: Child, make_case: Callable[[], Case], counted: Counting, when: str, first: int
) -> None:
    """At every eighth."""

    def case() -> Case:
        return replace(make_case(), service_url=counted.url)

    commits = commits_of(child, case(), FLOW)
    assert len(commits) >= 15, commits
    for number in range(first, len(commits) + 1, 8):
        killed = kill_at(child, case(), FLOW, when, number)
        taken, _, _ = anyio.run(finished, killed.case, counted)
        check(killed.case, counted, killed.boundary, taken)


ASKED_FOR = {
    # class: how often the model is asked again, the server in all, and a person, if the process dies in the middle
    "pure": (3, 2, 0),
    "dedupe": (3, 2, 0),
    "reconcile": (2, 1, 0),
    "unsafe_once": (1, 1, 1),
}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_between_a_tool_and_the_answer(
    child: Child, make_case: Callable[[], Case], counted: Counting, when: str
) -> None:
    for name, (models, times, people) in ASKED_FOR.items():
        case = replace(make_case(), service_url=counted.url)
        counted.hold(case.repo, name, when)
        child.start(case.order(FLOW))
        child.go()
        assert counted.held.wait(60)
        child.send(signal.SIGKILL)
        assert child.finish().exit == -signal.SIGKILL
        counted.release.set()
        taken, looked, asked = anyio.run(finished, case, counted)
        check(case, counted, f"{when} {name}", taken)
        lost = 1 if when == "before" and times == 2 else 0  # what never came was not counted
        assert (asked, counted.asked[case.repo, name], looked) == (models, times - lost, people), (name, when)
