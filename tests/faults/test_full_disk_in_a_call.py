"""The disk fills up in the middle of a call: a write that left is never told as one that may be sent again."""

import resource

import anyio
import pytest
from sqlalchemy import text

from fix_app import Process, World
from fix_cli import REPOSITORY, Shell
from interlock import runs
from interlock.adapters import sql
from interlock.app import assembly
from interlock.kernel import Retry, UnknownOutcome


@pytest.mark.anyio
async def test_an_outcome_that_cannot_be_saved_is_unknown_and_found_later(file_world: World):
    async with file_world.process() as process:
        store = process.parts.store
        await process.connect(file_world.server.url)
        caught: list[UnknownOutcome] = []

        async def call() -> None:
            with pytest.raises(UnknownOutcome) as raised:
                await process.create("x" * 60_000)
            caught.append(raised.value)

        async with anyio.create_task_group() as group:
            file_world.server.fault("hold", match="issues/create")
            group.start_soon(call)
            await anyio.to_thread.run_sync(file_world.server.wait_held)
            pages = await store.read(lambda tx: sql.connection(tx).execute(text("PRAGMA page_count")).scalar_one())
            await store.write(lambda tx: sql.connection(tx).exec_driver_sql(f"PRAGMA max_page_count = {pages}"))
            file_world.server.release()
        [error] = caught
        assert (error.code, error.retry) == ("outcome_unsaved", Retry.NEVER)
        assert "has no room left" in error.message
        assert error.run_id is not None
        assert (await process.il.runs.fetch(error.run_id)).state is runs.State.RUNNING
        await store.write(lambda tx: sql.connection(tx).exec_driver_sql("PRAGMA max_page_count = 1000000"))
        await process.il.runs.recover()
        assert (await process.il.runs.fetch(error.run_id)).state is runs.State.COMPLETED
        assert file_world.server.effects("issues/create") == 1


@pytest.mark.anyio
async def test_a_lease_that_cannot_be_given_up_hides_nothing_that_was_done(
    file_world: World, caplog: pytest.LogCaptureFixture
):
    parts = await file_world.assemble()
    process = Process(parts)
    await process.connect(file_world.server.url)
    await process.create()
    parts.store.close()
    await assembly.close(parts)
    assert "was not given up" in caplog.text


def test_a_call_that_could_not_be_admitted_says_why(shell: Shell):
    """And not that its run, which was never written, is not there."""
    shell.write_settings('[policy]\ndefault = "allow"\n')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # no file of this process grows beyond that
    try:
        told = shell.run("invoke", "github.issue.create", f"repo={REPOSITORY}", "title=x", "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (told.code, told.error["code"]) == (7, "store_unavailable")
    assert "the disk answers with an error" in told.error["message"]
    assert told.error["run_id"] is None, "it was never recorded"
    assert shell.service.effects() == 0
    assert shell.good("runs", "list")["runs"] == []
