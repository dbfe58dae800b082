"""Conversations with agents, killed before and after each of their commits, in the middle of each of their operations, and while
several processes are at them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from fault_agents import Counting, counting
from fault_turns import CONVERSATIONS, Kit
from fix_faults import Case, Child

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def counted() -> Iterator[Counting]:
    with counting() as server:
        yield server


@pytest.fixture
def kit(child: Child, make_case: Callable[[], Case], counted: Counting, tmp_path: Path) -> Kit:
    return Kit(child, make_case, counted, tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("flow", sorted(CONVERSATIONS))
def test_a_kill_at_every_commit_of_a_conversation(kit: Kit, flow: str, when: str) -> None:
    kit.kill_at_commits(flow, when, lambda count: range(1, count + 1))


WITHIN = {
    "agent_delegates": ("dedupe 1", "dedupe 2", "dedupe 3", "reconcile", "dedupe", "unsafe_once"),
    "agent_talks": ("unsafe_once", "idempotent", "dedupe"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("flow", sorted(WITHIN))
def test_a_kill_in_the_middle_of_each_operation_of_a_conversation(kit: Kit, flow: str, when: str) -> None:
    once = {each for each in WITHIN[flow] if each != "idempotent"}
    for name in WITHIN[flow]:
        case = kit.case(flow)
        kit.kill_within(case, flow, name, when)
        end = anyio.run(kit.ended, case, flow)
        assert {each: end.done.get(each) for each in once} == dict.fromkeys(once, 1), (name, when)
        assert end.looked == (name == "unsafe_once"), (name, when)


@pytest.mark.parametrize("when", ["before", "after"])
def test_two_reviewers_in_two_processes_of_which_one_is_killed(kit: Kit, other_child: Child, when: str) -> None:
    for commit in range(12):
        kit.race(other_child, when, commit)
