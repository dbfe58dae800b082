"""One statement of SQLite about many rows.

At each statement the driver lets other threads go on, and has to win the interpreter back from them: beside a busy event loop
that takes the writing thread longer than the row does. So rows go by the dozen, by no more texts than the driver keeps.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import Table

from interlock.adapters.sql.rows import SqlRow

_SIZES: Final = (96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
"""How many rows one statement may be about."""

_MOST_VALUES: Final = 900
"""In one statement; SQLite may be built to take no more than 999."""


class Many:
    """A statement, with `{}` where a `mark` stands for each row: `(?, ?)` or `?`."""

    def __init__(self, statement: str, mark: str) -> None:
        most = max(1, _MOST_VALUES // mark.count("?"))
        self._texts = [(size, statement.format(", ".join([mark] * size))) for size in _SIZES if size <= most]

    def execute(self, cursor: sqlite3.Cursor, lines: Sequence[SqlRow], *before: str | int) -> list[Any]:
        """What it finds, of all the rows. `before`: the values that stand before them."""
        found: list[Any] = []
        start = 0
        while left := len(lines) - start:
            size, text = next(each for each in self._texts if each[0] <= left)
            values = chain.from_iterable(lines[start : start + size])
            found += cursor.execute(text, (*before, *values)).fetchall()
            start += size
        return found


def inserting(table: Table, *, at_conflict: str = "") -> Many:
    """Rows with a value for each column. In what to do `at_conflict`, the table is `t`."""
    columns = ", ".join(column.name for column in table.columns)
    mark = f"({', '.join('?' * len(table.columns))})"
    return Many(f"INSERT INTO {table.name} AS t ({columns}) VALUES {{}}{at_conflict}", mark)  # noqa: S608
