"""Memory files that are damaged, of something else, of a newer version, or cannot be had: a sentence for each, and the file
stays as it is."""

import os
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import pytest

from interlock import memory
from interlock.adapters.memory.sqlite.rows import SqliteRows
from interlock.adapters.memory.sqlite.shelf import SqliteShelf

pytestmark = pytest.mark.anyio

ANA = memory.Scope(tenant="acme", user="ana")
BUSY: Final = 10.0
"""Seconds for which another's write is waited for at the most."""


def at(path: Path) -> memory.ProviderRef:
    return memory.ProviderRef(name="sqlite", config={"path": str(path), "dimensions": 64})


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A memory file with some hundred records, closed."""
    path = tmp_path / "memory.db"
    async with memory.Memory.open(at(path), scope=ANA) as mem:
        await mem.ingest([memory.Draft(text=f"record {number} of many words {number * 7}") for number in range(300)])
    return path


async def used(path: Path) -> None:
    """Open it, and read all of it."""
    async with memory.Memory.open(at(path), scope=ANA) as mem:
        await mem.retrieve(limit=1_000)
        await mem.retrieve("many words", mode="hybrid", limit=1_000)


async def refused(path: Path, kind: type[memory.MemoryFault]) -> memory.MemoryFault:
    """What is said of a file, which is left as it is."""
    before = content(path)
    with pytest.raises(kind) as caught:
        await used(path)
    assert str(path) in caught.value.message
    assert caught.value.next_step
    assert content(path) == before
    assert names(path.parent) <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    return caught.value


def content(path: Path) -> bytes:
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def cut(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def spoil(path: Path, *, keep: int) -> None:
    """Overwrite all pages but the first few with noise."""
    with path.open("r+b") as file:
        file.seek(keep * 4096)
        file.write(os.urandom(path.stat().st_size - keep * 4096))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
async def test_a_cut_off_file_is_damaged_and_not_new(path: Path, share: float) -> None:
    cut(path, share)
    assert "damaged" in (await refused(path, memory.ProviderUnavailable)).message


@pytest.mark.parametrize("pages", [1, 2, 10])
async def test_a_file_with_noise_in_it_is_damaged(path: Path, pages: int) -> None:
    spoil(path, keep=pages)
    assert "damaged" in (await refused(path, memory.ProviderUnavailable)).message


async def test_an_emptied_file_is_damaged_and_not_new(path: Path) -> None:
    cut(path, 0)
    assert "it is empty" in (await refused(path, memory.ProviderUnavailable)).message


@pytest.mark.parametrize("content", [b"hello", b"#" * 9_000, b"SQLite format 3\0"])
async def test_a_file_of_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert "no SQLite file" in (await refused(path, memory.InvalidConfig)).message


async def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as session:
        session.execute("CREATE TABLE runs (a)")
    session.close()
    assert "of something else" in (await refused(path, memory.InvalidConfig)).message


async def test_a_file_of_a_newer_version(path: Path) -> None:
    with sqlite3.connect(path) as session:
        session.execute("PRAGMA user_version = 99")
    session.close()
    error = await refused(path, memory.InvalidConfig)
    assert "of version 99" in error.message
    assert "newer Interlock" in error.next_step


async def test_a_file_with_other_vectors(path: Path) -> None:
    reference = memory.ProviderRef(name="sqlite", config={"path": str(path), "dimensions": 128})
    with pytest.raises(memory.InvalidConfig, match="hashed-v1-64, and it is opened with hashed-v1-128"):
        async with memory.Memory.open(reference, scope=ANA):
            pass


async def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(memory.ProviderUnavailable, match="cannot be used"):
        async with memory.Memory.open(at(tmp_path), scope=ANA):
            pass


async def test_damage_is_told_by_health(path: Path) -> None:
    async with memory.Memory.open(at(path), scope=ANA) as mem:
        assert (await mem.health()).ok
        spoil(path, keep=10)
        health = await mem.health()
    assert not health.ok
    assert "damaged" in health.detail


@pytest.fixture
def holder(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who is about to write for long."""
    session = sqlite3.connect(path, isolation_level=None)
    session.execute("BEGIN IMMEDIATE")
    yield session
    session.close()


async def test_a_file_that_another_holds_for_long(path: Path, holder: sqlite3.Connection) -> None:
    """It is opened and read meanwhile; who would write waits as long as it was given."""
    async with memory.Memory.open(at(path), scope=ANA) as mem:
        assert len((await mem.retrieve(limit=5)).hits) == 5
        began = time.monotonic()
        with pytest.raises(memory.DeadlineExceeded):
            await mem.using(timeout=0.3).remember("meanwhile")
        assert time.monotonic() - began < BUSY
        holder.execute("ROLLBACK")
        await mem.remember("after")
        assert [record.text for record in (await mem.retrieve(limit=1)).records] == ["after"]


async def test_what_takes_long_ends_at_its_deadline(path: Path) -> None:
    """Wherever SQLite is in it."""
    shelf = await anyio.to_thread.run_sync(partial(SqliteShelf.open, path, embedder="hashed-v1-64", dimensions=64))
    endless = "WITH RECURSIVE n(at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n) SELECT count(*) FROM n"

    def search(rows: memory.Rows) -> None:
        assert isinstance(rows, SqliteRows)
        rows._execute(endless, ())

    for act in (shelf.read, shelf.write):
        with anyio.move_on_after(0.3) as given:
            await act(ANA, search)
        assert given.cancelled_caught
    assert await shelf.write(ANA, lambda rows: rows.is_known())
    await shelf.close()


async def test_a_new_file_is_private_and_whole(tmp_path: Path) -> None:
    """Also where several begin at once."""
    path = tmp_path / "a" / "new.db"
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(used, path)
    assert names(path.parent) == {"new.db"}
    assert os.stat(path).st_mode & 0o777 == 0o600
