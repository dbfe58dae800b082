"""Schedules that start work: handlers and capabilities, once over several processes, whatever the clock does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from fix_app import Process, World
from fix_dispatch import work
from interlock import dispatch, policy, runs, testing
from interlock.adapters import sql
from interlock.kernel import InterlockError, Retry, Tx
from interlock.triggers import schedules

pytestmark = pytest.mark.anyio

RECORDS = sql.ScheduleRecords()
DENY = policy.Policy(default=policy.Effect.DENY)


class Set(testing.ManualClock):
    """A clock that somebody sets."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


def keeper(process: Process) -> schedules.Keeper:
    return process.parts.timed.keeper


async def runs_of(process: Process, capability: str = "handler.report") -> list[runs.Listed]:
    found = await process.il.runs.list(capability=capability, limit=500)
    return list(reversed(found))


async def test_a_handler_is_started_at_its_times(world: World):
    seen: list[Any] = []

    @dispatch.handler("report")
    async def report(event: dispatch.Event, context: dispatch.Context) -> None:
        seen.append(event.payload)

    async with world.process() as process:
        made = await process.il.schedules.create("often", every=60, handler="report", input={"of": "x"})
        assert await keeper(process).start_due() == made.next_at
        assert await runs_of(process) == []
        world.advance(60)
        following = await keeper(process).start_due()
        assert await keeper(process).start_due() == following
        [run] = await runs_of(process)
        assert (run.origin, run.actor, run.state) == (runs.Origin.SCHEDULE, "agent", runs.State.QUEUED)
        assert await work(process, report) == 1
        found = await process.il.schedules.fetch("often")
        assert (found.number, found.last_run_id, found.next_at) == (1, run.run_id, following)
        assert seen == [
            {"schedule": "often", "schedule_id": made.schedule_id, "due_at": _text(made.next_at), "input": {"of": "x"}}
        ]


def _text(moment: datetime | None) -> str:
    assert moment is not None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


async def test_of_many_that_look_at_once_one_starts_it(world: World):
    async with world.process() as process, world.process() as other:
        for number in range(5):
            await process.il.schedules.create(f"s{number}", every=60, handler="report", catch_up="all")
        world.advance(200)
        async with anyio.create_task_group() as tasks:
            for each in (process, other, process, other):
                tasks.start_soon(keeper(each).start_due)
        assert len(await runs_of(process)) == 15


async def test_a_capability_is_asked_for_and_a_second_process_gets_the_same_run(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        made = await process.il.schedules.create("look", every=60, capability="acme.account.fetch", connection="acme")
        world.advance(60)
        await keeper(process).start_due()
        [run] = await runs_of(process, "acme.account.fetch")
        assert (run.state, run.origin) == (runs.State.QUEUED, runs.Origin.SCHEDULE)
        # As if the process had been killed before it moved the schedule on.
        after = await process.il.schedules.fetch("look")
        before = replace(made, revision=after.revision)
        assert await process.parts.store.write(lambda tx: RECORDS.replace(tx, after, before))
        await keeper(process).start_due()
        assert [each.run_id for each in await runs_of(process, "acme.account.fetch")] == [run.run_id]
        assert (await process.il.schedules.fetch("look")).last_run_id == run.run_id
        assert await work(process) == 1


async def test_what_cannot_be_started_is_told_and_keeps_nobody_waiting(file_world: World):
    async with file_world.process() as process:
        await process.il.schedules.create("wrong", every=60, capability="acme.issue.create", input={"repo": 7})
        await process.il.schedules.create("right", every=60, handler="report")
        file_world.advance(61)
        await keeper(process).start_due()
        wrong = await process.il.schedules.fetch("wrong")
        assert "repo" in (wrong.problem or "")
        assert wrong.next_at is not None
        assert (wrong.number, wrong.state, len(await runs_of(process))) == (0, schedules.State.ACTIVE, 1)


async def test_a_schedule_that_breaks_keeps_no_other_waiting(file_world: World, monkeypatch: pytest.MonkeyPatch):
    async with file_world.process() as process:
        for name in ("wrong", "right"):
            await process.il.schedules.create(name, every=60, handler=name)
        admit = dispatch.Dispatch.admit_in

        def broken(self: Any, tx: Any, caller: Any, asked: dispatch.Work) -> Any:
            if asked.handler == "wrong":
                raise ZeroDivisionError
            return admit(self, tx, caller, asked)

        monkeypatch.setattr(dispatch.Dispatch, "admit_in", broken)
        file_world.advance(61)
        await keeper(process).start_due()
        wrong = await process.il.schedules.fetch("wrong")
        assert (wrong.problem, wrong.state) == ("internal_error: ZeroDivisionError", schedules.State.ACTIVE)
        assert len(await runs_of(process, "handler.right")) == 1


async def test_a_schedule_whose_next_time_cannot_be_reckoned_is_paused(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process() as process:
        made = await process.il.schedules.create("wrong", every=3600, handler="report")
        await process.il.schedules.create("right", every=60, handler="report")
        reckon = schedules.next_after

        def broken(timing: schedules.Timing, moment: datetime) -> datetime | None:
            if timing == made.timing:
                raise OverflowError
            return reckon(timing, moment)

        monkeypatch.setattr("interlock.triggers.schedules.model.next_after", broken)
        file_world.advance(3600)
        await keeper(process).start_due()
        wrong = await process.il.schedules.fetch("wrong")
        assert (wrong.state, wrong.next_at, wrong.missed_at) == (schedules.State.PAUSED, None, made.next_at)
        assert "cannot be reckoned: OverflowError" in (wrong.problem or "")
        assert len(await runs_of(process)) == 1


async def test_a_zone_that_one_machine_lacks_keeps_no_other_schedule_waiting(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    file_world.clock = clock = Set()
    async with file_world.process() as process:
        await process.il.schedules.create("far", cron="* * * * *", zone="Asia/Kathmandu", handler="far")
        await process.il.schedules.create("right", cron="* * * * *", handler="report")
        file_world.advance(60)
        await keeper(process).start_due()
        file_world.advance(60)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("interlock.triggers.schedules.timing.ZoneInfo", _lacks)
            schedules.find_zone.cache_clear()
            await keeper(process).start_due()
            assert [len(await runs_of(process, f"handler.{name}")) for name in ("far", "report")] == [1, 2]
            file_world.advance(60)
            await keeper(process).start_due()
            [far, _] = await process.il.schedules.list()
            assert (far.state, far.problem) == (schedules.State.ACTIVE, None)
            clock.ahead = -timedelta(days=1)
            await keeper(process).start_due()
            [far, right] = await process.il.schedules.list()
            assert right.next_at is not None
            assert right.next_at <= clock.now() + timedelta(minutes=1)
            clock.ahead = timedelta()
            await keeper(process).start_due()
        schedules.find_zone.cache_clear()
        file_world.advance(60)
        await keeper(process).start_due()
        assert [len(await runs_of(process, f"handler.{name}")) for name in ("far", "report")] == [2, 5]


def _lacks(name: str) -> Any:
    raise LookupError(name)


async def test_a_catch_up_that_breaks_in_the_middle_takes_no_run_for_two_times(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        await process.il.schedules.create(
            "look", every=60, capability="acme.account.fetch", connection="acme", catch_up="all"
        )
        submit, asked = dispatch.Dispatch.submit_call, list[str]()

        async def breaks(self: Any, caller: Any, request: runs.Request, **more: Any) -> Any:
            asked.append(str(request.idempotency_key))
            if len(asked) == 3:
                raise ZeroDivisionError
            return await submit(self, caller, request, **more)

        monkeypatch.setattr(dispatch.Dispatch, "submit_call", breaks)
        file_world.advance(180)
        await keeper(process).start_due()
        found = await process.il.schedules.fetch("look")
        assert (found.number, found.problem) == (2, "internal_error: ZeroDivisionError")
        file_world.advance(60)
        await keeper(process).start_due()
        assert len(await runs_of(process, "acme.account.fetch")) == 3


@pytest.mark.parametrize("goes_on", [True, False])
async def test_what_can_be_started_later_is_tried_again_for_a_while(
    file_world: World, monkeypatch: pytest.MonkeyPatch, goes_on: bool
):
    async with file_world.process() as process:
        made = await process.il.schedules.create("report", every=3600, handler="report", catch_up="one")
        admit = dispatch.Dispatch.admit_in

        def full(*_given: Any) -> Any:
            raise InterlockError("no room for now", retry=Retry.LATER, retry_after=30)

        monkeypatch.setattr(dispatch.Dispatch, "admit_in", full)
        file_world.advance(3600)
        following = await keeper(process).start_due()
        assert following is not None
        assert timedelta(seconds=30) <= following - file_world.clock.now() <= timedelta(seconds=60)
        assert await process.il.schedules.fetch("report") == made
        if goes_on:
            monkeypatch.setattr(dispatch.Dispatch, "admit_in", admit)
        for _ in range(15):
            file_world.advance(60)
            await keeper(process).start_due()
        found = await process.il.schedules.fetch("report")
        assert len(await runs_of(process)) == (1 if goes_on else 0)
        assert (found.number, found.problem) == ((1, None) if goes_on else (0, "no room for now"))


async def test_what_policy_denies_is_told(file_world: World):
    file_world.law = DENY
    async with file_world.process() as process:
        await process.il.schedules.create("look", every=60, capability="acme.account.fetch")
        file_world.advance(61)
        await keeper(process).start_due()
        assert (await process.il.schedules.fetch("look")).problem is not None
        assert [each.state for each in await runs_of(process, "acme.account.fetch")] in ([runs.State.DENIED], [])


@pytest.mark.parametrize(("catch_up", "started"), [("skip", 0), ("one", 1), ("all", 4)])
async def test_a_clock_that_is_put_forward_leads_to_what_the_schedule_says(
    file_world: World, catch_up: Any, started: int
):
    file_world.clock = clock = Set()
    async with file_world.process() as process:
        await process.il.schedules.create("hourly", cron="15 * * * *", handler="report", catch_up=catch_up, cap=4)
        await keeper(process).start_due()
        clock.ahead = timedelta(days=2, minutes=30)
        await keeper(process).start_due()
        assert len(await runs_of(process)) == started
        found = await process.il.schedules.fetch("hourly")
        assert found.next_at is not None
        assert timedelta(0) < found.next_at - clock.now() <= timedelta(hours=1)


async def test_a_clock_that_is_put_back_a_little_repeats_nothing(file_world: World):
    file_world.clock = clock = Set()
    async with file_world.process() as process:
        await process.il.schedules.create("often", every=60, handler="report")
        file_world.advance(60)
        await keeper(process).start_due()
        clock.ahead = timedelta(minutes=-30)
        await keeper(process).start_due()
        file_world.advance(25 * 60)
        await keeper(process).start_due()
        assert len(await runs_of(process)) == 1
        file_world.advance(6 * 60)
        await keeper(process).start_due()
        assert len(await runs_of(process)) == 2


async def test_a_clock_that_was_a_year_ahead_keeps_nothing_waiting_for_a_year(file_world: World):
    file_world.clock = clock = Set()
    async with file_world.process() as process:
        await process.il.schedules.create("often", every=60, handler="report", catch_up="one")
        await keeper(process).start_due()
        clock.ahead = timedelta(days=365)
        await keeper(process).start_due()
        clock.ahead = timedelta()
        await keeper(process).start_due()
        file_world.advance(60)
        await keeper(process).start_due()
        assert len(await runs_of(process)) == 2
        assert [each.state for each in await process.il.schedules.list()] == [schedules.State.ACTIVE]


async def test_what_a_race_undid_leaves_no_schedule_to_the_wrong_time(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    file_world.clock = clock = Set()
    async with file_world.process() as process:
        await process.il.schedules.create("often", every=60, handler="report", catch_up="one")
        await keeper(process).start_due()
        clock.ahead = timedelta(days=365)
        await keeper(process).start_due()
        reckon, write, failures = schedules.next_after, process.parts.store.write, [OverflowError()]

        def once(timing: schedules.Timing, moment: datetime) -> datetime | None:
            if failures:
                raise failures.pop()
            return reckon(timing, moment)

        async def after_a_race(fn: Callable[[Tx], Any]) -> Any:
            def undone(tx: Tx) -> None:
                fn(tx)
                raise LookupError

            with pytest.raises(LookupError):
                await write(undone)
            return await write(fn)

        monkeypatch.setattr("interlock.triggers.schedules.model.next_after", once)
        monkeypatch.setattr(process.parts.store, "write", after_a_race)
        clock.ahead = timedelta()
        await keeper(process).start_due()
        [often] = await process.il.schedules.list()
        assert often.next_at is not None
        assert often.next_at <= clock.now() + timedelta(minutes=1)


async def test_who_works_sees_to_what_is_due(world: World):
    done = anyio.Event()

    @dispatch.handler("report")
    async def report(event: dispatch.Event, context: dispatch.Context) -> None:
        done.set()

    world.clock = testing.ManualClock(autojump=False)
    async with world.process() as process:
        await process.il.schedules.create("once", at=world.clock.now() + timedelta(seconds=5), handler="report")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.il.worker(report).run)
            with anyio.fail_after(60):
                while not done.is_set():
                    world.advance(1)
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert (await process.il.schedules.fetch("once")).state is schedules.State.DONE
