"""What every queue promises: at least once, in its order, to a live worker; a late one changes nothing."""

import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from pgqueuer.domain.schema.declaration import target

from fix_queues import NEVER, Yard, until
from interlock import dispatch
from interlock.adapters import sql
from interlock.adapters.queues import pgqueuer, serving
from interlock.adapters.queues.bells import LocalBell
from interlock.adapters.queues.pgqueuer import SETTINGS
from interlock.adapters.sql import postgres
from interlock.kernel import Tx

pytestmark = pytest.mark.anyio


class ChangedMind(Exception):
    """What a caller's function raises."""


# -- putting


async def test_a_job_is_handed_over_as_it_was_put(every_yard: Yard):
    yard, job = every_yard, every_yard.job()
    async with yard.worker() as worker:
        await yard.put(job)
        assert await worker.next() == job
        await yard.gone(job)


async def test_what_is_rolled_back_was_never_put(yard: Yard):
    job, other = yard.job(), yard.job()

    def put(tx: Tx) -> None:
        yard.queue.put(tx, [job])
        raise ChangedMind

    async with yard.worker() as worker:
        with pytest.raises(ChangedMind):
            await yard.store.write(put)
        await yard.put(other)
        assert await worker.next() == other
        await yard.gone(other)
        assert worker.handed == [other]
    assert await yard.missing(job) == [job.work_id]


async def test_the_same_attempt_is_one_job_and_the_next_attempt_another(yard: Yard):
    first = yard.job()
    second = replace(first, number=2, rank=first.rank + 1000)
    await yard.put(first, first)
    await yard.put(first)
    await yard.put(second)
    async with yard.worker(at_once=1) as worker:
        assert [(await worker.next()).number for _ in range(2)] == [1, 2]
        await yard.gone(first, second)
        assert len(worker.handed) == 2


async def test_what_is_at_work_cannot_be_put_twice(yard: Yard):
    job = yard.job()
    async with yard.worker(open_=False) as worker:
        await yard.put(job)
        await worker.next()
        await yard.put(job)
        worker.go.set()
        await yard.gone(job)
        assert worker.handed == [job]


async def test_many_small_jobs(yard: Yard):
    jobs = [yard.job() for _ in range(200)]
    async with yard.worker(at_once=16) as worker:
        async with anyio.create_task_group() as group:
            for start in range(0, len(jobs), 50):
                group.start_soon(yard.put, *jobs[start : start + 50])
        assert sorted(await worker.several(len(jobs))) == [job.work_id for job in jobs]
        await yard.gone(*jobs)
        assert worker.most_at_once <= 16
        assert len(worker.handed) == len(jobs)


# -- order


async def test_a_job_waits_until_it_is_due(yard: Yard):
    later, now = yard.job(**yard.due_in(60)), yard.job()
    async with yard.worker() as worker:
        await yard.put(later, now)
        assert await worker.next() == now
        await yard.gone(now)
        await yard.pass_time(59)
        await yard.put(yard.job("run_between"))
        assert (await worker.next()).work_id == "run_between"
        await yard.pass_time(2)
        assert (await worker.next()).work_id == later.work_id


async def test_lower_ranks_go_first_whatever_their_lane(yard: Yard):
    jobs = [yard.job(lane=lane) for lane in ("capability", "outgoing", "handler:a", "capability", "handler:a")]
    await yard.put(*reversed(jobs))
    async with yard.worker(lanes=("capability", "outgoing", "handler:a"), at_once=1) as worker:
        assert await worker.several(len(jobs)) == [job.work_id for job in jobs]
        assert worker.most_at_once == 1


async def test_what_became_due_goes_by_its_rank_like_all_others(yard: Yard):
    later, now, last = yard.job(**yard.due_in(3600)), yard.job(), yard.job(**yard.due_in(3600))
    await yard.put(last, now, later)
    await yard.pass_time(3601)
    async with yard.worker(at_once=1) as worker:
        assert await worker.several(3) == [later.work_id, now.work_id, last.work_id]


async def test_a_worker_is_handed_its_own_lanes_only(yard: Yard):
    mine, foreign = yard.job(lane="handler:mine"), yard.job(lane="handler:foreign")
    await yard.put(foreign, mine)
    async with yard.worker(lanes=("handler:mine",)) as worker:
        assert await worker.next() == mine
        await yard.gone(mine)
        assert worker.handed == [mine]
    assert await yard.missing(foreign) == []


async def test_no_more_at_once_than_was_said(yard: Yard):
    jobs = [yard.job() for _ in range(3)]
    async with yard.worker(at_once=1, open_=False) as worker:
        await yard.put(*jobs)
        await worker.next()
        worker.go.set()
        await yard.gone(*jobs)
        assert worker.most_at_once == 1


async def test_a_worker_does_something(yard: Yard):
    with pytest.raises(ValueError, match="at_once is 0"):
        await yard.queue.serve(lambda job, seen: anyio.lowlevel.checkpoint(), lanes=["capability"], at_once=0)


# -- looking


async def test_what_is_missing(yard: Yard):
    jobs = [yard.job() for _ in range(3)]
    held = yard.job(lane="handler:slow")
    await yard.put(jobs[0], jobs[2], held)
    async with yard.worker(lanes=("handler:slow",), open_=False) as worker:
        await worker.next()
        asked = [*jobs, held, replace(jobs[0], number=2)]
        assert await yard.missing(*asked) == [jobs[1].work_id, jobs[0].work_id]
        assert await yard.missing() == []
        worker.go.set()
        await yard.gone(held)


async def test_how_long_the_oldest_has_been_due(yard: Yard):
    async def age(*lanes: str) -> float | None:
        now = yard.clock.now()
        oldest = await yard.store.read(lambda tx: yard.queue.oldest(tx, now, lanes=lanes or None))
        return None if oldest is None else (now - oldest).total_seconds()

    assert await age() is None
    await yard.put(yard.job(**yard.due_in(200), lane="outgoing"))
    assert await age() is None
    await yard.pass_time(100)
    await yard.put(yard.job(lane="handler:slow"))
    await yard.pass_time(300)
    assert await age() == pytest.approx(300, abs=60)
    assert await age("handler:slow") == pytest.approx(300, abs=60)
    assert await age("outgoing", "handler:other") == pytest.approx(200, abs=60)
    assert await age("handler:other") is None
    async with yard.worker(lanes=("handler:slow",), open_=False) as worker:
        await worker.next()
        assert await age() == pytest.approx(200, abs=60)
        worker.go.set()


# -- taking back


async def test_what_is_withdrawn_is_not_handed_over(yard: Yard):
    first, second, other = yard.job("run_a"), yard.job("run_a", number=2), yard.job()
    await yard.put(first, second, other)
    await yard.withdraw("run_a", "run_unknown")
    async with yard.worker() as worker:
        assert await worker.next() == other
        await yard.gone(other)
        assert worker.handed == [other]


async def test_what_is_at_work_and_withdrawn_goes_on_and_is_not_handed_over_again(yard: Yard):
    job, after = yard.job(), yard.job()
    async with yard.worker(at_once=1, open_=False) as worker:
        await yard.put(job)
        await worker.next()
        await yard.withdraw(job.work_id)
        worker.go.set()
        await yard.put(after)
        assert await worker.next() == after
        await yard.gone(job, after)
        assert worker.ended == [job, after]


@pytest.mark.parametrize("seconds", [0, 60])
async def test_a_job_that_is_moved_while_it_is_at_work_is_handed_over_anew(yard: Yard, seconds: float):
    job = yard.job()
    moved = replace(job, **yard.due_in(seconds))

    def move(tx: Tx) -> None:
        yard.queue.withdraw(tx, [job.work_id])
        yard.queue.put(tx, [moved])

    async with yard.worker(open_=False) as worker:
        await yard.put(job)
        await worker.next()
        await yard.store.write(move)
        await until(yard.has_put_off)  # what is at work here already has to wait for that
        worker.go.set()
        await yard.tick(lambda: worker.handed[1:])
        assert (worker.handed[1].work_id, worker.most_at_once) == (job.work_id, 1)
        await yard.gone(moved)


# -- failing


async def test_a_job_that_was_not_dealt_with_is_handed_over_again(yard: Yard):
    job = yard.job()
    async with yard.worker() as worker:
        worker.fails = 2
        await yard.put(job)
        await yard.tick(lambda: worker.ended)
        assert [each.work_id for each in worker.handed] == [job.work_id] * 3
        await yard.gone(job)


async def test_a_job_that_was_not_dealt_with_is_handed_over_again_though_others_were_taken_meanwhile(yard: Yard):
    jobs = [yard.job(), yard.job()]
    async with yard.worker(open_=False, queue=yard.make_queue(lease=1000 * NEVER)) as worker:
        for job in jobs:
            await yard.put(job)
            await worker.next()
        worker.fails = 2
        worker.go.set()
        await yard.tick(lambda: worker.ended[1:])
        assert len(worker.handed) == 4
        await yard.gone(*jobs)


async def test_a_silent_holder_loses_its_job_and_what_it_says_of_it_later_changes_nothing(yard: Yard):
    job, mark = yard.job(), yard.job(lane="handler:mark")
    frozen_lanes = ("capability", "handler:mark")
    async with yard.worker(lanes=frozen_lanes, open_=False, queue=yard.make_queue(lease=60)) as frozen:
        await yard.put(job)
        await frozen.next()
        await yard.pass_time(61)
        async with yard.worker(open_=False, queue=yard.make_queue(lease=60)) as other:
            assert (await other.next()).work_id == job.work_id
            frozen.go.set()
            await until(lambda: frozen.ended)
            await yard.put(mark)  # when that is gone, the first worker has said all that it had to say
            await yard.gone(mark)
            assert await yard.missing(job) == []
            other.go.set()
            await yard.gone(job)
            assert other.handed == [job]


async def test_a_live_holder_keeps_its_job(yard: Yard):
    job, mark = yard.job(), yard.job(lane="handler:mark")
    await yard.put(job)
    async with yard.worker(open_=False, queue=yard.make_queue(lease=4)) as holder:
        await holder.next()
        async with yard.worker(lanes=("capability", "handler:mark"), queue=yard.make_queue(lease=4)) as other:
            for _ in range(3):
                await yard.pass_time(2)
                await until(yard.is_held_for_long)
            await yard.put(mark)
            await other.next()
            await yard.gone(mark)
            assert other.handed == [mark]
        holder.go.set()
        await yard.gone(job)


# -- waking


async def test_nobody_waits_for_the_next_look(yard: Yard):
    queue = yard.make_queue(look=NEVER)
    job = yard.job()
    async with yard.worker(queue=queue) as worker:
        await anyio.wait_all_tasks_blocked()
        await yard.put(job, queue=queue)
        assert await worker.next() == job
        await yard.gone(job)
        again = yard.job()
        await yard.put(again, queue=queue)
        assert await worker.next() == again


async def test_what_another_process_put_is_seen(yard: Yard):
    job = yard.job()
    elsewhere = yard.elsewhere()
    async with yard.worker() as worker:
        await elsewhere.write(lambda tx: yard.make_queue(elsewhere).put(tx, [job]))
        assert await worker.next() == job


async def test_workers_share_what_there_is(yard: Yard):
    jobs = [yard.job() for _ in range(40)]
    async with (
        yard.worker(at_once=2) as first,
        yard.worker(at_once=2, queue=yard.make_queue(yard.elsewhere())) as second,
    ):
        await yard.put(*jobs)
        await yard.gone(*jobs)
        handed = [job.work_id for job in [*first.handed, *second.handed]]
        assert sorted(handed) == [job.work_id for job in jobs]


# -- stopping


async def test_that_a_job_was_dealt_with_is_said_when_the_next_is_taken(yard: Yard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "_DEALT_SECONDS", NEVER)
    written: list[object] = []
    store = yard.elsewhere()
    write = store.write
    bell = LocalBell()

    async def counted(fn: Callable[[Tx], Any], *, urgent: bool = False) -> Any:
        answer = await write(fn, urgent=urgent)
        written.extend([] if urgent else [fn])
        return answer

    def ours(_: str) -> LocalBell:
        """Instead of Postgres's own, which rings once more whenever it has connected."""
        return bell

    async def put(job: dispatch.Job) -> None:
        await yard.put(job, queue=queue)
        bell.ring()

    monkeypatch.setattr(store, "write", counted)
    monkeypatch.setattr(pgqueuer, "_PostgresBell", ours)
    jobs = [yard.job() for _ in range(5)]
    queue = yard.make_queue(store, look=NEVER)
    async with yard.worker(queue=queue) as worker:
        await until(lambda: written)  # it has looked, and found nothing: from here on, only a ring makes it look
        await put(first := yard.job())
        assert await worker.next() == first
        del written[:]
        for job in jobs:
            await put(job)
            assert await worker.next() == job
            assert await yard.missing(job) == []
        assert await yard.missing(*jobs[:-1]) == [job.work_id for job in jobs[:-1]]
        assert len(written) == len(jobs)
    assert await yard.missing(*jobs) == [job.work_id for job in jobs]


async def test_who_is_told_to_stop_ends_its_jobs_and_takes_no_more(yard: Yard):
    job, other = yard.job(), yard.job()
    async with yard.worker(at_once=1, open_=False) as worker:
        await yard.put(job, other)
        await worker.next()
        worker.scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not worker.stopped.is_set()
        worker.go.set()
        await worker.stopped.wait()
        assert worker.ended == [job]
        assert await yard.missing(job, other) == [job.work_id]


async def test_what_does_not_end_is_cancelled_and_handed_over_again(yard: Yard):
    job = yard.job()
    async with yard.worker(open_=False, queue=yard.make_queue(drain=0.01)) as worker:
        await yard.put(job)
        await worker.next()
        worker.scope.cancel()
        await worker.stopped.wait()
        assert worker.ended == []
        async with yard.worker(queue=yard.make_queue(look=NEVER)) as other:
            assert (await other.next()).work_id == job.work_id
            await yard.gone(job)


# -- what jobs are about


async def test_what_jobs_are_about_is_seen_when_they_are_taken(yard: Yard):
    jobs, handed = [yard.job() for _ in range(3)], list[tuple[dispatch.Job, object]]()
    await yard.put(*jobs)

    def look(tx: Tx, taken: Sequence[dispatch.Job]) -> list[tuple[str, int]]:
        left = len(yard.queue.find_missing(tx, taken))  # it is asked in their transaction
        return [(job.work_id, left) for job in taken]

    async with _serving(yard, handed, look):
        await yard.gone(*jobs)
    assert handed == [(job, (job.work_id, 0)) for job in jobs]


async def test_a_look_that_fails_keeps_no_job_from_being_handed_over(yard: Yard):
    jobs, handed = [yard.job() for _ in range(3)], list[tuple[dispatch.Job, object]]()
    await yard.put(*jobs)

    def look(tx: Tx, taken: Sequence[dispatch.Job]) -> list[str]:
        sql.connection(tx).exec_driver_sql("SELECT nothing")
        raise AssertionError("unreachable")

    async with _serving(yard, handed, look):
        await yard.gone(*jobs)
    assert handed == [(job, None) for job in jobs]


@asynccontextmanager
async def _serving(
    yard: Yard, handed: list[tuple[dispatch.Job, object]], look: dispatch.Look[object]
) -> AsyncGenerator[None]:
    async def handle(job: dispatch.Job, seen: object) -> None:
        handed.append((job, seen))

    async with anyio.create_task_group() as group:
        group.start_soon(partial(yard.queue.serve, handle, lanes=["capability"], at_once=4, look=look))
        yield
        group.cancel_scope.cancel()


# -- the store


async def test_a_store_that_is_gone_for_a_while_is_waited_for(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    job, other = yard.job(), yard.job()
    async with (
        yard.outages(monkeypatch) as (queue, outage),
        yard.worker(at_once=1, open_=False, queue=queue) as worker,
    ):
        await yard.put(job)
        await worker.next()
        async with outage():
            worker.go.set()
            await until(lambda: "for now" in caplog.text)
        await yard.put(other)
        assert (await worker.next()).work_id == other.work_id
        await yard.gone(job, other)
        assert worker.handed == [job, other]


async def test_a_store_that_is_closed_ends_it(yard: Yard):
    store = yard.open_store(yard.url)
    queue = yard.make_queue(store)
    store.close()
    with pytest.raises(sql.StoreClosed):
        await queue.serve(lambda job, seen: anyio.lowlevel.checkpoint(), lanes=["capability"], at_once=1)


# -- the engine on Postgres


async def test_a_worker_that_cannot_be_woken_any_more_listens_anew(make_yard: Callable[[str], Yard]):
    yard = make_yard("postgres")
    bells = "FROM pg_stat_activity WHERE application_name = 'interlock-bell' AND datname = current_database()"
    async with yard.worker(queue=yard.make_queue(look=NEVER)) as worker:
        await yard.put(first := yard.job())
        assert await worker.next() == first
        assert await yard.fetch(f"SELECT bool_and(pg_terminate_backend(pid)) {bells}")
        await yard.put(second := yard.job())
        assert await worker.next() == second


async def test_a_worker_that_stands_still_in_a_transaction_keeps_no_job(
    make_yard: Callable[[str], Yard], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres, "IDLE_MS", 300)
    yard = make_yard("postgres")
    job, taken, go = yard.job(), threading.Event(), threading.Event()
    await yard.put(job)

    def freeze(tx: Tx) -> None:
        if not taken.is_set():
            sql.connection(tx).exec_driver_sql("UPDATE interlock_pgqueuer SET status = 'picked', heartbeat = now()")
            taken.set()
            go.wait(60)
        sql.connection(tx).exec_driver_sql("SELECT 1")

    async with anyio.create_task_group() as group:
        group.start_soon(yard.elsewhere().write, freeze)
        await anyio.to_thread.run_sync(taken.wait)
        async with yard.worker() as worker:
            assert (await worker.next()).work_id == job.work_id
        go.set()


async def test_the_engine_keeps_no_log(make_yard: Callable[[str], Yard]):
    yard = make_yard("postgres")
    jobs = [yard.job() for _ in range(3)]
    async with yard.worker() as worker:
        worker.fails = 1
        await yard.put(*jobs)
        await yard.tick(lambda: len(worker.ended) == len(jobs))
        await yard.gone(*jobs)
    assert await yard.fetch("SELECT count(*) FROM interlock_pgqueuer_log") == 0
    assert await yard.fetch("SELECT count(*) FROM interlock_pgqueuer") == 0


async def test_the_engines_tables_are_what_the_installed_version_needs(make_yard: Callable[[str], Yard]):
    yard = make_yard("postgres")
    wanted = target(SETTINGS)
    for table in wanted.tables:
        if table.name in ("interlock_pgqueuer", "interlock_pgqueuer_log"):
            columns = await yard.fetch(
                "SELECT json_object_agg(attname, format_type(atttypid, atttypmod)) FROM pg_attribute"
                f" WHERE attrelid = '{table.name}'::regclass AND attnum > 0 AND NOT attisdropped"
            )
            assert columns == {column.name: column.type for column in table.columns}
    (status,) = wanted.enums
    labels = await yard.fetch(f"SELECT array_to_json(enum_range(NULL::{status.name}))")
    assert tuple(labels) == status.labels
    assert {table.name for table in wanted.tables} > {"interlock_pgqueuer", "interlock_pgqueuer_log"}


async def test_the_environment_does_not_rename_the_engines_tables(
    make_yard: Callable[[str], Yard], monkeypatch: pytest.MonkeyPatch
):
    for name in ("QUEUE_TABLE", "PGQUEUER_QUEUE_TABLE", "PGQUEUER_PREFIX", "PGQUEUER_SCHEMA", "CHANNEL"):
        monkeypatch.setenv(name, "others")
    yard = make_yard("postgres")
    job = yard.job()
    async with yard.worker(queue=yard.make_queue(look=NEVER)) as worker:
        await yard.put(job)
        assert await worker.next() == job


async def test_ranks_of_any_size_are_taken(make_yard: Callable[[str], Yard]):
    yard = make_yard("postgres")
    jobs = [yard.job(rank=rank) for rank in (-(2**62), 0, 1_790_000_000_000, 1_790_000_000_100, 2**62)]
    await yard.put(*reversed(jobs))
    async with yard.worker(at_once=1) as worker:
        handed = await worker.several(len(jobs))
    assert handed[2:] == [job.work_id for job in jobs[2:]]
