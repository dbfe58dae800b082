"""Stores with as many finished runs as one wants, in minutes: the rows of one run that really ended, copied by the database."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Table

from interlock.adapters.sql import tables
from interlock.adapters.sql.columns import Moment

APART_US = 6_900_000
"""Microseconds between two runs: a million of them took eighty days."""

_COPIED = (tables.runs, tables.attempts, tables.sends, tables.events, tables.decisions, tables.artifacts)
_PREFIXES = {"attempt_id": "att", "send_id": "snd", "event_id": "evt", "decision_id": "dec", "artifact_id": "art"}
_ORDINALS = {
    tables.events: "t.seq",
    tables.attempts: "t.number",
    tables.sends: "t.number",
    tables.decisions: "t.number",
}


def fill(url: str, run_id: str, count: int) -> None:
    """That many copies of a run with all that hangs on it, each a while before the next one and all before the run itself. Their
    packets would not verify, since the hashes are the first one's; all else is as it was."""
    with _session(url) as (execute, is_sqlite):
        for table in _COPIED:
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            values = ", ".join(_value(table, column, count, is_sqlite=is_sqlite) for column in table.columns)
            series = (
                f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {count})"
                if is_sqlite
                else f"WITH s(i) AS (SELECT generate_series(1, {count}))"
            )
            insert, rest = f"INSERT INTO {table.name} ({names})", f"SELECT {values} FROM s, {table.name} t"
            whole = f"{series} {insert} {rest}" if not is_sqlite else f"{insert} {series} {rest}"
            execute(f"{whole} WHERE t.run_id = '{run_id}'")
        execute("ANALYZE")


def _value(table: Table, column: Any, count: int, *, is_sqlite: bool) -> str:
    name = column.name

    def named(prefix: str, number: str) -> str:
        if is_sqlite:
            return f"printf('{prefix}%032x', {number})"
        return f"'{prefix}' || lpad(to_hex({number}), 32, '0')"

    if name == "run_id":
        return named("run_", "s.i")
    if name == "trace_id":
        return named("", "s.i")
    if name in _PREFIXES:
        ordinal = _ORDINALS.get(table, "1") if name == f"{table.name.removesuffix('s')}_id" else "1"
        return f"CASE WHEN t.{name} IS NULL THEN NULL ELSE {named(_PREFIXES[name] + '_', f's.i * 64 + {ordinal}')} END"
    if isinstance(column.type, Moment):
        return f"t.{name} - ({count} - s.i + 1) * CAST({APART_US} AS BIGINT)"
    return f't."{name}"'


@contextmanager
def _session(url: str) -> Generator[tuple[Callable[[str], object], bool]]:
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as session:
            yield lambda text: session.execute(text.encode()), False
        return
    session = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        session.execute("PRAGMA synchronous = OFF")
        session.execute("PRAGMA cache_size = -200000")
        yield session.execute, True
        session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        session.close()
