"""Writes whose answer does not arrive: settled by reading, repeated only when they are proven not to have happened."""

import logging

import anyio
import pytest

from fix_app import Issue, IssueCreate, Process, World, connector, run_of, shown
from interlock import plane, runs, sdk
from interlock.kernel import PROGRESS, Retry, UnknownOutcome

pytestmark = [pytest.mark.anyio, pytest.mark.faults]


@pytest.mark.parametrize("fault", ["cut_answer", "cut_before", "reset"])
async def test_a_write_that_happened_is_found_and_not_repeated(world: World, fault: str):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault(fault, match="issues/create")
        outcome = await process.create()
        assert outcome.state is runs.State.COMPLETED
        assert shown(outcome)["title"] == "Door"
        assert world.server.effects("issues/create") == 1
        assert len(world.server.requests("issues/create")) == 1
        history = await process.last()
        assert len(history.attempts) == 1
        assert [send.purpose.value for send in history.sends] == ["effect", "reconcile"]
        events = await process.events(outcome.run_id)
        assert "reconcile.started" in events
        assert "reconcile.concluded" in events


async def test_an_answer_that_cannot_be_read_is_read_at_the_service(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("garbage", match="issues/create")
        outcome = await process.create()
        assert (outcome.state, world.server.effects("issues/create")) == (runs.State.COMPLETED, 1)
        assert len((await process.last()).attempts) == 1


async def test_an_answer_that_cannot_be_read_anywhere_says_that_the_write_happened(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("garbage", match="issues/create")
        world.server.fault("status:403", match="issues/list-for-repo", times=5)
        with pytest.raises(sdk.UnexpectedAnswer) as raised:
            await process.create()
        assert raised.value.effect == "happened"
        assert world.server.effects("issues/create") == 1
        history = await process.last()
        assert (history.run.state, len(history.attempts)) == (runs.State.FAILED, 1)


@pytest.mark.parametrize("fault", ["cut_before", "reset", "status:503"])
async def test_a_write_that_did_not_happen_is_tried_again(world: World, fault: str):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault(fault, match="issues/create", apply=False)
        outcome = await process.create()
        assert outcome.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1
        assert len((await process.last()).attempts) == 2


async def test_an_effect_that_shows_late_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """It is not there when it is first looked for; absence counts only after the time that it may take."""
    caplog.set_level("INFO", PROGRESS)
    sleep, waits = world.clock.sleep, list[float]()

    async def meanwhile(seconds: float) -> None:
        waits.append(seconds)
        await anyio.to_thread.run_sync(world.server.wait_held)
        world.server.release()
        await sleep(seconds)

    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("late", match="issues/create")
        monkeypatch.setattr(world.clock, "sleep", meanwhile)
        outcome = await process.create()
        monkeypatch.undo()
        assert (outcome.state, waits) == (runs.State.COMPLETED, [30.0])
        told = [record.getMessage() for record in caplog.records if record.name == PROGRESS]
        assert [each.split(": ")[0] for each in told] == ["acme.issue.create"] * 2
        assert "reading the service" in told[0]
        assert "30 s" in told[1]
        assert world.server.effects("issues/create") == 1
        assert len(world.server.requests("issues/create")) == 1


async def test_a_post_that_is_declared_to_be_a_read_is_no_write_in_doubt(file_world: World):
    search = sdk.post(
        "issue.search",
        "/repos/{repo}/issues",
        effect="read",
        safe=True,
        idempotency="natural",
        input=IssueCreate,
        output=Issue,
        scopes=["repo"],
    )
    value = {"repo": "acme/rocket", "title": "Door"}
    file_world.manifest = connector(operations=[search])
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("cut_answer", match="issues/create", apply=False)
        await process.il.invoke("acme.issue.search", value)
        assert len((await process.last()).attempts) == 2
    await file_world.killed("hold_before", lambda process: process.il.invoke("acme.issue.search", value))
    async with file_world.process() as process:
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED


async def test_a_server_error_after_the_effect_is_no_reason_to_repeat(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("status:500", match="issues/create", apply=True)
        assert (await process.create()).state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def unclear(world: World, process: Process) -> UnknownOutcome:
    """A comment has no way to be found again."""
    world.server.add_issues("acme/rocket", 1)
    world.server.fault("cut_before", match="issues/create-comment")
    with pytest.raises(UnknownOutcome) as raised:
        await process.il.invoke("acme.comment.create", {"repo": "acme/rocket", "issue_number": 1, "body": "Hm."})
    return raised.value


async def test_without_a_way_to_read_a_person_is_asked_and_may_give_up(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        error = await unclear(world, process)
        history = await process.last()
        assert error.run_id == history.run.run_id
        assert history.run.state is runs.State.WAITING
        assert world.server.effects("issues/create-comment") == 1
        with pytest.raises(UnknownOutcome) as told:
            await process.il.runs.outcome(history.run.run_id)
        assert told.value.message == error.message
        run = await process.il.runs.cancel(history.run.run_id, reason="it does not matter any more")
        assert (run.state, run.reason, run.error) == (runs.State.CANCELLED, "given_up", history.run.error)
        with pytest.raises(runs.GivenUp, match="nobody knows whether it happened") as given_up:
            await process.il.runs.outcome(run.run_id)
        assert given_up.value.details["effect"] == "unknown"
        assert "under a new idempotency key" in given_up.value.next_step.replace("\n", " ")
        with pytest.raises(runs.NotCancellable):
            await process.il.runs.cancel(run.run_id)


async def test_several_candidates_are_unclear(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        await process.create()
        await process.create()
        world.server.fault("cut_before", match="issues/create", apply=False)
        with pytest.raises(UnknownOutcome):
            await process.create()
        assert world.server.effects("issues/create") == 2


@pytest.mark.parametrize(
    ("seen", "state"),
    [(runs.Seen.HAPPENED, runs.State.COMPLETED), (runs.Seen.NOT_HAPPENED, runs.State.FAILED)],
)
async def test_a_person_settles(world: World, seen: runs.Seen, state: runs.State):
    async with world.process() as process:
        await process.connect(world.server.url)
        error = await unclear(world, process)
        run = await process.il.runs.settle(run_of(error), seen=seen, note="looked at the page")
        assert run.state is state
        assert run.signature is not None
        with pytest.raises(runs.RunNotWaiting):
            await process.il.runs.settle(run_of(error), seen=seen)


async def test_settling_by_reading_finds_what_happened(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("cut_before", match="issues/create")
        world.server.fault("status:500", match="GET /repos/*/issues", times=6)
        with pytest.raises(UnknownOutcome) as raised:
            await process.create()
        world.server.clear_faults()
        run = await process.il.runs.settle(run_of(raised.value))
        assert run.state is runs.State.COMPLETED
        assert shown(await process.il.runs.outcome(run.run_id))["title"] == "Door"
        assert world.server.effects("issues/create") == 1


async def test_settling_by_reading_never_sends_again(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("cut_before", match="issues/create", apply=False)
        world.server.fault("status:500", match="GET /repos/*/issues", times=6)
        with pytest.raises(UnknownOutcome) as raised:
            await process.create()
        world.server.clear_faults()
        run = await process.il.runs.settle(run_of(raised.value))
        assert run.state is runs.State.FAILED
        assert world.server.effects("issues/create") == 0
        assert len(world.server.requests("issues/create")) == 1


async def test_settling_by_reading_may_stay_unclear(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        error = await unclear(world, process)
        with pytest.raises(UnknownOutcome) as raised:
            await process.il.runs.settle(run_of(error))
        assert raised.value.run_id == error.run_id
        assert (await process.last()).run.state is runs.State.WAITING


async def test_a_deadline_leaves_time_to_find_out(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("hang", match="issues/create")
        outcome = await process.create(timeout=3)
        assert outcome.state is runs.State.COMPLETED
        assert world.server.effects("issues/create") == 1


async def test_a_read_beyond_its_deadline_fails(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("hang", match="GET /repos/*/issues")
        with pytest.raises(runs.DeadlinePassed) as raised:
            await process.il.invoke("acme.issue.list", {"repo": "acme/rocket"}, timeout=0.4, max_attempts=1)
        assert raised.value.run_id is not None
        assert (await process.last()).run.state is runs.State.FAILED


@pytest.mark.parametrize("native", [False, True], ids=["scope", "task"])
@pytest.mark.parametrize(
    ("capability", "match", "state"),
    [
        ("acme.issue.create", "issues/create", runs.State.WAITING),
        ("acme.account.fetch", "GET /user", runs.State.CANCELLED),
    ],
)
async def test_a_caller_that_goes_away(
    world: World, caplog: pytest.LogCaptureFixture, capability: str, match: str, state: runs.State, native: bool
):
    import asyncio

    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("hold", match=match)
        value = {"repo": "acme/rocket", "title": "Door"} if capability.endswith("create") else {}
        if native:
            task = asyncio.ensure_future(process.il.invoke(capability, value))  # noqa: TID251 - as foreign callers do
            await anyio.to_thread.run_sync(world.server.wait_held)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(process.il.invoke, capability, value)
                await anyio.to_thread.run_sync(world.server.wait_held)
                group.cancel_scope.cancel()
        world.server.release()
        run = (await process.last()).run
        assert run.state is state
        assert run.reason == "caller_gone"
        told = f"{capability} of run {run.run_id} had left"
        assert (told in caplog.text) is (state is runs.State.WAITING)
        if state is runs.State.WAITING:
            assert (await process.il.runs.settle(run.run_id)).state is runs.State.COMPLETED
            assert world.server.effects("issues/create") == 1


async def test_an_answer_that_has_arrived_is_kept_although_the_caller_is_gone(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    """The outcome is saved under a shield."""
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        ledger = process.parts.wiring.ledger
        apply = ledger.apply
        scope = anyio.CancelScope()

        async def cancel_first(change: runs.Change) -> None:
            scope.cancel()
            await apply(change)

        monkeypatch.setattr(ledger, "apply", cancel_first)
        with scope:
            await process.create()
        assert (await process.last()).run.state is runs.State.COMPLETED


async def test_a_caller_that_is_cancelled_as_the_end_is_committed_leaves_nothing_to_recovery(
    file_world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """No shield holds off the cancellation of a foreign loop's task, and the commit is not undone by it."""
    import asyncio

    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        ledger = process.parts.wiring.ledger
        apply = ledger.apply

        async def cancel_after(change: runs.Change) -> None:
            await apply(change)
            if change.after.state is runs.State.COMPLETED:
                task.cancel()
                await anyio.lowlevel.checkpoint()

        monkeypatch.setattr(ledger, "apply", cancel_after)
        task = asyncio.ensure_future(process.create())  # noqa: TID251 - as foreign callers do
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await process.last()).run.state is runs.State.COMPLETED
        assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []
        assert list(await process.il.runs.recover()) == []


async def test_an_output_is_kept_although_the_caller_goes_while_it_is_put_away(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    async with file_world.process(execution={"inline_bytes": 1}) as process:
        await process.connect(file_world.server.url)
        blobs = process.parts.wiring.blobs
        put, scope = blobs.put, anyio.CancelScope()

        async def cancel_first(key: str, content: bytes) -> None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            await put(key, content)

        monkeypatch.setattr(blobs, "put", cancel_first)
        with scope:
            await process.create()
        run = (await process.last()).run
        assert run.state is runs.State.COMPLETED
        assert shown(await process.il.runs.outcome(run.run_id))["title"] == "Door"


async def test_a_cancel_request_stops_the_next_send(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("hold", match="GET /repos/*/issues", times=1)
        file_world.server.add_issues("acme/rocket", 4)
        failure: list[Exception] = []

        async def call() -> None:
            try:
                await process.il.invoke("acme.issue.list", {"repo": "acme/rocket", "per_page": 1, "max_pages": 4})
            except runs.RunCancelled as error:
                failure.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.to_thread.run_sync(file_world.server.wait_held)
            await process.il.runs.cancel((await process.last()).run.run_id, reason="enough")
            file_world.server.release()
        assert failure
        history = await process.last()
        assert history.run.state is runs.State.CANCELLED
        assert [send.delivery.value for send in history.sends] == ["responded", "not_sent"]


@pytest.mark.parametrize("applied", [True, False])
async def test_a_cancel_request_does_not_stop_the_read_that_settles(
    file_world: World, monkeypatch: pytest.MonkeyPatch, applied: bool
):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("cut_answer", match="issues/create", apply=applied)
        ledger = process.parts.wiring.ledger
        apply, asked = ledger.apply, False

        async def cancel_first(change: runs.Change) -> None:
            nonlocal asked
            if not asked:
                asked = True
                await process.il.runs.cancel(change.before.run_id, reason="enough")
            await apply(change)

        monkeypatch.setattr(ledger, "apply", cancel_first)
        if applied:
            await process.create()
        else:
            with pytest.raises(plane.EffectFailed):
                await process.create()
        history = await process.last()
        assert history.run.state is (runs.State.COMPLETED if applied else runs.State.FAILED)
        assert {send.purpose.value for send in history.sends[1:]} == {"reconcile"}
        assert len(file_world.server.requests("issues/create")) == 1


async def test_a_frozen_process_does_not_send(file_world: World, monkeypatch: pytest.MonkeyPatch):
    """Between the commit of the intent and its departure the process is frozen for longer than its lease."""
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        ledger = process.parts.wiring.ledger
        admit = ledger.admit

        async def freeze(admission: runs.Admission) -> runs.Admitted:
            admitted = await admit(admission)
            file_world.advance(400)
            return admitted

        monkeypatch.setattr(ledger, "admit", freeze)
        with pytest.raises(runs.OwnershipLapsed) as raised:
            await process.create(timeout=3600)
        monkeypatch.undo()
        assert raised.value.run_id is not None
        assert raised.value.retry is Retry.NEVER, "recovery goes on with it"
        assert file_world.server.requests("issues/create") == []
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert file_world.server.effects("issues/create") == 1


async def test_a_send_whose_turn_never_came_is_told_as_not_sent(file_world: World, monkeypatch: pytest.MonkeyPatch):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        ledger = process.parts.wiring.ledger
        admit = ledger.admit

        async def take_long(admission: runs.Admission) -> runs.Admitted:
            admitted = await admit(admission)
            file_world.advance(30)
            return admitted

        monkeypatch.setattr(ledger, "admit", take_long)
        with pytest.raises(runs.DeadlinePassed):
            await process.create(timeout=20)
        history = await process.last()
        assert [send.delivery.value for send in history.sends] == ["not_sent"]
        assert history.run.state is runs.State.FAILED


async def test_a_service_that_asks_to_wait_before_reading_back(file_world: World):
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        file_world.server.fault("cut_before", match="issues/create")
        file_world.server.fault("secondary_limit", match="GET /repos/*/issues", retry_after=1)
        assert (await process.create()).state is runs.State.COMPLETED
        file_world.server.fault("cut_before", match="issues/create")
        file_world.server.fault("secondary_limit", match="GET /repos/*/issues", retry_after=600)
        with pytest.raises(UnknownOutcome) as raised:
            await process.create(title="Window")
        assert raised.value.details["cause"] is not None
        assert not isinstance(raised.value, sdk.OperationFailed)


async def test_an_absurd_pause_ends_the_call_and_not_the_process(world: World):
    async with world.process() as process:
        await process.connect(world.server.url)
        world.server.fault("secondary_limit", match="issues/create", retry_after=10**15)
        with pytest.raises(sdk.RateLimited):
            await process.create()
        assert (await process.last()).run.state is runs.State.FAILED
