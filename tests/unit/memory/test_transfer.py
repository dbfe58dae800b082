"""Out of one memory and into another, where both have records with one id in several scopes, or records with a long past."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock import memory

pytestmark = pytest.mark.anyio

TENANT = memory.Scope(tenant="acme")
ANA, BOB = TENANT.narrowed(user="ana"), TENANT.narrowed(user="bob")
CHOSEN = "mem_" + "c" * 32
WITHOUT_TRANSFER = {"parts": ["memory", "memory"]}


@asynccontextmanager
async def opened(name: str) -> AsyncGenerator[memory.Memory]:
    config: dict[str, Any] = WITHOUT_TRANSFER if name == "fanout" else {}
    async with memory.Memory.open(name, config, scope=TENANT) as mem:
        yield mem


async def moved(source: memory.Memory, target: memory.Memory) -> memory.Import:
    brought = memory.Import(target)
    lines = [memory.line_of(value) async for value in memory.exported(source)]
    for number, line in enumerate(lines, start=1):
        await brought.feed(number, line)
    await brought.finish()
    return brought


@pytest.mark.parametrize("source", ["memory", "fanout"])
@pytest.mark.parametrize("target", ["memory", "fanout"])
async def test_records_of_several_scopes_with_one_id_are_all_taken(source: str, target: str):
    async with opened(source) as here, opened(target) as there:
        assert here.capabilities().supports("transfer") == (source == "memory")
        for scope in (ANA, BOB, TENANT):
            await here.remember(
                f"of {scope.user}", record_id=CHOSEN, if_revision=0, scope=scope, memory_class="semantic"
            )
        await here.remember("of ana, revised", record_id=CHOSEN, scope=ANA)
        brought = await moved(here, there)
        exact = target == "memory"
        assert (brought.accepted, brought.duplicates, brought.problems) == (4 if exact else 3, 0 if exact else 1, [])
        told = {record.scope.user: record.text for record in (await there.retrieve()).records}
        assert told == {"ana": "of ana, revised", "bob": "of bob", None: "of None"}


async def test_what_was_revised_often_costs_no_more_than_what_was_not(monkeypatch: pytest.MonkeyPatch):
    """None of the revisions before is read to put another one behind them."""
    async with opened("memory") as here, opened("memory") as there:
        kept = await here.remember("one", scope=ANA)
        for text in ("two", "three"):
            await here.remember(text, record_id=kept.record_id)
        entries = await here.hand_over()

        def read(*_: object) -> object:
            raise AssertionError("the history was read")

        monkeypatch.setattr(memory.DictRows, "list_history", read)
        await here.remember("four", record_id=kept.record_id)
        await here.remember("five", record_id=kept.record_id, scope=ANA, if_revision=4)
        taken = await there.take_over(entries)
        assert [item.status for item in taken.items] == [memory.IngestStatus.ACCEPTED] * 3
        with pytest.raises(memory.RecordConflict):
            await here.remember("x", record_id=kept.record_id, if_revision=0, scope=ANA)


async def test_a_page_has_fewer_records_where_they_are_large():
    async with opened("memory") as mem:
        large = "x" * 1_000_000
        ids = [(await mem.remember(f"{large} {number}")).record_id for number in range(10)]
        await mem.remember("small", record_id=ids[0], if_revision=0, scope=ANA)
        seen: list[int] = []
        after: str | None = None
        while page := await mem.hand_over(after=after, limit=1_000):
            seen.append(len(page))
            after = page[-1].record_id
        assert seen == [10, 1]
