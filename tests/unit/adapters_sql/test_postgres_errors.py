"""What Postgres' driver says without the server, as a caller is told."""

import psycopg
import pytest
from psycopg.pq import ExecStatus, PGconn

from interlock.adapters import sql
from interlock.adapters.sql import postgres


def from_the_library() -> psycopg.Error:
    """The error of a result that libpq made by itself when it found the connection closed: it has no state."""
    connection = PGconn.connect(b"host=/nowhere")
    try:
        return psycopg.errors.error_from_result(connection.make_empty_result(ExecStatus.FATAL_ERROR))
    finally:
        connection.finish()


@pytest.mark.parametrize("error", [from_the_library(), psycopg.OperationalError("consuming input failed")], ids=repr)
def test_a_server_that_is_gone_is_unavailable_and_has_refused_nothing(error: psycopg.Error):
    assert error.sqlstate is None
    assert isinstance(postgres.explain(error, where="the store"), sql.StoreUnavailable)


def test_a_value_that_the_driver_cannot_tell_is_refused(postgres_url: str):
    with psycopg.connect(postgres_url) as session, pytest.raises(psycopg.DataError) as wrong:
        session.execute("SELECT %s", ["\0"])
    assert wrong.value.sqlstate is None
    assert isinstance(postgres.explain(wrong.value, where="the store"), sql.RowRefused)
