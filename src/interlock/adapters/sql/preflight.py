"""What `interlock doctor` asks about a store: each check once, with an answer a person can act on. Changes nothing."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from interlock.adapters.sql import schema, sqlite
from interlock.adapters.sql.address import PostgresDatabase, SqliteFile, parse_address
from interlock.adapters.sql.errors import GRANT, StoreDamaged, StoreFull, StoreReadOnly, StoreUnavailable
from interlock.adapters.sql.tables import metadata
from interlock.kernel import InterlockError, StoreError

_OLDEST_POSTGRES = 150000
_LEAST_FREE = 64 * 1024 * 1024
"""Bytes of free disk below which the operator should act before the store does."""
_RIGHTS = text(
    "SELECT bool_and(has_table_privilege(:name, kind)) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS kind"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. `error` is None when all is well; else it says what is wrong and what to do."""

    check: str
    error: InterlockError | None


def preflight(url: str) -> tuple[Finding, ...]:
    """Check a store from the outside in; the first thing that is wrong ends the list. Raises InvalidStoreUrl."""
    place = parse_address(url)
    found: list[Finding] = []
    checks = _sqlite_checks(place) if isinstance(place, SqliteFile) else _postgres_checks(place)
    for name, check in checks:
        try:
            check()
        except StoreError as error:
            found.append(Finding(check=name, error=error))
            break
        found.append(Finding(check=name, error=None))
    return tuple(found)


def _sqlite_checks(place: SqliteFile) -> Iterator[tuple[str, Callable[[], None]]]:
    if place.path is None:
        return
    yield "file", partial(_check_file, place)
    yield "schema", partial(_on_sqlite, place, partial(sqlite.check_session, place=place))
    yield "content", partial(_on_sqlite, place, partial(_check_content, place=place))
    yield "writing", partial(_on_sqlite, place, partial(_check_room, path=place.path))


def _check_file(place: SqliteFile) -> None:
    sqlite.check_file(place)
    sqlite.check_writable(place)


def _on_sqlite(place: SqliteFile, check: Callable[[Connection], None]) -> None:
    try:
        with sqlite.session(place) as session:
            check(session)
    except (DBAPIError, sqlite3.Error) as error:
        raise sqlite.explain(error, where=place) from error


def _check_content(session: Connection, place: SqliteFile) -> None:
    answer = session.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if answer != "ok":
        raise StoreDamaged(f"{place} is damaged: {answer}")
    if (orphan := session.exec_driver_sql("PRAGMA foreign_key_check").first()) is not None:
        raise StoreDamaged(f"{place} is damaged: a row of {orphan[0]} has lost its parent in {orphan[2]}")


def _check_room(session: Connection, path: Path) -> None:
    session.exec_driver_sql("BEGIN IMMEDIATE")  # takes the write lock, and needs a log that can be written
    session.exec_driver_sql("ROLLBACK")
    free = shutil.disk_usage(path.parent).free
    if free < _LEAST_FREE:
        raise StoreFull(f"only {free // 1024} KiB are free on the disk of {path}")


def _postgres_checks(place: PostgresDatabase) -> Iterator[tuple[str, Callable[[], None]]]:
    from interlock.adapters.sql import postgres  # the driver is an extra

    def on_postgres(check: Callable[[Connection], None]) -> None:
        engine = postgres.engine(place, size=1)
        try:
            with engine.connect() as session:
                check(session)
        except DBAPIError as error:
            raise postgres.explain(error, where=place) from error
        finally:
            engine.dispose()

    yield "server", partial(on_postgres, partial(_check_server, place=place))
    yield "schema", partial(on_postgres, partial(schema.check_revision, where=str(place)))
    yield "writing", partial(on_postgres, partial(_check_rights, place=place))


def _check_server(session: Connection, place: PostgresDatabase) -> None:
    version = int(session.execute(text("SHOW server_version_num")).scalar_one())
    if version < _OLDEST_POSTGRES:
        raise StoreUnavailable(
            f"{place} runs Postgres {version // 10000}; Interlock needs {_OLDEST_POSTGRES // 10000} or later",
            next_step="Upgrade the database server.",
        )


def _check_rights(session: Connection, place: PostgresDatabase) -> None:
    if session.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        raise StoreReadOnly(f"{place} is read-only, perhaps a standby", next_step=GRANT)
    for table in metadata.sorted_tables:
        if not session.execute(_RIGHTS, {"name": table.name}).scalar_one():
            raise StoreReadOnly(f"this user may not write to the table {table.name} of {place}", next_step=GRANT)
