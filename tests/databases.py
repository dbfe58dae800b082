"""Postgres databases for the tests."""

from itertools import count

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import Table
from sqlalchemy.engine import make_url

from interlock.adapters.sql import tables

_numbers = count(1)


def address(server: str, name: str) -> str:
    """The URL of a database beside the server's own."""
    return make_url(server).set(database=name, drivername="postgresql").render_as_string(hide_password=False)


class Database:
    """A database for tests. One that they take in turn, with a `reset` before each, costs a quarter of one for each."""

    def __init__(self, server: str, template: str) -> None:
        """With everything that is in the template."""
        self._server = server
        self._name = f"{template}_{next(_numbers)}"
        # As files: a copy by way of the log costs twice as much.
        make = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        with psycopg.connect(server, autocommit=True) as session:
            session.execute(make.format(Identifier(self._name), Identifier(template)))
        self.url = address(server, self._name)
        with psycopg.connect(self.url) as session, session.cursor() as cursor:
            self._rows = {table: _read(cursor, table) for table in tables.metadata.sorted_tables}

    def reset(self) -> str:
        """The URL, once no one is connected and every row is as it was."""
        with psycopg.connect(self.url) as session, session.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            cursor.execute(
                SQL("; ").join(
                    SQL("DELETE FROM {}").format(Identifier(name))
                    for name in ["interlock_pgqueuer", *(table.name for table in reversed(self._rows))]
                )
            )
            for table, rows in self._rows.items():
                if rows:
                    with cursor.copy(SQL("COPY {} FROM STDIN").format(Identifier(table.name))) as copy:
                        copy.write(rows)
        return self.url

    def drop(self) -> None:
        """In the end."""
        with psycopg.connect(self._server, autocommit=True) as session:
            session.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self._name)))


def _read(cursor: psycopg.Cursor, table: Table) -> bytes:
    with cursor.copy(SQL("COPY {} TO STDOUT").format(Identifier(table.name))) as copy:
        return b"".join(bytes(part) for part in copy)
