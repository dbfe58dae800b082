"""Processes that write into one memory: killed in the middle, and against each other."""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import memory_writer
from fix_memory import MemoryDatabase
from interlock import memory

pytestmark = pytest.mark.anyio

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["memory_writer", "fault_writer"])


class Process:
    """One that tells what it did."""

    def __init__(self, act: Callable[..., None], *arguments: Any) -> None:
        self._answers, theirs = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=act, args=(*arguments, theirs))
        self._process.start()
        theirs.close()
        self.heard: list[tuple[Any, ...]] = []

    def hear(self, *, kill_after: int | None = None) -> None:
        """To its end; or SIGKILL once that many answers have come."""
        with self._answers, suppress(EOFError, OSError):  # the last answer may be cut off
            while True:
                self.heard.append(self._answers.recv())
                if len(self.heard) == kill_after:
                    self._process.kill()
        self._process.join()
        self._process.close()

    def said(self, what: str) -> list[Any]:
        return [words[1:] for words in self.heard if words[0] == what]


@pytest.fixture(params=["sqlite", "postgres"])
def reference(request: pytest.FixtureRequest, tmp_path: Path) -> memory.ProviderRef:
    """Each provider that is kept, with nothing in it."""
    if request.param == "sqlite":
        return memory.ProviderRef(name="sqlite", config={"path": str(tmp_path / "memory.db"), "dimensions": 64})
    database: MemoryDatabase = request.getfixturevalue("memory_database")
    return database.emptied()


@pytest.mark.parametrize("answers", [1, 4, 40])
async def test_a_killed_process_loses_nothing_it_answered_and_leaves_no_part_of_a_batch(
    reference: memory.ProviderRef, answers: int
) -> None:
    process = Process(memory_writer.write, reference.name, dict(reference.config))
    process.hear(kill_after=answers)
    async with memory.Memory.open(reference, scope=memory_writer.ANA) as mem:
        for (batch,) in process.said("batch"):
            assert await count(mem, batch) == memory_writer.BATCH
        unheard = f"batch{len(process.said('batch'))}"
        assert await count(mem, unheard) in (0, memory_writer.BATCH)
        for record_id, revision in process.said("kept"):
            assert (await mem.get(record_id)).revision >= revision
            assert [entry.revision for entry in await mem.history(record_id)][:revision] == [*range(1, revision + 1)]
        assert (await mem.health()).ok
        found = await mem.retrieve("part", mode="text", limit=1_000, exact_total=True)
        assert found.total == len(found.hits) == len(found.hits) // memory_writer.BATCH * memory_writer.BATCH
        assert (await mem.remember("afterwards")).revision == 1


async def count(mem: memory.Memory, kind: str) -> int | None:
    return (await mem.retrieve(kinds=[kind], limit=1, exact_total=True)).total


async def test_of_two_processes_one_makes_each_revision(reference: memory.ProviderRef) -> None:
    times = 25
    async with memory.Memory.open(reference, scope=memory_writer.ANA) as mem:
        record = await mem.remember("to begin with")
        given = (reference.name, dict(reference.config), record.record_id, times, FORKS.Barrier(2))
        processes = [Process(memory_writer.revise, *given) for _ in range(2)]
        for process in processes:
            process.hear()
        made = [revision for process in processes for _, revision in process.said("made")]
        assert all(revision == seen + 1 for process in processes for seen, revision in process.said("made"))
        assert sorted(made) == [*range(2, 2 * times + 2)]
        assert [entry.revision for entry in await mem.history(record.record_id)] == [1, *sorted(made)]
        assert all(process.said("done") for process in processes)
