"""Connections to Postgres notice when nobody is at the other end any more, and so does the server."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import psycopg
import pytest

from interlock.adapters.queues import pgqueuer
from interlock.adapters.sql import parse_address, postgres
from interlock.adapters.sql.address import PostgresDatabase

Connected: TypeAlias = Callable[[str], AbstractContextManager[psycopg.Connection]]
NAMES = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")


@contextmanager
def lane(url: str) -> Generator[psycopg.Connection]:
    with closing(postgres.connect_lane(place(url))) as session:
        yield session


@contextmanager
def pooled(url: str) -> Generator[psycopg.Connection]:
    engine = postgres.engine(place(url), size=1)
    with engine.connect() as session:
        driver = session.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        yield driver
    engine.dispose()


def place(url: str) -> PostgresDatabase:
    found = parse_address(url)
    assert isinstance(found, PostgresDatabase)
    return found


@pytest.mark.parametrize("connected", [lane, pooled])
def test_a_connection_that_is_cut_is_noticed_within_seconds(postgres_url: str, connected: Connected):
    with connected(postgres_url) as session:
        given = session.info.get_parameters()
        assert {name: given.get(name) for name in NAMES} == dict(zip(NAMES, ("5", "2", "3", "10000"), strict=True))


@pytest.mark.parametrize("connected", [lane, pooled])
def test_the_server_is_asked_to_notice_it_too(postgres_url: str, connected: Connected):
    """Over a local socket it takes the words, and has nothing to do."""
    with connected(postgres_url) as session:
        options = session.info.get_parameters()["options"]
    assert "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3" in options
    assert "-c tcp_user_timeout=10000" in options


@pytest.mark.parametrize("connected", [lane, pooled])
def test_the_address_has_the_last_word(postgres_url: str, connected: Connected):
    mark = "&" if "?" in postgres_url else "?"
    with connected(f"{postgres_url}{mark}keepalives_idle=60&tcp_user_timeout=90000") as session:
        given = session.info.get_parameters()
        assert [given.get(name) for name in NAMES] == ["60", "2", "3", "90000"]


@pytest.mark.anyio
async def test_a_bell_that_is_stopped_leaves_no_connection(postgres_url: str, monkeypatch: pytest.MonkeyPatch):
    """Also on a machine that is so busy that whatever waits at the end is cancelled there."""
    opened: list[psycopg.AsyncConnection] = []
    connect = psycopg.AsyncConnection.connect

    async def remembered(*given: Any, **named: Any) -> psycopg.AsyncConnection:
        opened.append(await connect(*given, **named))
        return opened[0]

    async def slowly(_: psycopg.AsyncConnection) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", remembered)
    monkeypatch.setattr(psycopg.AsyncConnection, "rollback", slowly)
    heard = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pgqueuer._PostgresBell(postgres_url).listen, heard.set)  # pyright: ignore[reportPrivateUsage]
        await heard.wait()
        tasks.cancel_scope.cancel()
    assert [each.closed for each in opened] == [True]
