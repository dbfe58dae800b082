"""The disk fills up under a worker: what was submitted is done once there is room again."""

import anyio
import pytest
from sqlalchemy import text

from fix_app import World
from fix_dispatch import list_due, submitted, work, worker
from interlock import dispatch, runs
from interlock.adapters import sql
from interlock.app import Interlock, Settings
from interlock.dispatch import handling
from interlock.kernel import JSON

MANY = 12
ROOM = 40
"""Pages that the store may grow by: enough to begin all of the work, and to keep what comes of two or three pieces."""


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
        file_world.advance(60)
        assert await work(process, dispatch.handler("large")(_small)) == 1
        assert (await process.il.runs.fetch(run_id)).state is runs.State.COMPLETED


async def _small(event: dispatch.Event, context: dispatch.Context) -> JSON:
    return "x"
