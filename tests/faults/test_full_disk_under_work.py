"""The disk fills up under a worker: what was submitted is done once there is room again."""

from contextlib import suppress

import anyio
import pytest
from sqlalchemy import text

from fix_app import LEASE, World, shown
from fix_dispatch import find_due, list_due, submitted, work, worker
from interlock import dispatch, runs
from interlock.adapters import sql
from interlock.adapters.sql.errors import StoreFull
from interlock.app import Interlock, Settings
from interlock.dispatch import handling
from interlock.kernel import JSON

MANY = 12
ROOM = 40
"""Pages that the store may grow by: enough to begin all of the work, and to keep what comes of two or three pieces."""
ROOM_FOR_ROWS = 10
"""Pages that hold what is written of an attempt, and none of 60 KB."""

ONCE = dispatch.RetryPolicy(max_attempts=1)


async def limit(store: sql.SqlStore, more_pages: int) -> None:
    """Let the store's file grow by so many pages, and no further."""
    pages = await store.read(lambda tx: sql.connection(tx).execute(text("PRAGMA page_count")).scalar_one())
    await store.write(
        lambda tx: sql.connection(tx).exec_driver_sql(f"PRAGMA max_page_count = {pages + more_pages}") and None
    )


@pytest.mark.anyio
async def test_what_a_full_disk_keeps_from_being_written_is_done_later(root_key: None, sqlite_url: str):
    begun, full = set[JSON](), anyio.Event()

    @dispatch.handler("large")
    async def large(event: dispatch.Event, context: dispatch.Context) -> JSON:
        begun.add(event.payload["number"])
        if len(begun) == MANY:
            full.set()
        return "x" * 60_000

    async with Interlock.open(settings=Settings(store=sqlite_url)) as il:
        store = il._parts.store  # pyright: ignore[reportPrivateUsage] - the limit is this connection's
        submitted = [(await il.dispatch.submit("large", {"number": number})).run_id for number in range(MANY)]
        await limit(store, ROOM)
        async with anyio.create_task_group() as group:
            group.start_soon(il.worker(large).run)
            try:
                with anyio.fail_after(60):
                    await full.wait()
                states = [(await il.runs.fetch(run_id)).state for run_id in submitted]
                assert states.count(runs.State.COMPLETED) <= ROOM * 4096 // 60_000
            finally:
                await limit(store, 1_000_000)
            for run_id in submitted:
                outcome = await il.dispatch.wait(run_id, timeout=60)
                assert (outcome.state, outcome.output) == (runs.State.COMPLETED, "x" * 60_000)
            group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_worker_that_is_told_to_end_does_so_on_a_full_disk(
    file_world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(handling, "LAST_SECONDS", 0.1)
    tried = anyio.Event()

    @dispatch.handler("large")
    async def large(event: dispatch.Event, context: dispatch.Context) -> JSON:
        await limit(store, 0)
        tried.set()
        return "x" * 60_000

    async with file_world.process() as process:
        store = process.parts.store
        run_id = await submitted(process, "large")
        [due] = await list_due(process)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(worker(process, large).handle, due.job)
                await tried.wait()
                group.cancel_scope.cancel()
        assert "is left to recovery" in caplog.text
        await limit(store, 1_000_000)
        await process.il.runs.recover()
        assert (await process.il.runs.fetch(run_id)).state is runs.State.RETRY_SCHEDULED
        left = await find_due(process, run_id)
        assert left is not None
        assert (left.tries, left.crashes) == (0, 0), "the disk was full: that says nothing against the work"
        file_world.advance(60)
        assert await work(process, dispatch.handler("large")(_small)) == 1
        assert (await process.il.runs.fetch(run_id)).state is runs.State.COMPLETED


@pytest.mark.anyio
async def test_what_a_handler_came_to_is_kept_until_there_is_room_however_long_that_takes(file_world: World):
    @dispatch.handler("large")
    async def large(event: dispatch.Event, context: dispatch.Context) -> JSON:
        await limit(store, 0)
        return "x" * 60_000

    async with file_world.process() as process:
        store = process.parts.store
        run_id = await submitted(process, "large", retry=ONCE)
        [due] = await list_due(process)
        begun = file_world.clock.now()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(worker(process, large).handle, due.job)
                while (file_world.clock.now() - begun).total_seconds() < 3 * LEASE:
                    await anyio.lowlevel.checkpoint()
                await process.beat()  # whose hold has lapsed meanwhile
                await process.sweep()
                assert (await process.il.runs.fetch(run_id)).state is runs.State.RUNNING
                await limit(store, 1_000_000)
        run = await process.il.runs.fetch(run_id)
        assert (run.state, run.attempt_count) == (runs.State.COMPLETED, 1)


@pytest.mark.anyio
async def test_a_write_whose_outcome_a_full_disk_keeps_from_being_saved_is_read_about(file_world: World):
    """It left, so nobody sends it again; and it was no fault of the work, so its one try is still there."""
    async with file_world.process() as process:
        store = process.parts.store
        await process.connect(file_world.server.url)
        asked = {"repo": "acme/rocket", "title": "x" * 60_000}
        run_id = (await process.il.dispatch.invoke("acme.issue.create", asked, retry=ONCE)).run_id
        [due] = await list_due(process)
        async with anyio.create_task_group() as group:
            file_world.server.fault("hold", match="issues/create")
            group.start_soon(worker(process).handle, due.job)
            await anyio.to_thread.run_sync(file_world.server.wait_held)
            await limit(store, 0)
            file_world.server.release()
        assert (await process.il.runs.fetch(run_id)).state is runs.State.RUNNING
        await process.sweep()
        assert (await process.il.runs.fetch(run_id)).state is runs.State.RUNNING, "there is no room yet"
        await limit(store, 1_000_000)
        await process.il.runs.recover()
        left = await find_due(process, run_id)
        assert left is not None
        assert (left.standing, left.why, left.tries, left.crashes) == (dispatch.Standing.DUE, "store_failed", 0, 0)
        file_world.advance(60)
        await work(process)
        assert (await process.il.runs.fetch(run_id)).state is runs.State.COMPLETED
        assert file_world.server.effects("issues/create") == 1


@pytest.mark.anyio
async def test_a_service_is_asked_later_and_later_while_all_but_its_answer_fits_on_the_disk(file_world: World):
    async with file_world.process() as process:
        store = process.parts.store
        await process.connect(file_world.server.url)
        await process.create("x" * 60_000)
        asked = await process.il.dispatch.invoke("acme.issue.list", {"repo": "acme/rocket"}, retry=ONCE)
        assert asked.state is runs.State.QUEUED
        for _ in range(60):
            await limit(store, ROOM_FOR_ROWS)
            with suppress(StoreFull):
                await work(process)
            await process.sweep()
            file_world.advance(1)
        left, run = await find_due(process, asked.run_id), await process.il.runs.fetch(asked.run_id)
        assert left is not None
        assert (left.standing, left.why, left.tries, left.crashes) == (dispatch.Standing.DUE, "store_failed", 0, 0)
        assert 2 <= run.attempt_count <= 25, "of the sixty there was time for"
        await limit(store, 1_000_000)
        file_world.advance(600)
        await process.beat()
        await work(process)
        assert (await process.il.runs.fetch(asked.run_id)).state is runs.State.COMPLETED


@pytest.mark.anyio
async def test_a_handler_that_met_a_full_disk_has_its_try_back(file_world: World):
    async def asks(event: dispatch.Event, context: dispatch.Context) -> JSON:
        asked = {"repo": "acme/rocket", "title": "x" * 60_000}
        return shown(await context.invoke("acme.issue.create", asked, step="issue"))["number"]

    full = anyio.Event()

    @dispatch.handler("incident")
    async def meets(event: dispatch.Event, context: dispatch.Context) -> JSON:
        await limit(store, 0)
        try:
            return await asks(event, context)
        finally:
            full.set()

    async with file_world.process() as process:
        store = process.parts.store
        await process.connect(file_world.server.url)
        run_id = await submitted(process, retry=ONCE)
        [due] = await list_due(process)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(worker(process, meets).handle, due.job)
                await full.wait()
                await limit(store, 1_000_000)
        left = await find_due(process, run_id)
        assert left is not None
        assert (left.standing, left.why, left.tries) == (dispatch.Standing.DUE, "store_failed", 0)
        file_world.advance(60)
        assert await work(process, dispatch.handler("incident")(asks)) == 1
        assert (await process.il.runs.fetch(run_id)).state is runs.State.COMPLETED
        assert file_world.server.effects("issues/create") == 1


async def _small(event: dispatch.Event, context: dispatch.Context) -> JSON:
    return "x"
