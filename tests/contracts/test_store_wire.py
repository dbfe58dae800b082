"""The binary format against psycopg's own reading of it."""

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_ledger import Builder
from interlock.adapters.sql import rows, tables
from interlock.adapters.sql.composites import HOT, RowType, int8, read_row_types, text_array
from interlock.adapters.sql.hot_session import HotSession

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@pytest.fixture(scope="module")
def session(postgres_server: str, postgres_template: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_server, dbname=postgres_template, autocommit=True) as session:
        yield session


@pytest.fixture(scope="module")
def hot(session: psycopg.Connection) -> HotSession:
    return HotSession(session, read_row_types(session), prepare=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, max_size=5))
def test_texts(hot: HotSession, values: list[str]) -> None:
    assert hot.execute("SELECT unnest($1::text[])", [text_array(values)]) == [(value,) for value in values]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers(hot: HotSession, value: int) -> None:
    assert hot.execute("SELECT $1::int8", [int8(value)]) == [(str(value),)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans(), st.integers(0, 2**62), TEXT), max_size=4))
def test_rows(hot: HotSession, values: list[tuple[bytes, bool, int, str]]) -> None:
    builder = Builder()
    run = builder.run()
    lines = [
        rows.artifact_row(builder.artifact(run, content=content, redacted=redacted, size=size, name=name))
        for content, redacted, size, name in values
    ]
    answer = hot.execute(
        "SELECT encode(content, 'hex'), redacted, size, name, blob_key IS NULL FROM unnest($1::artifacts[])",
        [hot.array(tables.artifacts, lines)],
    )
    assert answer == [
        (content.hex(), "t" if redacted else "f", str(size), name, "t") for content, redacted, size, name in values
    ]


def test_the_databases_own_column_order_is_followed(session: psycopg.Connection) -> None:
    found = read_row_types(session)
    assert set(found) == {table.name for table in HOT}
    swapped = RowType(1, ((25, 1), (25, 0)))
    plain = RowType(1, ((25, 0), (25, 1)))
    assert swapped.array([("a", "b")]) == plain.array([("b", "a")])


def test_an_error_is_the_drivers(hot: HotSession) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        hot.execute("SELECT 1 / $1::int8", [int8(0)])
    assert hot.execute("SELECT $1::int8", [int8(1)]) == [("1",)]
