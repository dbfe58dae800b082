"""The doctor speaks of stores that only grow."""

from pathlib import Path

import anyio
import pytest

from interlock import app, dispatch
from interlock.app import Interlock, Settings, upkeep
from interlock.kernel import JSON


@dispatch.handler("noted")
async def noted(event: dispatch.Event, context: dispatch.Context) -> None:
    """Nothing is to be done."""


def test_the_doctor_warns_of_a_store_that_only_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_KEY", bytes(range(5, 37)).hex())
    url = str(tmp_path / "store.db")

    async def fill(count: int) -> None:
        async with Interlock.open(settings=Settings(store=url, folder=tmp_path), background=False) as il:
            for _ in range(count):
                await il.dispatch.submit("noted")

    def said(**retention: float) -> list[str]:
        flags: dict[str, JSON] = {"store": url, "retention": {**retention}}
        checks = anyio.run(app.examine, None, flags)
        return [check.found for check in checks if check.name == "retention"]

    anyio.run(fill, 1)
    monkeypatch.setattr(upkeep, "MANY_RUNS", 1)
    assert said() == []
    anyio.run(fill, 1)
    (found,) = said()
    assert "archive_after_days" in found
    assert said(archive_after_days=90) == []
