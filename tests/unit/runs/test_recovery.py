"""In which order lost runs are taken up, and whose process has died."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from fix_ledger import Builder
from interlock import runs
from interlock.runs.recovery import outlived, turns

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


def test_a_process_that_goes_on_under_another_id_has_not_died():
    def owner(owner_id: str, process: str, started: int = 0) -> runs.Owner:
        at = datetime(2026, 1, 1, second=started, tzinfo=UTC)
        return runs.Owner(
            owner_id=owner_id, host="here", process=process, started_at=at, beat=1, lease=timedelta(seconds=10)
        )

    owners = [owner("before", "1"), owner("now", "1"), owner("gone", "2"), owner("same number later", "2", 5)]
    assert outlived(owners, {"before", "gone"}) == {"before", "now", "same number later"}
