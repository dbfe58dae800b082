"""In which order lost runs are taken up."""

from collections.abc import Sequence

import pytest

from fix_ledger import Builder
from interlock import runs
from interlock.runs.recovery import turns

PARENTS = {"run_child": "run_parent", "run_grandchild": "run_child", "run_parent": None, "run_other": "run_gone"}


def lost_attempts(run_ids: Sequence[str]) -> list[runs.Attempt]:
    builder = Builder()
    return [builder.attempt(builder.run(run_id=run_id)) for run_id in run_ids]


@pytest.mark.parametrize(
    ("lost", "order"),
    [
        ([], []),
        (["run_parent", "run_child"], [["run_child"], ["run_parent"]]),
        (["run_parent", "run_other", "run_grandchild"], [["run_parent", "run_other", "run_grandchild"]]),
        (
            ["run_parent", "run_child", "run_other", "run_grandchild"],
            [["run_other", "run_grandchild"], ["run_child"], ["run_parent"]],
        ),
    ],
)
def test_who_asked_comes_after_what_was_asked_for(lost: Sequence[str], order: Sequence[Sequence[str]]):
    attempts = lost_attempts(lost)
    assert [[each.run_id for each in turn] for turn in turns(attempts, PARENTS)] == order


def test_a_circle_ends_too():
    attempts = lost_attempts(("run_a", "run_b"))
    assert [len(turn) for turn in turns(attempts, {"run_a": "run_b", "run_b": "run_a"})] == [2]
