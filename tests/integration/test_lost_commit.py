"""A commit goes through, and the driver says that it failed: SQLite's file reached the disk, and its answer did not."""

import sqlite3
from typing import Any

import pytest

from fix_app import World
from interlock import runs
from interlock.kernel import Retry

pytestmark = pytest.mark.anyio


class Deaf(sqlite3.Connection):
    """Commits, and fails all the same, where the transaction wrote a run."""

    armed = False
    wrote = False

    def execute(self, sql: str, *parameters: Any, **named: Any) -> sqlite3.Cursor:  # type: ignore[override]
        result = super().execute(sql, *parameters, **named)
        if Deaf.armed and sql == "COMMIT" and Deaf.wrote:
            Deaf.armed = False
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return result


async def test_an_admission_that_may_be_there_is_not_asked_for_again(
    file_world: World, monkeypatch: pytest.MonkeyPatch
):
    real = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        session = real(*args, **kwargs, factory=Deaf)
        session.set_trace_callback(lambda statement: setattr(Deaf, "wrote", Deaf.wrote or "INTO runs" in statement))
        return session

    monkeypatch.setattr(sqlite3, "connect", connect)
    async with file_world.process() as process:
        await process.connect(file_world.server.url)
        monkeypatch.setattr(Deaf, "wrote", False)
        monkeypatch.setattr(Deaf, "armed", True)
        with pytest.raises(runs.OutcomeUnsaved, match=r"whether acme\.issue\.create was admitted is unknown") as raised:
            await process.create()
        assert raised.value.retry is Retry.NEVER
        run = (await process.last()).run
        assert raised.value.run_id == run.run_id
        [recovered] = await process.il.runs.recover()
        assert recovered.state is runs.State.COMPLETED
        assert file_world.server.effects("issues/create") == 1
