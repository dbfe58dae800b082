"""SIGKILL at boundaries of an agent's turn over all five classes: before and after commits, and in the middle of each operation.
Gone on with, the turn ends, and a server counts exactly what the classes promise."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import anyio
import pytest

from fault_agents import CLASSES, Counting, counting
from fault_turns import FLOW, check, finished, kill_at_commits
from fix_faults import Case, Child


@pytest.fixture(scope="module")
def counted() -> Iterator[Counting]:
    with counting() as server:
        yield server


@pytest.mark.parametrize(("when", "first"), [("before", 1), ("after", 3)])
def test_a_kill_at_commits_of_a_turn(
    child: Child, make_case: Callable[[], Case], counted: Counting, when: str, first: int
) -> None:
    """At every fifth: the long tests kill at each."""
    kill_at_commits(child, make_case, counted, when, lambda count: range(first, count + 1, 5))


ASKED_FOR = {
    # class: how often the server is asked, and a person, if the process dies before the server has done it; and after
    "pure": ((2, 0), (2, 0)),
    "idempotent": ((2, 0), (2, 0)),
    "dedupe": ((2, 0), (2, 0)),
    "reconcile": ((1, 0), (1, 0)),
    "unsafe_once": ((1, 1), (1, 1)),
}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_in_the_middle_of_each_operation(
    child: Child, make_case: Callable[[], Case], counted: Counting, when: str
) -> None:
    for name in CLASSES:
        case = replace(make_case(), service_url=counted.url)
        counted.hold(case.repo, name, when)
        child.start(case.order(FLOW))
        child.go()
        assert counted.held.wait(60)
        child.send(signal.SIGKILL)
        assert child.finish().exit == -signal.SIGKILL
        counted.release.set()
        turn, looked = anyio.run(finished, case, counted)
        check(case, counted, f"{when} {name}", turn)
        times, people = ASKED_FOR[name][when == "after"]
        lost = 1 if when == "before" and times == 2 else 0  # what never came was not counted
        assert (counted.asked[case.repo, name], looked) == (times - lost, people), (name, when)
