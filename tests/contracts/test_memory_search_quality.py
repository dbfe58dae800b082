"""On judged questions a search by words and likeness finds what either alone misses, in every provider."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from fix_memory import MemoryDatabase
from interlock import memory
from labelled_notes import BEYOND_EITHER, BEYOND_LIKENESS, BEYOND_WORDS, NOTES, QUESTIONS

pytestmark = pytest.mark.anyio

FIRST = 3
"""Hits that count."""


class Judge:
    """The notes in a memory, and which share of the answers to a question is among the first hits."""

    def __init__(self, mem: memory.Memory) -> None:
        self.mem = mem
        self._names: dict[str, str] = {}

    async def read(self) -> None:
        for name, text in NOTES.items():
            self._names[(await self.mem.remember(text)).record_id] = name

    async def recall(self, question: str, mode: str) -> float:
        (due,) = (names for _, text, names in QUESTIONS if text == question)
        found = await self.mem.retrieve(question, mode=mode, limit=FIRST)
        return len({self._names[record.record_id] for record in found.records} & due) / len(due)

    async def mean(self, mode: str, kind: str | None = None) -> float:
        asked = [text for each, text, _ in QUESTIONS if kind in (None, each)]
        return sum([await self.recall(text, mode) for text in asked]) / len(asked)


@pytest.fixture(params=["sqlite", *(pytest.param(name, marks=pytest.mark.faults) for name in ("memory", "postgres"))])
def reference(request: pytest.FixtureRequest, tmp_path: Path) -> memory.ProviderRef:
    if request.param == "postgres":
        database: MemoryDatabase = request.getfixturevalue("memory_database")
        return database.emptied()
    config = {"path": str(tmp_path / "memory.db"), "dimensions": 256} if request.param == "sqlite" else {}
    return memory.ProviderRef(name=request.param, config=config)


@pytest.fixture
async def judge(reference: memory.ProviderRef) -> AsyncGenerator[Judge]:
    async with memory.Memory.open(reference, scope=memory.Scope(tenant="acme")) as mem:
        judge = Judge(mem)
        await judge.read()
        yield judge


async def test_hybrid_finds_what_words_or_likeness_alone_miss(judge: Judge):
    words, likeness, both = [await judge.mean(mode) for mode in ("text", "semantic", "hybrid")]
    assert both >= max(words, likeness), (words, likeness, both)
    assert await judge.mean("hybrid", "exact") == 1, "an identifier was not found"
    dimensions = judge.mem.capabilities().guarantees.vector_dimensions or 0
    if dimensions < 256:
        return  # too few for one question at a time: too much falls into one place of the vector
    for question in BEYOND_WORDS:
        assert (await judge.recall(question, "text"), await judge.recall(question, "hybrid")) == (0, 1), question
    assert await judge.recall(BEYOND_LIKENESS, "semantic") < 1
    assert await judge.recall(BEYOND_LIKENESS, "hybrid") == 1
    for question in BEYOND_EITHER if dimensions == 256 else ():
        found = [await judge.recall(question, mode) for mode in ("text", "semantic", "hybrid")]
        assert (max(found[:2]) < 1, found[2]) == (True, 1), question


def test_the_questions_are_about_the_notes():
    kinds = {kind for kind, _, _ in QUESTIONS}
    assert (len(NOTES) >= 60, len(QUESTIONS) >= 30) == (True, True)
    assert kinds == {"exact", "inflected", "misspelt", "subword", "mixed"}
    assert all(names and names <= NOTES.keys() for _, _, names in QUESTIONS)
    assert len({text for _, text, _ in QUESTIONS}) == len(QUESTIONS)
