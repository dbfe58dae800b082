"""The open transaction, and the one way into it for the record files of this package."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Table, TextClause, text

from interlock.kernel import Tx

if TYPE_CHECKING:  # loading Postgres costs a SQLite user 75 ms
    from interlock.adapters.sql.hot_session import HotSession

_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_SHARED: Final = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")


class SqlTx:
    """A transaction on one connection; it ends with the function that it was handed to."""

    __slots__ = ("_connection", "_hot", "_open")

    def __init__(self, connection: Connection, *, hot: "Callable[[Connection], HotSession] | None" = None) -> None:
        self._connection = connection
        self._hot = hot
        self._open = True

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def connection(self) -> Connection:
        if not self._open:
            raise RuntimeError("this transaction has ended: use `tx` only inside the function it was given to")
        return self._connection

    @property
    def driver_connection(self) -> Any:
        """The driver's own connection under the same transaction, for statements that go in batches."""
        return self.connection.connection.driver_connection

    @property
    def hot(self) -> "HotSession | None":
        """The same on Postgres, where the store writes: for values that go in its wire format. None on SQLite."""
        return None if self._hot is None else self._hot(self.connection)

    def end(self) -> None:
        """No more statements."""
        self._open = False


def sql_tx(tx: Tx) -> SqlTx:
    """The token as what it is here. Raises TypeError for another adapter's."""
    if not isinstance(tx, SqlTx):
        raise TypeError(f"a transaction of this SQL store is needed, not {type(tx).__name__}")
    return tx


def connection(tx: Tx) -> Connection:
    """The SQLAlchemy connection of an open transaction: execute statements, never commit or roll back.

    Raises RuntimeError once the transaction has ended.
    """
    return sql_tx(tx).connection


def lock(tx: Tx, name: str) -> None:
    """Wait until no other transaction holds the lock of that name, and hold it until this one ends.

    For rules over several rows that no single statement can guard. On SQLite writers are alone anyway.
    """
    _hold(tx, _ALONE, name)


def lock_providers(tx: Tx, tenant_id: str) -> None:
    """Hold a tenant's providers and what is connected by them: whether one may change depends on whether it is in use."""
    lock(tx, f"providers:{tenant_id}")


def use_providers(tx: Tx, tenant_id: str) -> None:
    """Hold a tenant's providers as they are, beside others who do, and wait until nobody has them locked."""
    _hold(tx, _SHARED, f"providers:{tenant_id}")


def _hold(tx: Tx, how: TextClause, name: str) -> None:
    session = connection(tx)
    if session.dialect.name == "postgresql":
        session.execute(how, {"name": name})


def upsert(tx: Tx, table: Table) -> Any:
    """An insert that can go on at a conflict; both dialects spell it alike, SQLAlchemy types them apart."""
    if connection(tx).dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # here: loading Postgres costs a SQLite user 75 ms
    else:
        from sqlalchemy.dialects.sqlite import insert
    return insert(table)
