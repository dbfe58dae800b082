"""An agent's turn over all five classes, killed before and after each of its commits."""

from collections.abc import Callable, Iterator

import pytest

from fault_agents import Counting, counting
from fault_turns import kill_at_commits
from fix_faults import Case, Child

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def counted() -> Iterator[Counting]:
    with counting() as server:
        yield server


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_every_commit_of_a_turn(
    child: Child, make_case: Callable[[], Case], counted: Counting, when: str
) -> None:
    kill_at_commits(child, make_case, counted, when, lambda count: range(1, count + 1))
