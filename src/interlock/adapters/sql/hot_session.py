"""A Postgres connection as the hot path uses it."""

from collections.abc import Sequence
from itertools import count
from typing import Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from sqlalchemy import Table

from interlock.adapters.sql.composites import RowType
from interlock.adapters.sql.rows import SqlRow

_KNOWN: Final = "SELECT name FROM pg_prepared_statements WHERE name LIKE 'hot%'"


class HotSession:
    """Binary parameters straight to libpq, without adaptation.

    `prepare` keeps the plans. Where the driver prepares statements, too, it may have the server forget all of them when it rolls
    back: then `rolled_back` has to be called.
    """

    def __init__(self, session: psycopg.Connection, row_types: dict[str, RowType], *, prepare: bool) -> None:
        self.session = session
        self._row_types = row_types
        self._prepare = prepare
        self._prepared: dict[str, bytes] = {}
        self._names = count()
        self._doubtful = False

    def rolled_back(self) -> None:
        """The driver has rolled back, or will at once: what is prepared has to be looked for again."""
        self._doubtful = bool(self._prepared)

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
        if self._doubtful:
            known = {name.encode() for (name,) in self._answer(link.exec_(_KNOWN.encode()))}
            self._prepared = {text: name for text, name in self._prepared.items() if name in known}
            self._doubtful = False
        if (name := self._prepared.get(statement)) is None:
            name = f"hot{next(self._names)}".encode()
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
