"""Searches of a file with more than is compared one by one: the best of the whole file first, or the filter first."""

import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from interlock import memory

pytestmark = pytest.mark.anyio

SCOPE = memory.Scope(tenant="acme", user="ana")
COLOURS = "red green blue black white grey brown pink".split()  # noqa: SIM905 - a list to read
THINGS = "train signal lever track station bridge tunnel driver ticket map".split()  # noqa: SIM905
EMBEDDER = memory.HashedEmbedder(16)


def said(number: int) -> str:
    return f"{COLOURS[number % 8]} {THINGS[number % 10]} {COLOURS[number // 7 % 8]} number{number % 997}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,100 records, beside 1,000 of somebody else that match better."""
    path = tmp_path_factory.mktemp("large") / "memory.db"

    async def fill() -> None:
        async with memory.Memory.open("sqlite", config(path), scope=SCOPE) as mem:
            texts = [said(number) for number in range(1_100)]
            drafts = [memory.Draft(text=each, tags=("rare",) if each.startswith("pink map") else ()) for each in texts]
            for at in range(0, len(drafts), 1_000):
                await mem.using(timeout=600).ingest(drafts[at : at + 1_000])
            other = memory.Memory(mem.provider, memory.Scope(tenant="other"))
            await other.using(timeout=600).ingest([memory.Draft(text="red train") for _ in range(1_000)])

    anyio.run(fill)
    return path


def config(path: Path) -> dict[str, object]:
    return {"path": str(path), "dimensions": 16}


@pytest.fixture
async def mem(file: Path) -> AsyncGenerator[memory.Memory]:
    async with memory.Memory.open("sqlite", config(file), scope=SCOPE) as mem:
        yield mem


@pytest.mark.parametrize("asked", ["red train", "pink map", "blue tunnel number17", "train"])
async def test_likeness_is_that_of_every_vector(mem: memory.Memory, asked: str):
    vector = EMBEDDER.vector(asked)
    due = sorted((sum(map(float.__mul__, EMBEDDER.vector(said(n)), vector)) for n in range(1_100)), reverse=True)[:15]
    found = await mem.retrieve(asked, mode="semantic", limit=15)
    assert [hit.score for hit in found.hits] == pytest.approx(due, abs=1e-5)
    assert all(hit.record.scope == SCOPE for hit in found.hits)


@pytest.mark.parametrize("mode", ["text", "semantic", "hybrid"])
async def test_the_best_of_few_are_the_first_of_many(mem: memory.Memory, mode: str):
    for asked in ("red train", "pink map number300", "signal"):
        few, many = [await mem.retrieve(asked, mode=mode, limit=limit) for limit in (5, 1_000)]
        scores = [hit.score for hit in few.hits]
        assert scores == pytest.approx([hit.score for hit in many.hits[:5]])
        assert all(record.scope == SCOPE for record in many.records)


@pytest.mark.parametrize("mode", ["text", "semantic", "hybrid"])
async def test_a_filter_that_few_pass_leaves_them_all(mem: memory.Memory, mode: str):
    due = {said(number) for number in range(1_100) if said(number).startswith("pink map")}
    found = await mem.retrieve("red train pink", mode=mode, tags_any=["rare"], limit=1_000)
    assert {record.text for record in found.records} == due


async def test_what_is_forgotten_or_new_is_seen_at_once(file: Path, tmp_path: Path):
    async with memory.Memory.open("sqlite", config(Path(shutil.copy(file, tmp_path))), scope=SCOPE) as mem:
        await _changed(mem)


async def _changed(mem: memory.Memory) -> None:
    best = (await mem.retrieve("green signal", mode="semantic", limit=1)).records[0]
    await mem.forget(best.record_id)
    kept = await mem.remember("green signal")
    found = await mem.retrieve("green signal", mode="semantic", limit=3)
    assert found.records[0].record_id == kept.record_id
    assert best.record_id not in {record.record_id for record in found.records}
    again = await mem.remember("purple signal", record_id=kept.record_id)
    assert (await mem.retrieve("purple signal", mode="semantic", limit=1)).records == (again,)
