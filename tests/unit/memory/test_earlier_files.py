"""A memory file that an earlier version of the tables was written by."""

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from interlock import memory
from interlock.testing import ManualClock

pytestmark = pytest.mark.anyio

FIRST = Path(__file__).with_name("memory_v1.db.gz")
"""Written by version 1: Ana's record, revised; one made of it; Paris, which Lyon took the place of; one of Bob's; one that was
forgotten."""

ANA = memory.Scope(tenant="acme", user="ana")
BOB = memory.Scope(tenant="acme", user="bob")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "memory.db"
    path.write_bytes(gzip.decompress(FIRST.read_bytes()))
    return path


def asked(path: Path, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as session:
        return session.execute(question).fetchall()


async def test_all_that_was_in_it_is_there(path: Path):
    [(numbers,)] = asked(path, "SELECT seq FROM sqlite_sequence WHERE name = 'revisions'")
    before = asked(path, "SELECT revision_id, record_id, revision, record, is_last FROM revisions ORDER BY 1")
    async with memory.Memory.open("sqlite", {"path": str(path)}, scope=ANA) as mem:
        assert (
            asked(path, "SELECT revision_id, record_id, revision, record, is_last FROM revisions ORDER BY 1") == before
        )
        assert asked(path, "PRAGMA user_version") == [(2,)]
        assert asked(path, "PRAGMA foreign_key_check") == []
        assert asked(path, "PRAGMA integrity_check") == [("ok",)]
        texts = [record.text for record in (await mem.retrieve(order="oldest")).records]
        assert texts == ["Ana likes trains", "Trains are liked", "Ana lives in Lyon"]
        for mode in memory.SearchMode:
            assert (await mem.retrieve("trains", mode=mode, limit=1)).hits, mode
        [first, derived, lyon] = (await mem.retrieve(order="oldest")).records
        assert [entry.record and entry.record.text for entry in await mem.history(first.record_id)] == [
            "Ana likes trams",
            "Ana likes trains",
        ]
        assert (await mem.forget(lyon.record_id)).restored_ids != ()
        gone = await mem.forget(first.record_id)
        assert (gone.record_ids, gone.traces) == ((first.record_id, derived.record_id), 0)
        await mem.remember("new")
        assert asked(path, f"SELECT count(*) FROM revisions WHERE revision_id > {numbers}") != [(0,)]
        bob = memory.Memory(mem.provider, BOB)
        assert (await bob.remember("Bob's own", record_id=first.record_id, if_revision=0)).revision == 1
    async with memory.Memory.open("sqlite", {"path": str(path)}, scope=BOB) as mem:
        assert [record.text for record in (await mem.retrieve("Bob")).records] == ["Bob's", "Bob's own"]


async def test_no_number_is_given_twice(path: Path):
    [(last,)] = asked(path, "SELECT max(revision_id) FROM revisions")
    with closing(sqlite3.connect(path)) as session:  # as if what had the highest numbers were gone without a trace
        session.execute("UPDATE sqlite_sequence SET seq = seq + 100 WHERE name = 'revisions'")
        session.commit()
    async with memory.Memory.open("sqlite", {"path": str(path)}, scope=ANA, clock=ManualClock()) as mem:
        await mem.remember("new")
    assert asked(path, "SELECT max(revision_id) FROM revisions") == [(int(str(last)) + 101,)]


async def test_of_many_that_open_it_one_brings_it_forward(path: Path):
    async def one() -> None:
        async with memory.Memory.open("sqlite", {"path": str(path)}, scope=ANA) as mem:
            assert len((await mem.retrieve()).hits) == 3

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(one)
    assert asked(path, "PRAGMA user_version") == [(2,)]


async def test_it_is_brought_forward_whole_or_not_at_all(path: Path):
    with closing(sqlite3.connect(path)) as session:
        session.execute("CREATE TABLE revisions_by_record (x)")  # in the way of what is to come
    with pytest.raises(memory.ProviderUnavailable):
        async with memory.Memory.open("sqlite", {"path": str(path)}, scope=ANA):
            pass
    assert asked(path, "PRAGMA user_version") == [(1,)]
    assert asked(path, "SELECT count(*) FROM revisions WHERE record IS NOT NULL") == [(7,)]
    assert asked(path, "SELECT name FROM sqlite_schema WHERE name = 'revisions_anew'") == []
