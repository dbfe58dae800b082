"""A Postgres connection as the hot path uses it."""

from collections.abc import Sequence

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from sqlalchemy import Table

from interlock.adapters.sql.composites import RowType
from interlock.adapters.sql.rows import SqlRow


class HotSession:
    """Binary parameters straight to libpq, without adaptation.

    `prepare` keeps the plans, for a connection that does nothing else.
    """

    def __init__(self, session: psycopg.Connection, row_types: dict[str, RowType], *, prepare: bool) -> None:
        self.session = session
        self._row_types = row_types
        self._prepare = prepare
        self._prepared: dict[str, bytes] = {}

    def array(self, table: Table, lines: Sequence[SqlRow]) -> bytes:
        """Rows as a parameter."""
        return self._row_types[table.name].array(lines)

    def execute(self, statement: str, parameters: Sequence[bytes]) -> list[tuple[str, ...]]:
        """The rows of the answer, as text. Raises psycopg.Error."""
        link = self.session.pgconn
        binary = [pq.Format.BINARY] * len(parameters)
        if link.transaction_status == pq.TransactionStatus.IDLE and not self.session.autocommit:
            self._answer(link.exec_(b"BEGIN"))  # the driver does so with its own first statement only
        if not self._prepare:
            return self._answer(link.exec_params(statement.encode(), parameters, None, binary))
        if (name := self._prepared.get(statement)) is None:
            name = f"hot{len(self._prepared)}".encode()
            self._answer(link.prepare(name, statement.encode()))
            self._prepared[statement] = name
        return self._answer(link.exec_prepared(name, parameters, binary))

    def _answer(self, result: pq.abc.PGresult) -> list[tuple[str, ...]]:
        if result.status == pq.ExecStatus.COMMAND_OK:
            return []
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise error_from_result(result)
        width = range(result.nfields)
        return [
            tuple((result.get_value(line, place) or b"").decode() for place in width) for line in range(result.ntuples)
        ]
