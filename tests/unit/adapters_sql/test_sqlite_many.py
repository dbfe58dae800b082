"""Many rows by one statement."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from interlock.adapters.sql.sqlite_many import Many, inserting

WIDE = Table("wide", MetaData(), *[Column(f"c{number}", Integer) for number in range(32)])


@pytest.mark.parametrize("count", [0, 1, 2, 5, 47, 97, 300])
def test_however_many_rows_there_are_each_is_written_and_found_once(count: int):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as raw:
        raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)  # as SQLite may be built
        cursor = raw.execute(f"CREATE TABLE wide ({', '.join(WIDE.columns.keys())})")
        inserting(WIDE).execute(cursor, [tuple(range(line, line + 32)) for line in range(count)])
        found = Many("SELECT c0, c31 FROM wide WHERE c1 > ? AND c0 IN ({})", "?").execute(
            cursor, [(line,) for line in range(1000)], 0
        )
        assert sorted(found) == [(line, line + 31) for line in range(count)]


def test_what_one_row_is_refused_for_leaves_none_of_its_statement():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as raw:
        cursor = raw.execute(f"CREATE TABLE wide ({', '.join(WIDE.columns.keys())}, UNIQUE (c0))")
        taken = inserting(WIDE, at_conflict=" ON CONFLICT (c0) DO UPDATE SET c1 = excluded.c1 WHERE t.c1 < excluded.c1")
        rows = [tuple([1] * 32), tuple([2] * 32)]
        taken.execute(cursor, rows)
        with pytest.raises(sqlite3.IntegrityError):
            inserting(WIDE).execute(cursor, [tuple([3] * 32), *rows])
        taken.execute(cursor, [(1, 5, *[0] * 30), (2, 1, *[0] * 30)])
        assert cursor.execute("SELECT c0, c1 FROM wide ORDER BY c0").fetchall() == [(1, 5), (2, 2)]
