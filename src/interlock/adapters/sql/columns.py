"""What the tables are made of. Moments are whole microseconds (`kernel.to_micros`), JSON is canonical text."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Dialect, Index, MetaData, String, TextClause, TypeDecorator, text

from interlock.kernel import from_micros, to_micros


class Moment(TypeDecorator[datetime]):
    """An aware datetime kept as a 64-bit number of microseconds: exact, sortable, the same on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else from_micros(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID: Final = String(40)
NAME: Final = String(200)


def where(condition: TextClause, *names: str) -> Index:
    """An index over some rows. SQLite uses it for a query that says the same condition in the same words."""
    return Index(None, *names, sqlite_where=condition, postgresql_where=condition)


def where_set(name: str) -> Index:
    """An index over the rows that have a value there, for columns that are seldom set."""
    return where(text(f"{name} IS NOT NULL"), name)
