"""Schedules over their records, on every engine."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fix_connections import NOW
from interlock import testing
from interlock.adapters import sql
from interlock.kernel import Caller, Uuid7Ids
from interlock.triggers import schedules

pytestmark = pytest.mark.anyio

RECORDS = sql.ScheduleRecords()
OURS, THEIRS = (Caller(tenant_id=name, actor="me") for name in ("t1", "t2"))
HOURLY = schedules.Cron(expression="0 * * * *", zone="Europe/Berlin")


def room(store: sql.SqlStore, clock: testing.ManualClock | None = None) -> schedules.Schedules:
    clock = clock or testing.ManualClock(NOW)
    return schedules.Schedules(store, RECORDS, clock=clock, ids=Uuid7Ids(clock))


async def made(
    room: schedules.Schedules, name: str, timing: schedules.Timing = HOURLY, caller: Caller = OURS, **more: Any
) -> schedules.Schedule:
    return await room.create(caller, name, timing, does="handler", subject="report", input={"of": ["day"]}, **more)


async def test_a_schedule_is_kept_and_found_whole(store: sql.SqlStore):
    for timing in (
        HOURLY,
        schedules.Every(interval=timedelta(seconds=90), start=NOW),
        schedules.Once(at=NOW + timedelta(1)),
    ):
        kept = await made(
            room(store), f"a-{type(timing).__name__.lower()}", timing, catch_up=schedules.CatchUp.ALL, cap=7
        )
        assert await room(store).fetch(OURS, kept.name) == await room(store).fetch(OURS, kept.schedule_id) == kept
        assert kept.next_at == schedules.next_after(timing, NOW - timedelta(microseconds=1))


async def test_a_tenant_sees_its_own_in_pages(store: sql.SqlStore):
    ours = room(store)
    for name in ("b", "a", "c"):
        await made(ours, name)
    theirs = await made(ours, "a", caller=THEIRS)
    first = await ours.list_named(OURS, limit=2)
    rest = await ours.list_named(OURS, cursor=first[-1].name, limit=2)
    assert [each.name for each in (*first, *rest)] == ["a", "b", "c"]
    for act in (ours.fetch, ours.pause, ours.resume, ours.delete):
        with pytest.raises(schedules.ScheduleNotFound):
            await act(OURS, theirs.schedule_id)
    with pytest.raises(schedules.ScheduleNotFound, match="did you mean 'a'"):
        await ours.fetch(OURS, "a1")
    with pytest.raises(schedules.ScheduleExists):
        await made(ours, "a")
    await ours.delete(OURS, "a")
    assert await ours.fetch(THEIRS, "a") == theirs


async def test_paused_and_resumed_it_goes_on_from_now(store: sql.SqlStore):
    clock = testing.ManualClock(NOW)
    ours = room(store, clock)
    kept = await made(ours, "hourly")
    stopped = await ours.pause(OURS, "hourly")
    assert (stopped.state, stopped.next_at) == (schedules.State.PAUSED, None)
    assert await store.read(lambda tx: RECORDS.list_next(tx, limit=9)) == []
    clock.advance(86_399)
    again = await ours.resume(OURS, "hourly")
    assert kept.next_at is not None
    assert (again.state, again.next_at) == (schedules.State.ACTIVE, kept.next_at + timedelta(days=1))


async def test_of_two_that_change_one_only_one_does(store: sql.SqlStore):
    kept = await made(room(store), "hourly")
    after = replace(kept, revision=1, number=5)
    assert await store.write(lambda tx: RECORDS.replace(tx, kept, after))
    assert not await store.write(lambda tx: RECORDS.replace(tx, kept, replace(after, number=6)))
    assert await room(store).fetch(OURS, "hourly") == after


async def test_who_is_due_first_comes_first(store: sql.SqlStore):
    ours = room(store)
    for name, caller, hours in (("late", OURS, 3), ("early", THEIRS, 1), ("soon", OURS, 2)):
        await made(ours, name, schedules.Once(at=NOW + timedelta(hours=hours)), caller)
    found = await store.read(lambda tx: RECORDS.list_next(tx, limit=2))
    assert [each.name for each in found] == ["early", "soon"]


@pytest.mark.parametrize(
    ("name", "timing", "more", "match"),
    [
        ("Late", HOURLY, {}, "a name is"),
        ("sch_1", HOURLY, {}, "a name is"),
        ("late", HOURLY, {"cap": 101}, "cap must be"),
        ("late", schedules.Once(at=NOW - timedelta(hours=1)), {}, "passed"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    memory_store: sql.SqlStore, name: str, timing: schedules.Timing, more: dict[str, Any], match: str
):
    with pytest.raises(schedules.InvalidSchedule, match=match):
        await made(room(memory_store), name, timing, **more)
