"""What opening Interlock promises to the program that uses it."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from interlock import Interlock, catalog, testing


@pytest.mark.parametrize("background", [True, False])
def test_errors_come_out_as_they_are(*, background: bool):
    async def ask() -> None:
        async with Interlock.open(":memory:", background=background) as il:
            await il.invoke("no.such_thing")

    with pytest.raises(catalog.UnknownCapability):
        anyio.run(ask)


def test_who_only_reads_owns_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTERLOCK_KEY", bytes(range(32)).hex())
    clock, path = testing.ManualClock(), tmp_path / "x.db"  # the clock jumps from renewal to renewal
    owners: set[int] = set()

    async def read() -> None:
        async with Interlock.open(str(path), clock=clock, background=False) as il:
            before = clock.now()
            with closing(sqlite3.connect(path)) as session:
                while clock.now() - before < timedelta(minutes=1):
                    assert await il.runs.list() == []
                    owners.update(session.execute("SELECT count(*) FROM owners").fetchone())

    anyio.run(read)
    assert owners == {0}
