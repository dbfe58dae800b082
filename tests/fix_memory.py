"""Fixtures: memories in Postgres, used by a role that row-level security holds."""

import os
from collections.abc import Iterator

import anyio
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from interlock import memory

_RUN = (
    f"{os.environ.get('PYTEST_XDIST_TESTRUNUID', str(os.getpid()))[:8]}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
)


class MemoryDatabase:
    """A database with the extension `vector`, its administrator, and a role for programs."""

    def __init__(self, server: str, name: str) -> None:
        self.role = f"{name}_app"
        self.admin_url = make_url(server).set(database=name).render_as_string(hide_password=False)
        self.url = make_url(self.admin_url).set(username=self.role).render_as_string(hide_password=False)

    def reference(self, **config: object) -> memory.ProviderRef:
        """A memory as programs open it."""
        return memory.ProviderRef(name="postgres", config={"url": self.url, "dimensions": 64, **config})

    def emptied(self) -> memory.ProviderRef:
        """The same with nothing in it."""
        with psycopg.connect(self.admin_url, autocommit=True) as session:
            session.execute("DELETE FROM interlock_memory.revisions")
        return self.reference()


@pytest.fixture(scope="session")
def memory_database(postgres_server: str) -> Iterator[MemoryDatabase]:
    """The worker's own, with the tables of a memory in it."""
    name = f"interlock_memory_{_RUN}"
    database = MemoryDatabase(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as session:
        session.execute(SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(Identifier(name)))
        session.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(database.role)))
        _set_up(database)
        yield database
        session.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
        session.execute(SQL("DROP ROLE {}").format(Identifier(database.role)))


def _set_up(database: MemoryDatabase) -> None:
    """As an operator does it: opened once, by the owner."""

    async def opened() -> None:
        owned = database.reference(url=database.admin_url, isolation="query", grant_to=database.role)
        async with memory.Memory.open(owned, scope=memory.Scope(tenant="nobody")):
            pass

    anyio.run(opened)
