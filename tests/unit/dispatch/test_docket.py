"""What becomes of work whose attempt was lost."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from fix_ledger import dead_letter
from interlock import dispatch, runs
from interlock.dispatch import sequel
from interlock.dispatch.docket import MOST_EXCUSED, Docket
from interlock.testing import ManualClock

T = TypeVar("T")
pytestmark = pytest.mark.anyio
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DUE = replace(
    dead_letter("run_1", "default"),
    due_at=NOW,
    submitted_at=NOW,
    tries=0,
    crashes=2,
    retry=dispatch.RetryPolicy(max_attempts=3, base_seconds=100_000, cap_seconds=100_000),
    standing=dispatch.Standing.DUE,
    why=None,
)
OFTEN = sequel.MOST_UNCOUNTED + 1


class Desk:
    """A store, its one row, and a queue."""

    def __init__(self) -> None:
        self.due = DUE

    async def read(self, fn: Callable[[Any], T]) -> T:
        return fn(None)

    def find(self, tx: object, tenant_id: str, run_id: str) -> dispatch.Due:
        return self.due

    def save(self, tx: object, due: dispatch.Due, *, before: dispatch.Due | None = None) -> bool:
        self.due = due
        return True

    def put(self, tx: object, jobs: object) -> None: ...


async def left(
    *, is_crash: bool = False, store_failed: bool = False, attempts: int = 1, due: dispatch.Due = DUE
) -> dispatch.Due:
    desk: Any = Desk()
    desk.due = due

    async def end(state: runs.State, error: object = None, *, beside: Callable[[Any], object]) -> None:
        beside(None)

    lost: Any = SimpleNamespace(
        run=SimpleNamespace(tenant_id="default", run_id="run_1", attempt_count=attempts),
        error=runs.AttemptLost("its process is gone"),
        stop=False,
        doubtful=False,
        is_crash=is_crash,
        store_failed=store_failed,
        end=end,
    )
    assert await Docket(desk, desk, desk, ManualClock()).take_over(lost)
    return desk.due


@pytest.mark.parametrize("is_crash", [True, False])
@pytest.mark.parametrize("attempts", [1, MOST_EXCUSED])
async def test_what_a_store_that_failed_has_lost_waits_and_counts_for_nothing(is_crash: bool, attempts: int):
    found = await left(is_crash=is_crash, store_failed=True, attempts=attempts)
    assert (found.standing, found.why, found.tries, found.crashes) == (dispatch.Standing.DUE, "store_failed", 0, 2)
    assert found.due_at > NOW


async def test_a_store_that_fails_excuses_no_crash_for_ever():
    found = await left(is_crash=True, store_failed=True, attempts=MOST_EXCUSED + 1)
    assert (found.standing, found.why) == (dispatch.Standing.DEAD, "poison")


async def test_a_store_that_fails_takes_a_try_at_last():
    found = await left(store_failed=True, attempts=OFTEN)
    assert (found.why, found.tries) == ("backoff", 1)


async def test_after_a_crash_the_next_worker_has_it_at_once():
    found = await left(is_crash=True, due=replace(DUE, crashes=0))
    assert (found.due_at, found.why, found.tries, found.crashes) == (NOW, "attempt_lost", 0, 1)
