"""A memory file that SQLite opens, and that is not as it was written: it is told as damaged, whatever is wrong with it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from interlock import memory

pytestmark = pytest.mark.anyio

ANA = memory.Scope(tenant="acme", user="ana")


async def used(path: Path) -> None:
    async with memory.Memory.open("sqlite", {"path": str(path)}, scope=ANA) as mem:
        await mem.retrieve("one")
        await mem.hand_over()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM sqlite_schema WHERE name = 'words_config'", "index of words"),
        ("DELETE FROM words_data", "index of words"),
        ("DELETE FROM words_config", "index of words"),
        ("DROP TABLE revisions", "a table of a memory"),
        ("DROP TABLE facts_of_file", "a table of a memory"),
        ("DROP INDEX revisions_by_record", "an index of a memory"),
        ("DELETE FROM facts_of_file", "by what its vectors"),
        ("UPDATE revisions SET record = '{}'", "a record in it is none"),
        ("UPDATE vectors SET vector = x'00'", "a vector in it"),
    ],
)
async def test_a_damaged_file_is_told_as_one(damage: str, told: str, tmp_path: Path):
    path = tmp_path / "memory.db"
    async with memory.Memory.open("sqlite", {"path": str(path)}, scope=ANA) as mem:
        await mem.remember("one")
    with closing(sqlite3.connect(path, isolation_level=None)) as session:
        session.execute("PRAGMA writable_schema = ON")
        session.execute(damage)
    with pytest.raises(memory.ProviderUnavailable, match="damaged") as raised:
        await used(path)
    assert told in raised.value.message
    assert raised.value.next_step.startswith("Restore")
