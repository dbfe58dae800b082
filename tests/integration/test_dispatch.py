"""Work that is done later: admitted with its job, done by a worker, tried again, given up."""

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from fix_app import LEASE, World, shown
from fix_dispatch import find_due, list_due, submitted, work, worker
from fix_store import outcomes
from interlock import dispatch, policy, runs, testing
from interlock.adapters.sql.errors import RowRefused
from interlock.app import Interlock, Settings
from interlock.kernel import JSON, Caller, ProviderError, Retry, StoreError, Tx

pytestmark = pytest.mark.anyio

WORK = dispatch.Work(handler="incident", payload={"signal": {"type": "issue", "data": {"n": 1}}})


@dispatch.handler("incident")
async def incident(event: dispatch.Event, context: dispatch.Context) -> JSON:
    return {"type": event.signal.get("type"), "attempt": context.attempt}


class Handler:
    """A handler that fails as often as it is told to."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0

        @dispatch.handler("incident")
        async def called(event: dispatch.Event, context: dispatch.Context) -> JSON:
            self.calls += 1
            if self.failures:
                raise self.failures.pop(0)
            return {"attempt": context.attempt}

        self.function = called


async def test_work_is_admitted_with_its_job_and_done_by_a_worker(world: World):
    async with world.process() as process:
        run_id = await submitted(process, payload=dict(WORK.payload))
        assert await work(process, incident) == 1
        outcome = await process.il.dispatch.wait(run_id)
        assert (outcome.state, outcome.output) == (runs.State.COMPLETED, {"type": "issue", "attempt": 1})
        assert await process.events(run_id) == [
            "run.accepted", "policy.decided", "run.queued", "attempt.started", "artifact.recorded", "attempt.ended",
            "run.completed",
        ]  # fmt: skip
        run = await process.il.runs.fetch(run_id)
        assert (run.kind, run.capability, run.fence) == (runs.Kind.HANDLER, "handler.incident", 2)
        assert await find_due(process, run_id) is None


async def test_nothing_is_left_of_work_whose_transaction_was_given_up(world: World):
    async with world.process() as process:
        parts = process.parts

        def write(tx: Tx) -> None:
            parts.workshop.intake.admit_in(tx, process.il.caller, WORK)
            raise LookupError("not now")

        with pytest.raises(LookupError):
            await parts.store.write(write)
        assert await process.states() == []
        assert await list_due(process) == []


async def test_a_key_that_is_known_tells_of_the_same_run(world: World):
    async with world.process() as process:
        run_id = await submitted(process, idempotency_key="delivery-1")
        again = await process.il.dispatch.submit("incident", {}, idempotency_key="delivery-1")
        assert (again.run_id, again.replayed) == (run_id, True)
        with pytest.raises(runs.IdempotencyConflict, match="another input"):
            await process.il.dispatch.submit("incident", {"other": 1}, idempotency_key="delivery-1")
        assert await work(process, incident) == 1


class PutBack(testing.ManualClock):
    """A clock that whoever sleeps finds put back by an hour."""

    looks = 0

    def now(self) -> datetime:
        return super().now() - timedelta(hours=self.looks)

    async def sleep(self, seconds: float) -> None:
        self.looks += 1
        if self.looks > 100:
            raise AssertionError("it is waited for longer than it was asked to")
        await super().sleep(seconds)


async def test_who_waits_does_not_wait_longer_when_the_clock_is_put_back(file_world: World):
    file_world.clock = PutBack()
    async with file_world.process() as process:
        run_id = await submitted(process)
        waited = await process.il.dispatch.wait(run_id, timeout=1)
        assert waited.state is runs.State.QUEUED
        assert 1 <= file_world.clock.monotonic() < 2


async def test_it_waits_for_its_moment(file_world: World):
    async with file_world.process() as process:
        due_at = file_world.clock.now() + timedelta(hours=1)
        run_id = await submitted(process, due_at=due_at)
        assert await work(process, incident) == 0
        waited = await process.il.dispatch.wait(run_id, timeout=0)
        assert waited.state is runs.State.QUEUED
        file_world.advance(3600)
        assert await work(process, incident) == 1


async def test_a_handler_that_fails_is_tried_again_until_it_works(file_world: World):
    handler = Handler(ValueError("no"), ProviderError("down"))
    async with file_world.process() as process:
        run_id = await submitted(process)
        for _ in range(3):
            await work(process, handler.function)
            file_world.advance(10)
        outcome = await process.il.dispatch.wait(run_id)
        assert (outcome.state, outcome.output) == (runs.State.COMPLETED, {"attempt": 3})
        history = await process.il.runs.history(run_id)
        assert [each.state.value for each in history.attempts] == ["failed", "failed", "completed"]
        first: Any = history.attempts[0].error
        assert (first["code"], first["details"]["exception"]) == ("handler_raised", "ValueError")
        assert first["details"]["at"][-1].endswith("in called")


async def test_what_is_tried_too_often_is_a_dead_letter(file_world: World):
    handler = Handler(*[ValueError("no")] * 9)
    async with file_world.process() as process:
        run_id = await submitted(process, retry=dispatch.RetryPolicy(max_attempts=2))
        for _ in range(5):
            await work(process, handler.function)
            file_world.advance(1000)
        run, due = await process.il.runs.fetch(run_id), await find_due(process, run_id)
        assert (run.state, run.reason, handler.calls) == (runs.State.DEAD, "exhausted", 2)
        assert due is not None
        assert (due.standing, due.why, due.tries) == (dispatch.Standing.DEAD, "exhausted", 2)
        with pytest.raises(runs.RunFailed, match="ValueError: no"):
            await process.il.dispatch.wait(run_id)


async def test_what_a_handler_rejects_is_a_dead_letter_at_once(file_world: World):
    handler = Handler(dispatch.Reject("there is no such service"))
    async with file_world.process() as process:
        run_id = await submitted(process)
        await work(process, handler.function)
        run = await process.il.runs.fetch(run_id)
        assert (run.state, run.reason, handler.calls) == (runs.State.DEAD, "event_rejected", 1)


@pytest.mark.parametrize("rubbish", [object(), {1: 2}, float("nan"), "\ud800", b"bytes"])
async def test_what_is_no_json_is_a_dead_letter(file_world: World, rubbish: Any):
    @dispatch.handler("incident")
    async def told(event: dispatch.Event, context: dispatch.Context) -> JSON:
        return rubbish

    async with file_world.process() as process:
        run_id = await submitted(process)
        await work(process, told)
        assert (await process.il.runs.fetch(run_id)).reason == "handler_output_invalid"


async def test_a_handler_that_hangs_is_cut_off(file_world: World):
    @dispatch.handler("incident", timeout=0.01)
    async def hanging(event: dispatch.Event, context: dispatch.Context) -> None:
        await anyio.sleep_forever()

    async with file_world.process() as process:
        run_id = await submitted(process, retry=dispatch.RetryPolicy(max_attempts=1))
        await work(process, hanging)
        error: Any = (await process.il.runs.fetch(run_id)).error
        assert error["code"] == "handler_timed_out"


@pytest.mark.parametrize("ends", ["time", "cancel", "worker"])
async def test_a_handler_that_swallows_its_end_gives_its_place_up_and_does_nothing_more(file_world: World, ends: str):
    begun, rounds, asked = anyio.Event(), 0, 0

    @dispatch.handler("incident", timeout=0.01 if ends == "time" else 60, grace=0.01)
    async def stubborn(event: dispatch.Event, context: dispatch.Context) -> None:
        nonlocal rounds, asked
        while True:
            rounds += 1
            begun.set()
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                with anyio.CancelScope(shield=True), suppress(runs.RunCancelled):
                    await context.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, step="issue")
                    asked += 1

    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = await submitted(process, retry=dispatch.RetryPolicy(max_attempts=1))
        [due] = await list_due(process)
        carried = worker(process, stubborn)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                if ends == "cancel":
                    group.start_soon(carried.run)
                else:
                    group.start_soon(carried.handle, due.job)
                await begun.wait()
                if ends == "cancel":
                    await process.il.runs.cancel(run_id)
                    while (await process.il.runs.fetch(run_id)).state is runs.State.RUNNING:
                        await anyio.lowlevel.checkpoint()
                if ends != "time":
                    group.cancel_scope.cancel()
        before = rounds, asked
        await anyio.sleep(0.05)
        assert (rounds, asked) == before
        assert file_world.server.effects("issues/create") == (1 if asked else 0)
        run: Any = await process.il.runs.fetch(run_id)
        assert (run.state.value, run.error["code"]) == {
            "time": ("dead", "handler_timed_out"),
            "cancel": ("cancelled", "run_cancelled"),
            "worker": ("retry_scheduled", "worker_stopped"),
        }[ends]


async def test_a_handler_on_a_thread_that_hangs_is_left_behind_and_asks_for_nothing_more(file_world: World):
    left, refused = threading.Event(), threading.Event()

    @dispatch.handler("incident", timeout=0.5)
    def hanging(event: dispatch.Event, context: dispatch.BlockingContext) -> None:
        while not context.cancelled:
            left.wait(0.005)
        try:
            context.invoke("acme.account.fetch", step="late")
        except runs.RunCancelled:
            refused.set()

    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = await submitted(process, retry=dispatch.RetryPolicy(max_attempts=1))
        await work(process, hanging)
        error: Any = (await process.il.runs.fetch(run_id)).error
        assert error["code"] == "handler_timed_out"
        assert await anyio.to_thread.run_sync(refused.wait, 60)


async def test_a_late_or_doubled_hand_over_changes_nothing(world: World):
    handler = Handler(ValueError("no"))
    async with world.process() as process:
        run_id = await submitted(process)
        [first] = await list_due(process)
        carried = worker(process, handler.function)
        await carried.handle(first.job)
        await carried.handle(first.job)
        assert handler.calls == 1
        world.advance(10)
        [second] = await list_due(process)
        async with anyio.create_task_group() as both:
            for _ in range(3):
                both.start_soon(carried.handle, second.job)
        await carried.handle(first.job)
        assert handler.calls == 2
        assert (await process.il.runs.fetch(run_id)).state is runs.State.COMPLETED
        await carried.handle(second.job)
        assert handler.calls == 2


async def test_of_many_that_put_off_what_they_read_one_does(world: World):
    async with world.process() as process:
        run_id = await submitted(process)
        [read] = await list_due(process)
        docket, store, at = process.parts.workshop.docket, process.parts.store, world.clock.now()
        tried = [
            store.write(lambda tx: docket.again(tx, read, due_at=at, why="later", if_still=True)) for _ in range(8)
        ]
        assert sorted(await outcomes(tried), key=str) == [False] * 7 + [True]
        due = await find_due(process, run_id)
        assert due is not None
        await store.write(lambda tx: docket.park(tx, due, why="held"))
        assert not await store.write(lambda tx: docket.again(tx, due, due_at=at, why="later", if_still=True))
        assert await find_due(process, run_id) == replace(due, standing=dispatch.Standing.PARKED, why="held")


async def test_a_worker_that_is_stopped_hands_its_work_on(file_world: World):
    begun = anyio.Event()

    @dispatch.handler("incident")
    async def slow(event: dispatch.Event, context: dispatch.Context) -> JSON:
        begun.set()
        await anyio.sleep_forever()

    async with file_world.process() as process:
        run_id = await submitted(process)
        [due] = await list_due(process)
        async with anyio.create_task_group() as group:
            group.start_soon(worker(process, slow).handle, due.job)
            await begun.wait()
            group.cancel_scope.cancel()
        stopped = await find_due(process, run_id)
        assert stopped is not None
        assert (stopped.number, stopped.tries, stopped.crashes, stopped.why) == (2, 0, 0, "worker_stopped")
        assert await work(process, incident) == 1
        assert shown(await process.il.dispatch.wait(run_id))["attempt"] == 2


async def test_work_that_nobody_came_to_in_time_is_a_dead_letter(file_world: World):
    async with file_world.process() as process:
        run_id = await submitted(process, deadline_at=file_world.clock.now() + timedelta(minutes=1))
        file_world.advance(60)
        await work(process, incident)
        run = await process.il.runs.fetch(run_id)
        assert (run.state, run.reason, run.attempt_count) == (runs.State.DEAD, "deadline_passed", 0)


@pytest.mark.parametrize(
    ("then", "capability", "state"),
    [
        (policy.Effect.DENY, "handler.incident", "denied"),
        (policy.Effect.ASK, "handler.*", "denied"),
        (policy.Effect.SHED, "handler.incident", "shed"),
        (policy.Effect.DENY, "*", "queued"),
        (policy.Effect.DENY, "handler.other", "queued"),
    ],
)
async def test_only_rules_that_name_a_handler_keep_it_from_its_work(
    file_world: World, then: policy.Effect, capability: str, state: str
):
    file_world.law = policy.Policy(rules=(policy.Rule(rule_id="rule", then=then, capability=(capability,)),))
    async with file_world.process() as process:
        outcome = await process.il.dispatch.submit("incident", {})
        assert outcome.state.value == state
        assert len(await list_due(process)) == (state == "queued")


@pytest.mark.parametrize("default", [policy.Effect.DENY, policy.Effect.ASK, policy.Effect.ALLOW])
async def test_why_a_handler_may_work_is_told_truly(file_world: World, default: policy.Effect):
    named = policy.Rule(rule_id="named", then=policy.Effect.ALLOW, capability=("handler.named",))
    other = policy.Rule(rule_id="other", then=policy.Effect.DENY, capability=("handler.other", "acme.*"))
    file_world.law = policy.Policy(rules=(named, other), default=default)
    async with file_world.process() as process:
        for handler, reason in (("incident", "default"), ("named", "named")):
            run_id = (await process.il.dispatch.submit(handler, {})).run_id
            [decided] = (await process.il.runs.history(run_id)).decisions
            [told] = cast("list[Any]", decided.reasons)
            assert (told["rule_id"], told["effect"]) == (reason, "allow")
            assert "the default is allow" not in told["text"]
        assert "handler.named" in told["text"]


async def test_another_tenants_work_is_not_there(file_world: World):
    async with file_world.process() as process:
        run_id = await submitted(process)
        other = process.il.as_caller(Caller(tenant_id="other", actor="eve"))
        with pytest.raises(runs.RunNotFound):
            await other.dispatch.wait(run_id)


async def test_work_that_is_cancelled_before_it_began_is_not_done(file_world: World):
    handler = Handler()
    async with file_world.process() as process:
        run_id = await submitted(process)
        [due] = await list_due(process)
        await process.il.runs.cancel(run_id)
        await worker(process, handler.function).handle(due.job)
        assert handler.calls == 0
        assert await find_due(process, run_id) is None
        with pytest.raises(runs.RunCancelled):
            await process.il.dispatch.wait(run_id)


async def test_a_worker_works_until_it_is_stopped_and_what_is_begun_ends(
    root_key: None, store_url: str, tmp_path: Path
):
    begun, go_on = anyio.Event(), anyio.Event()

    @dispatch.handler("slow")
    async def slow(event: dispatch.Event, context: dispatch.Context) -> JSON:
        begun.set()
        await go_on.wait()
        return "done"

    settings = Settings(store=store_url, folder=tmp_path, blobs=str(tmp_path / "blobs"))
    async with Interlock.open(settings=settings) as il, anyio.create_task_group() as group:
        group.start_soon(il.worker(incident, slow).run)
        first = await il.dispatch.submit("incident", {})
        assert shown(await il.dispatch.wait(first.run_id))["attempt"] == 1
        second = await il.dispatch.submit("slow", {})
        await begun.wait()
        group.cancel_scope.cancel()
        go_on.set()
        with anyio.CancelScope(shield=True):
            assert (await il.dispatch.wait(second.run_id)).output == "done"


# -- what a handler asks for


@dispatch.handler("incident")
async def files_an_issue(event: dispatch.Event, context: dispatch.Context) -> JSON:
    made = await context.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, step="issue")
    if context.attempt < 3:
        raise ValueError("after the effect")
    return shown(made)["number"]


async def test_an_effect_is_done_once_however_often_the_handler_runs(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = await submitted(process)
        for _ in range(3):
            await work(process, files_an_issue)
            file_world.advance(10)
        assert (await process.il.dispatch.wait(run_id)).output == 1
        assert file_world.server.effects("issues/create") == 1
        [child] = await process.il.runs.list(parent_run_id=run_id)
        assert (child.trace_id, child.state) == (run_id, runs.State.COMPLETED)


async def test_a_step_that_failed_with_nothing_done_is_tried_anew(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("status:422", match="issues/create", apply=False)
        run_id = await submitted(process)

        @dispatch.handler("incident")
        async def stubborn(event: dispatch.Event, context: dispatch.Context) -> JSON:
            try:
                made = await context.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, step="issue")
            except ProviderError as error:
                raise ValueError("again") from error
            return shown(made)["number"]

        for _ in range(2):
            await work(process, stubborn)
            file_world.advance(10)
        assert (await process.il.dispatch.wait(run_id)).output == 1
        states = [each.state.value for each in await process.il.runs.list(parent_run_id=run_id)]
        assert sorted(states) == ["completed", "failed"]
        assert file_world.server.effects("issues/create") == 1


async def test_a_handler_on_a_thread_asks_for_effects_too(file_world: World):
    @dispatch.handler("incident")
    def files(event: dispatch.Event, context: dispatch.BlockingContext) -> JSON:
        made = context.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, step="issue")
        return shown(made)["number"]

    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = await submitted(process)
        await work(process, files)
        assert (await process.il.dispatch.wait(run_id)).output == 1


# -- lost with the process


async def test_an_attempt_that_was_lost_with_its_process_is_followed_by_another(world: World):
    begun = anyio.Event()

    @dispatch.handler("incident")
    async def dying(event: dispatch.Event, context: dispatch.Context) -> JSON:
        await context.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, step="issue")
        begun.set()
        await anyio.sleep_forever()

    async with world.process() as process:
        await process.connect(world.server.url)
        run_id = await submitted(process)
    for crash in range(3):
        async with world.doomed() as victim:
            [due] = await list_due(victim)
            begun = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(worker(victim, dying).handle, due.job)
                await begun.wait()
                victim.parts.store.close()
                group.cancel_scope.cancel()
        world.advance(LEASE + 1)
        async with world.process() as process:
            await process.il.runs.recover()
            found = await find_due(process, run_id)
            assert found is not None
            assert (found.crashes, found.tries) == (crash + 1, 0)
            if crash == 1:
                assert found.number == 3
    async with world.process() as process:
        run = await process.il.runs.fetch(run_id)
        assert (run.state, run.reason, run.attempt_count) == (runs.State.DEAD, "poison", 3)
        assert world.server.effects("issues/create") == 1
        attempts = (await process.il.runs.history(run_id)).attempts
        assert [each.state.value for each in attempts] == ["lost", "lost", "lost"]


@pytest.mark.parametrize(("failed_after", "crashes", "why"), [(5, 1, "attempt_lost"), (15, 0, "store_failed")])
async def test_only_a_store_that_failed_since_an_owner_was_heard_explains_its_death(
    file_world: World, failed_after: int, crashes: int, why: str
):
    @dispatch.handler("incident")
    async def dying(event: dispatch.Event, context: dispatch.Context) -> JSON:
        for second in range(30):
            file_world.advance(1)
            if second == 10:
                await victim.beat()
            if second == failed_after:
                watcher.parts.wiring.ownership.note_failure()
            await watcher.sweep()
        begun.set()
        await anyio.sleep_forever()

    begun = anyio.Event()
    async with file_world.process() as watcher:
        run_id = await submitted(watcher)
        async with file_world.doomed() as victim, anyio.create_task_group() as group:
            [due] = await list_due(victim)
            group.start_soon(worker(victim, dying).handle, due.job)
            await begun.wait()
            victim.parts.store.close()
            group.cancel_scope.cancel()
        file_world.advance(LEASE + 1)
        await watcher.sweep()
        found = await find_due(watcher, run_id)
        assert found is not None
        assert (found.crashes, found.tries, found.why) == (crashes, 0, why)


async def test_what_a_living_process_could_not_record_is_a_try_and_no_crash(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    @dispatch.handler("incident")
    async def works(event: dispatch.Event, context: dispatch.Context) -> JSON:
        return 1

    async def refused(*_: Any, **__: Any) -> None:
        raise RowRefused("the row was refused")

    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        run_id = await submitted(process, retry=dispatch.RetryPolicy(max_attempts=4, base_seconds=1, cap_seconds=1))
        with monkeypatch.context() as broken:
            broken.setattr(runs.Tasks, "end", refused)
            for tries in range(1, 4):
                await work(process, works)
                await process.il.runs.recover()
                found = await find_due(process, run_id)
                assert found is not None
                assert (found.crashes, found.tries, found.standing) == (0, tries, dispatch.Standing.DUE)
                file_world.advance(2)
                await process.parts.wiring.ownership.renew()
        await work(process, works)
        assert (await process.il.dispatch.wait(run_id)).output == 1


async def test_a_store_that_fails_before_the_handler_is_called_takes_no_try(file_world: World):
    async def away(tenant_id: str, payload: Mapping[str, JSON]) -> Mapping[str, JSON]:
        raise StoreError("the store is away", retry=Retry.LATER)

    async with file_world.process() as process:
        run_id = await submitted(process, retry=dispatch.RetryPolicy(max_attempts=1))
        [due] = await list_due(process)
        wiring = process.parts.wiring
        assert wiring.actions.doors is not None
        handlers = dispatch.Handlers([incident])
        await process.parts.workshop.worker(wiring, wiring.actions.doors, handlers, unpack=away).handle(due.job)
        found = await find_due(process, run_id)
        assert found is not None
        assert (found.standing, found.why, found.tries) == (dispatch.Standing.DUE, "store_failed", 0)


async def test_a_worker_that_wakes_up_late_changes_nothing_and_asks_for_nothing(file_world: World):
    begun, go_on, told = anyio.Event(), anyio.Event(), anyio.Event()

    @dispatch.handler("incident")
    async def frozen(event: dispatch.Event, context: dispatch.Context) -> JSON:
        begun.set()
        await go_on.wait()
        try:
            await context.invoke("acme.issue.create", {"repo": "acme/rocket", "title": "Door"}, step="issue")
        except runs.OwnershipLapsed:
            told.set()
        return "late"

    async with file_world.process() as process, file_world.process() as other:
        await process.connect(file_world.server.url)
        run_id = await submitted(process)
        [due] = await list_due(process)
        async with anyio.create_task_group() as group:
            group.start_soon(worker(process, frozen).handle, due.job)
            await begun.wait()
            await other.sweep()
            file_world.advance(LEASE + 1)
            await other.sweep()
            assert await work(other, incident) == 1
            go_on.set()
        assert told.is_set()
        assert shown(await other.il.dispatch.wait(run_id))["attempt"] == 2
        assert file_world.server.effects("issues/create") == 0
