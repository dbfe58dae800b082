"""Dead letters, pauses, and what is told of work."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import anyio
import pytest

from fix_app import World, shown
from fix_dispatch import RECORDS, find_due, list_due, submitted, work, worker
from interlock import dispatch, runs
from interlock.kernel import JSON, Caller, RequestError

pytestmark = pytest.mark.anyio

broken: set[str] = set()


@dispatch.handler("incident")
async def incident(event: dispatch.Event, context: dispatch.Context) -> JSON:
    made = await context.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, step="issue")
    if "incident" in broken:
        raise dispatch.Reject("it is broken")
    return shown(made)["number"]


@dispatch.handler("plain")
async def plain(event: dispatch.Event, context: dispatch.Context) -> JSON:
    if "plain" in broken:
        raise dispatch.Reject("it is broken")
    return context.attempt


@pytest.fixture(autouse=True)
def mended() -> None:
    broken.clear()


async def test_a_dead_letter_is_replayed_as_the_same_run_and_told_apart(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        broken.add("incident")
        run_id = await submitted(process)
        await work(process, incident)
        [letter] = await process.il.dispatch.list(standing=dispatch.Standing.DEAD)
        error: Any = letter.error
        assert (letter.due.run_id, letter.due.why, error["message"]) == (run_id, "event_rejected", "it is broken")
        broken.clear()
        assert (await process.il.dispatch.replay(run_id, note="mended")).state is runs.State.QUEUED
        await work(process, incident)
        assert (await process.il.dispatch.wait(run_id)).output == 1
        assert file_world.server.effects("issues/create") == 1
        told = await process.il.dispatch.compare(run_id)
        assert (told.first.number, told.last.number) == (1, 2)
        assert told.differences["state"] == ("failed", "completed")
        assert told.differences["error.message"] == ("it is broken", None)
        assert [each["capability"] for each in told.first.asked] == ["acme.issue.create"]
        with pytest.raises(dispatch.NoDeadLetter):
            await process.il.dispatch.replay(run_id)
        with pytest.raises(dispatch.NoSuchAttempt):
            await process.il.dispatch.compare(run_id, last=3)


async def test_a_replayed_letter_has_all_its_tries_again(file_world: World):
    async with file_world.process() as process:
        broken.add("plain")
        run_id = await submitted(process, "plain", deadline_at=file_world.clock.now() + timedelta(minutes=1))
        file_world.advance(60)
        await work(process, plain)
        assert (await process.il.runs.fetch(run_id)).reason == "deadline_passed"
        await process.il.dispatch.replay(run_id)
        due = await find_due(process, run_id)
        assert due is not None
        assert (due.tries, due.crashes, due.deadline_at, due.number) == (0, 0, None, 2)


async def test_dead_letters_are_replayed_and_dismissed_by_filter(world: World):
    async with world.process() as process:
        broken.add("plain")
        first = [await submitted(process, "plain") for _ in range(3)]
        await work(process, plain)
        world.advance(60)
        moment = world.clock.now()
        later = [await submitted(process, "plain") for _ in range(2)]
        await work(process, plain)
        broken.clear()
        assert sorted(await process.il.dispatch.replay_all(handler="plain", until=moment)) == first
        assert await process.il.dispatch.replay_all(handler="other") == []
        await work(process, plain)
        with pytest.raises(RequestError, match="needs a reason"):
            await process.il.dispatch.dismiss_all(reason=" ")
        assert sorted(await process.il.dispatch.dismiss_all(reason="old news")) == later
        assert await process.il.dispatch.list(standing=dispatch.Standing.DEAD) == []
        run = await process.il.runs.fetch(later[0])
        assert (run.state, run.reason) == (runs.State.CANCELLED, "dismissed")
        assert "dispatch.dismissed" in await process.events(later[0])


async def test_a_call_that_happened_is_not_replayed(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("garbage", match="issues/create-comment")
        await process.create()
        outcome = await process.il.dispatch.invoke(
            "acme.comment.create", {"repo": "acme/rocket", "issue_number": 1, "body": "hello"}
        )
        await work(process)
        run = await process.il.runs.fetch(outcome.run_id)
        assert run.state is runs.State.DEAD, (run.state, run.error)
        with pytest.raises(dispatch.HappenedAlready):
            await process.il.dispatch.replay(outcome.run_id)


async def test_pages_of_work_go_on_where_the_last_one_ended(world: World):
    async with world.process() as process:
        due_at = world.clock.now() + timedelta(hours=1)
        runs_ = [await submitted(process, "plain", due_at=due_at + timedelta(minutes=n)) for n in range(5)]
        seen: list[str] = []
        cursor = None
        while page := await process.il.dispatch.list(limit=2, cursor=cursor):
            seen += [each.due.run_id for each in page]
            cursor = page[-1].cursor
        assert seen == runs_
        assert [each.due.run_id for each in await process.il.dispatch.list(cursor=runs_[2])] == runs_[3:]
        await process.il.runs.cancel(runs_[2])
        with pytest.raises(RequestError, match="is gone"):
            await process.il.dispatch.list(cursor=runs_[2])
        with pytest.raises(RequestError, match="cursor"):
            await process.il.dispatch.list(cursor="x")


async def test_other_tenants_neither_see_nor_touch_it(file_world: World):
    async with file_world.process() as process:
        broken.add("plain")
        run_id = await submitted(process, "plain")
        await work(process, plain)
        other = process.il.as_caller(Caller(tenant_id="other", actor="eve")).dispatch
        assert await other.list(standing=dispatch.Standing.DEAD) == []
        assert (await other.stats()).dead == {}
        for act in (
            other.replay(run_id),
            other.dismiss(run_id, reason="mine"),
            other.fetch(run_id),
            other.compare(run_id),
        ):
            with pytest.raises(runs.RunNotFound):
                await act
        with pytest.raises(RequestError, match="another tenant"):
            await other.pause("tenant", "default")
        assert await other.replay_all() == []


@pytest.mark.parametrize(("scope", "subject"), [("tenant", ""), ("handler", "plain"), ("capability", "handler.plain")])
async def test_work_that_is_paused_waits_until_it_is_resumed(file_world: World, scope: str, subject: str):
    async with file_world.process() as process:
        run_id = await submitted(process, "plain")
        pause = await process.il.dispatch.pause(scope, subject, reason="maintenance")
        [due] = await list_due(process)
        await worker(process, plain).handle(due.job)
        assert await list_due(process) == []
        stats = await process.il.dispatch.stats()
        assert (stats.parked, stats.due) == ({pause.why: 1}, 0)
        assert await process.il.dispatch.pauses() == [pause]
        assert await process.il.dispatch.resume(scope, subject) == 1
        assert await work(process, plain) == 1
        assert (await process.il.runs.fetch(run_id)).state is runs.State.COMPLETED
        with pytest.raises(RequestError, match="there is no pause"):
            await process.il.dispatch.resume(scope, subject)


async def test_a_pause_of_one_connection_leaves_others(world: World):
    async with world.process() as process:
        connection = await process.connect(world.server.url)
        call = await process.il.dispatch.invoke("acme.account.fetch")
        await submitted(process, "plain")
        await process.il.dispatch.pause("connection", connection.connection_id)
        await work(process, plain)
        due = await find_due(process, call.run_id)
        assert due is not None
        assert due.why == f"paused:connection:{connection.connection_id}"
        assert sorted(await process.states()) == ["completed", "queued"]


async def test_what_was_cut_off_while_it_was_resumed_goes_on_by_itself(world: World):
    async with world.process() as process:
        await submitted(process, "plain")
        pause = await process.il.dispatch.pause("tenant")
        [due] = await list_due(process)
        await worker(process, plain).handle(due.job)
        await process.parts.store.write(lambda tx: RECORDS.drop_pause(tx, pause))
        assert await process.parts.workshop.sweeping.sweep() == 1
        assert await work(process, plain) == 1


class Slow:
    """A store whose first write comes late: after `meanwhile`."""

    def __init__(self, store: Any, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._meanwhile = [meanwhile]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, work: Callable[[Any], Any]) -> Any:
        while self._meanwhile:
            await self._meanwhile.pop()()
        return await self._store.write(work)


async def test_a_worker_that_freezes_before_it_puts_work_aside_hides_no_dead_letter(world: World):
    async with world.process() as process:
        broken.add("plain")
        run_id = await submitted(process, "plain")
        pause = await process.il.dispatch.pause("tenant")
        [due] = await list_due(process)
        wiring, workshop = process.parts.wiring, process.parts.workshop

        async def others() -> None:
            await wiring.store.write(lambda tx: RECORDS.drop_pause(tx, pause))
            await worker(process, plain).handle(due.job)

        slow = replace(wiring, store=cast("Any", Slow(wiring.store, others)))
        frozen = dispatch.Claiming(slow, RECORDS, workshop.docket, workshop.tasks)
        assert await frozen.claim(due.job) is None
        [letter] = await process.il.dispatch.list(standing=dispatch.Standing.DEAD)
        assert (letter.due.run_id, letter.due.why) == (run_id, "event_rejected")
        broken.clear()
        assert (await process.il.dispatch.replay(run_id)).state is runs.State.QUEUED


async def test_how_much_there_is(world: World):
    async with world.process() as process:
        broken.add("plain")
        await submitted(process, "plain")
        await work(process, plain)
        await submitted(process, "incident")
        await submitted(process, "plain", due_at=world.clock.now() + timedelta(hours=1))
        begun = world.clock.now()
        world.advance(5)
        stats = await process.il.dispatch.stats()
        assert (stats.due, stats.overdue, stats.running, stats.oldest_due_at) == (2, 1, 0, begun)
        assert stats.dead == {"event_rejected": 1}
        assert stats.lanes == {"handler:incident": 1, "handler:plain": 1}


async def test_a_handler_that_is_at_work_hears_that_it_is_cancelled(file_world: World):
    begun = anyio.Event()

    @dispatch.handler("plain")
    async def slow(event: dispatch.Event, context: dispatch.Context) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with file_world.process() as process:
        run_id = await submitted(process, "plain")
        [due] = await list_due(process)
        wiring = process.parts.wiring
        assert wiring.actions.doors is not None
        shop = process.parts.workshop
        carried = dispatch.HandlerExecutor(
            shop.claiming, wiring, shop.tasks, shop.docket, dispatch.Handlers([slow]), wiring.actions.doors
        )
        async with anyio.create_task_group() as group:
            group.start_soon(carried.execute, due.job)
            await begun.wait()
            await process.il.runs.cancel(run_id, reason="not wanted")
            async with anyio.create_task_group() as watching:
                watching.start_soon(carried.stopping.watch)
                with pytest.raises(runs.RunCancelled):
                    await process.il.dispatch.wait(run_id, timeout=1e6)
                watching.cancel_scope.cancel()
        run = await process.il.runs.fetch(run_id)
        assert (run.state, run.reason) == (runs.State.CANCELLED, "run_cancelled")
        assert await find_due(process, run_id) is None


async def test_work_that_no_live_worker_can_do_says_so(world: World):
    async with world.process() as process, world.process() as other:
        await process.connect(world.server.url)
        await submitted(process, "plain")
        await process.il.dispatch.invoke("acme.account.fetch")
        assert [each.why for each in await process.il.dispatch.list()] == ["no_handler", "no_worker"]
        await other.parts.workshop.sweeping.note({"capability", "handler:incident"})
        assert [each.why for each in await process.il.dispatch.list()] == ["no_handler", None]
        assert (await process.il.dispatch.stats()).unserved == {"handler:plain"}
        await process.parts.workshop.sweeping.note({"handler:plain"})
        assert [each.why for each in await process.il.dispatch.list()] == [None, None]
        await other.parts.wiring.ownership.end()
        assert (await process.il.dispatch.stats()).unserved == {"capability"}


async def test_what_a_queue_lost_is_put_into_it_again(world: World):
    async with world.process() as process:
        shop, store = process.parts.workshop, process.parts.store
        lost, kept = [await submitted(process, "plain") for _ in range(2)]
        jobs = {each.run_id: each.job for each in await list_due(process)}
        await store.write(lambda tx: shop.queue.withdraw(tx, [lost]))
        assert await shop.sweeping.sweep() == 0  # it may be with a worker still
        world.advance(11)
        assert await store.read(lambda tx: shop.queue.find_missing(tx, [*jobs.values()])) == [jobs[lost]]
        assert await shop.sweeping.sweep() == 1
        assert list(await store.read(lambda tx: shop.queue.find_missing(tx, [*jobs.values()]))) == []
        assert await shop.sweeping.sweep() == 0
        assert kept in jobs


async def test_a_sweep_takes_in_a_page_at_a_time(file_world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("interlock.dispatch.sweeping.PAGE", 3)
    async with file_world.process() as process:
        shop = process.parts.workshop
        lost = [await submitted(process, "plain") for _ in range(10)]
        await process.parts.store.write(lambda tx: shop.queue.withdraw(tx, lost))
        file_world.advance(11)
        assert await shop.sweeping.sweep() == 10
