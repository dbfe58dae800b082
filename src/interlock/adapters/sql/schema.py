"""The version of a database: read it, judge it, bring it up to date."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from interlock.adapters.sql.errors import ANOTHER_DATABASE, ForeignFile, MigrationsPending, SchemaTooNew
from interlock.adapters.sql.queue_tables import sqlite_metadata
from interlock.adapters.sql.tables import metadata

REVISIONS = tuple(f"{number:04}" for number in range(1, 27))
"""Every migration in order; the last one is what this version of Interlock needs. A test compares it with `versions/`."""

VERSION_TABLE = "interlock_version"

_VERSIONS: Final = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
"""As Alembic makes it."""

_ALEMBIC = threading.Lock()  # its `op` and `context` belong to the process, not to the thread


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What `migrate` did. `before` is None for a database that was empty."""

    before: str | None
    after: str
    applied: tuple[str, ...]


def current_revision(connection: Connection) -> str | None:
    """The revision of the database, None if it has never been migrated."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant


def check_revision(connection: Connection, *, where: str) -> None:
    """Raises MigrationsPending, SchemaTooNew or ForeignFile unless the database is at this version's revision."""
    found = current_revision(connection)
    if found == REVISIONS[-1]:
        return
    if found is None:
        _check_free(connection, where)
        raise MigrationsPending(
            f"{where} has no Interlock tables yet (needs revision {REVISIONS[-1]})",
            next_step="Run `interlock migrate`: it makes Interlock's tables, and touches nothing else.",
        )
    if found in REVISIONS:
        raise MigrationsPending(f"{where} is at revision {found}; this version needs {REVISIONS[-1]}")
    raise SchemaTooNew(f"{where} is at revision {found}, which this version does not know (it knows {REVISIONS[-1]})")


def upgrade(connection: Connection, *, where: str) -> MigrationReport:
    """Apply what is missing, inside the caller's transaction. Raises SchemaTooNew, or ForeignFile for a database that
    holds tables of others under our names.

    An empty SQLite database gets today's tables at once, which are those that the migrations make (a test compares them):
    every store in memory begins as one, and so does a newcomer. One on Postgres begins once, and has a queue of others' making.
    """
    before = current_revision(connection)
    if before is not None and before not in REVISIONS:
        raise SchemaTooNew(f"{where} is at revision {before}, which this version does not know")
    if before is None:
        _check_free(connection, where)
    if before is None and connection.dialect.name == "sqlite":
        for statement in _tables_of_today():
            connection.exec_driver_sql(statement)
    elif before != REVISIONS[-1]:
        walk(connection)
    applied = REVISIONS if before is None else REVISIONS[REVISIONS.index(before) + 1 :]
    return MigrationReport(before=before, after=REVISIONS[-1], applied=applied)


def walk(connection: Connection) -> None:
    """Apply one migration after the other, from the database's revision to the last."""
    from alembic import command  # here: it is slow to import, and only migrations need it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, "head")


@cache
def _tables_of_today() -> tuple[str, ...]:
    return (*_statements(), f"INSERT INTO {VERSION_TABLE} VALUES ('{REVISIONS[-1]}')")  # noqa: S608 - constants


def _statements() -> Iterator[str]:
    dialect = sqlite.dialect()
    for table in (_VERSIONS, *metadata.sorted_tables, *sqlite_metadata.sorted_tables):
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))


def _check_free(connection: Connection, where: str) -> None:
    """Raises ForeignFile for a database that holds tables of others under our names."""
    if inspect(connection).has_table("runs"):
        step = None if connection.dialect.name == "sqlite" else ANOTHER_DATABASE
        raise ForeignFile(f"{where} already has a table `runs` that Interlock did not make", next_step=step)
