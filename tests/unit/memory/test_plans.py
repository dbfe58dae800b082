"""How SQLite carries out what names its records: never by reading all that a tenant has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from interlock import memory
from interlock.adapters.memory.sqlite.rows import SqliteRows

pytestmark = pytest.mark.anyio

SCOPE = memory.Scope(tenant="acme")


async def test_what_names_its_records_reads_no_more_than_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plans: list[str] = []
    execute: Any = SqliteRows._execute

    def told(rows: Any, statement: str, parameters: Sequence[Any]) -> list[Any]:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            plans.extend(row[3] for row in execute(rows, f"EXPLAIN QUERY PLAN {statement}", parameters))
        return execute(rows, statement, parameters)

    async with memory.Memory.open("sqlite", {"path": str(tmp_path / "m.db"), "embedder": "none"}, scope=SCOPE) as mem:
        kept = await mem.remember("one")
        first = await mem.remember("of one", provenance={"derived_from": [kept.record_id]})
        await mem.remember("of it", provenance={"derived_from": [first.record_id, kept.record_id]})
        monkeypatch.setattr(SqliteRows, "_execute", told)
        assert len(await mem.hand_over(limit=2)) == 2
        await mem.remember("two", record_id=kept.record_id)
        await mem.get(kept.record_id)
        await mem.history(kept.record_id)
        assert len((await mem.forget(kept.record_id)).record_ids) == 3
    assert plans
    assert [each for each in plans if each.startswith("SEARCH r ") and "(tenant=?)" in each] == []
    assert [each for each in plans if each.startswith("SCAN r")] == []
