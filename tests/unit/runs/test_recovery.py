"""In which order lost runs are taken up, and whose process has died."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from fix_ledger import Builder
from interlock import runs
from interlock.kernel import StoreError
from interlock.runs.recovery import Recovery, outlived, turns
from interlock.testing import ManualClock, SequentialIds

T = TypeVar("T")

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


class Desk:
    """A store with one worker in it, and a ledger that knows whose attempts are asked for."""

    def __init__(self) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        lease = timedelta(seconds=10)
        self.worker = runs.Owner(owner_id="worker", host="a", process="1", started_at=at, beat=1, lease=lease)
        self.fails = False
        self.taken_from: frozenset[str] = frozenset()

    async def read(self, fn: Callable[[Any], T]) -> T:
        if self.fails:
            raise StoreError("the database is away")
        return fn(None)

    def is_any_over(self, tx: object) -> bool:
        return False

    def list_owners(self, tx: object) -> Sequence[runs.Owner]:
        return [self.worker]

    def list_busy(self, tx: object) -> frozenset[str]:
        return frozenset({"worker"})

    def list_open(self, tx: object, owners: Collection[str], size: int) -> Sequence[runs.Attempt]:
        self.taken_from |= frozenset(owners)
        return []


@pytest.mark.anyio
async def test_a_watcher_that_owns_nothing_takes_nobody_for_dead_after_an_outage():
    desk: Any = Desk()
    clock = ManualClock()
    lease = timedelta(seconds=10)
    ownership = runs.Ownership(store=desk, ledger=desk, clock=clock, ids=SequentialIds(), lease=lease)
    wiring: Any = SimpleNamespace(store=desk, ledger=desk, approvals=desk, clock=clock, ownership=ownership)
    unused: Any = None
    recovery = Recovery(wiring, unused, unused)
    await recovery.sweep()
    desk.fails = True
    for _ in range(6):
        clock.advance(10)
        with pytest.raises(StoreError):
            await recovery.sweep()
    desk.fails = False
    clock.advance(1)
    await recovery.sweep()
    assert "worker" not in desk.taken_from, "nobody could beat while the store was away"
    desk.worker = replace(desk.worker, beat=2)
    await recovery.sweep()
    clock.advance(10)
    await recovery.sweep()
    assert "worker" in desk.taken_from
