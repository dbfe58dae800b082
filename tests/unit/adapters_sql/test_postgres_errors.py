"""What Postgres' driver says without the server, as a caller is told."""

import psycopg
import pytest
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus, PGconn

from interlock.adapters import sql
from interlock.adapters.sql import postgres
from interlock.kernel import RequestError


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


def from_the_driver(value: object) -> psycopg.Error:
    """The error of a value that it does not send."""
    with pytest.raises(psycopg.Error) as wrong:
        Transformer().dump_sequence([value], [PyFormat.TEXT])
    return wrong.value


def test_a_text_that_the_driver_does_not_send_is_the_callers_mistake():
    error = from_the_driver("\0")
    assert error.sqlstate is None
    assert isinstance(postgres.explain(error, where="the store"), RequestError)


@pytest.mark.parametrize(
    "error", [from_the_driver(object()), psycopg.errors.NullValueNotAllowed("NULL is not allowed here")], ids=repr
)
def test_a_value_that_is_refused_is_no_text_with_a_nul(error: psycopg.Error):
    assert isinstance(postgres.explain(error, where="the store"), sql.RowRefused)
