"""What becomes of times that were missed."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from interlock.triggers import schedules
from interlock.triggers.schedules import CatchUp, State

NINE = datetime.fromisoformat("2026-03-02T09:00Z")
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)

HOURLY = schedules.Schedule(
    schedule_id="sch_1",
    tenant_id="t1",
    name="hourly",
    timing=schedules.Cron(expression="0 * * * *"),
    does="handler",
    subject="report",
    input={},
    connection=None,
    priority="normal",
    catch_up=CatchUp.ONE,
    cap=3,
    state=State.ACTIVE,
    next_at=NINE,
    number=0,
    last_due_at=None,
    last_fired_at=None,
    last_run_id=None,
    missed_at=None,
    problem=None,
    revision=0,
    created_by="me",
    created_at=NINE - HOUR,
    updated_at=NINE - HOUR,
)


@pytest.mark.parametrize("policy", list(CatchUp))
def test_nothing_is_due_before_its_time_and_one_run_at_it(policy: CatchUp):
    schedule = replace(HOURLY, catch_up=policy)
    assert schedules.due(schedule, NINE - SECOND) == schedules.Due()
    assert schedules.due(schedule, NINE) == schedules.Due(times=(NINE,))
    assert schedules.due(schedule, NINE + 59 * SECOND) == schedules.Due(times=(NINE,))


@pytest.mark.parametrize(
    ("policy", "late", "hours", "missed"),
    [
        (CatchUp.SKIP, timedelta(minutes=2), [], 0),
        (CatchUp.SKIP, 5 * HOUR + timedelta(minutes=2), [], 5),
        (CatchUp.SKIP, 5 * HOUR + SECOND, [5], 4),  # the last one is punctual
        (CatchUp.ONE, timedelta(minutes=2), [0], None),
        (CatchUp.ONE, 5 * HOUR + timedelta(minutes=2), [5], 4),
        (CatchUp.ALL, timedelta(minutes=2), [0], None),
        (CatchUp.ALL, 2 * HOUR, [0, 1, 2], None),
        (CatchUp.ALL, 5 * HOUR, [3, 4, 5], 2),
        (CatchUp.ALL, 50_000 * HOUR, [49_998, 49_999, 50_000], 49_997),
    ],
)
def test_missed_times(policy: CatchUp, late: timedelta, hours: list[int], missed: int | None):
    found = schedules.due(replace(HOURLY, catch_up=policy), NINE + late)
    assert found.times == tuple(NINE + each * HOUR for each in hours)
    assert found.missed_at == (None if missed is None else NINE + missed * HOUR)


def test_what_is_paused_or_done_is_never_due():
    for state in (State.PAUSED, State.DONE):
        assert schedules.due(replace(HOURLY, state=state, next_at=None), NINE + HOUR) == schedules.Due()
