"""Agents' sessions in SQL."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Select, Table, delete, insert, literal, select, update

from interlock.adapters.sql.rows import pack, unpack
from interlock.adapters.sql.tables import agent_exchanges as exchanges
from interlock.adapters.sql.tables import agent_sessions as table
from interlock.adapters.sql.tables import agent_summaries as summaries
from interlock.adapters.sql.transaction import connection, upsert
from interlock.kernel import Tx

if TYPE_CHECKING:  # and late in the functions: few commands are about agents
    from interlock import agents

_OF_A_SESSION: Final = (exchanges, summaries)


class AgentSessionRecords:
    """Implements `agents.sessions.Records`."""

    def insert(self, tx: Tx, session: "agents.sessions.Session") -> None:
        connection(tx).execute(insert(table).values(_row(session)))

    def replace(self, tx: Tx, before: "agents.sessions.Session", after: "agents.sessions.Session") -> bool:
        return connection(tx).execute(update(table).where(*_same(before)).values(_row(after))).rowcount == 1

    def find(self, tx: Tx, tenant_id: str, session_id: str) -> "agents.sessions.Session | None":
        query = select(table).where(table.c.tenant_id == tenant_id, table.c.session_id == session_id)
        return next(iter(_sessions(tx, query)), None)

    def list_sessions(self, tx: Tx, query: "agents.sessions.Query") -> "Sequence[agents.sessions.Session]":
        wanted = select(table).where(table.c.tenant_id == query.tenant_id)
        if query.agent_ids is not None:
            wanted = wanted.where(table.c.agent_id.in_(query.agent_ids))
        if query.cursor is not None:
            wanted = wanted.where(table.c.session_id < query.cursor)
        return _sessions(tx, wanted.order_by(table.c.session_id.desc()).limit(query.limit))

    def delete(self, tx: Tx, session: "agents.sessions.Session") -> bool:
        if connection(tx).execute(delete(table).where(*_same(session))).rowcount == 0:
            return False
        for each in _OF_A_SESSION:
            connection(tx).execute(delete(each).where(*_of(each, session.tenant_id, session.session_id)))
        return True

    def add_exchange(self, tx: Tx, exchange: "agents.sessions.Exchange") -> None:
        values = {column.name: getattr(exchange, column.name, None) for column in exchanges.columns}
        said = pack([each.model_dump(mode="json") for each in exchange.said])
        connection(tx).execute(insert(exchanges).values(values | {"said_json": said}))

    def list_exchanges(
        self, tx: Tx, tenant_id: str, session_id: str, *, after: int, upto: int
    ) -> "Sequence[agents.sessions.Exchange]":
        numbers = (exchanges.c.number > after, exchanges.c.number <= upto)
        query = select(exchanges).where(*_of(exchanges, tenant_id, session_id), *numbers).order_by(exchanges.c.number)
        return [_exchange(dict(row)) for row in connection(tx).execute(query).mappings()]

    def list_sizes(
        self, tx: Tx, tenant_id: str, session_id: str, *, after: int, upto: int, limit: int
    ) -> "Sequence[agents.sessions.Size]":
        from interlock import agents

        numbers = (exchanges.c.number > after, exchanges.c.number <= upto)
        query = select(exchanges.c.number, exchanges.c.tokens).where(*_of(exchanges, tenant_id, session_id), *numbers)
        newest = query.order_by(exchanges.c.number.desc()).limit(limit)
        return [agents.sessions.Size(number=row.number, tokens=row.tokens) for row in connection(tx).execute(newest)]

    def copy(self, tx: Tx, session: "agents.sessions.Session", into: "agents.sessions.Session") -> None:
        for each, number in ((exchanges, exchanges.c.number), (summaries, summaries.c.upto)):
            names = [column.name for column in each.columns]
            values = [literal(into.session_id) if name == "session_id" else each.c[name] for name in names]
            of = (*_of(each, session.tenant_id, session.session_id), number <= into.head)
            connection(tx).execute(insert(each).from_select(names, select(*values).where(*of)))

    def add_summary(self, tx: Tx, summary: "agents.sessions.Summary") -> bool:
        values = {column.name: getattr(summary, column.name) for column in summaries.columns}
        statement = upsert(tx, summaries).values(values).on_conflict_do_nothing(index_elements=["session_id", "upto"])
        return connection(tx).execute(statement.returning(summaries.c.upto)).first() is not None

    def find_summary(self, tx: Tx, tenant_id: str, session_id: str, upto: int) -> "agents.sessions.Summary | None":
        from interlock import agents

        query = select(summaries).where(*_of(summaries, tenant_id, session_id), summaries.c.upto == upto)
        row = connection(tx).execute(query).mappings().first()
        return None if row is None else agents.sessions.Summary(**row)


def _same(session: "agents.sessions.Session") -> tuple[ColumnElement[bool], ...]:
    return (*_of(table, session.tenant_id, session.session_id), table.c.revision == session.revision)


def _of(rows: Table, tenant_id: str, session_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return rows.c.tenant_id == tenant_id, rows.c.session_id == session_id


def _row(session: "agents.sessions.Session") -> dict[str, Any]:
    facts = {column.name: getattr(session, column.name, None) for column in table.columns}
    return facts | {"metadata_json": pack(dict(session.metadata))}


def _sessions(tx: Tx, query: Select[Any]) -> "list[agents.sessions.Session]":
    return [_session(dict(row)) for row in connection(tx).execute(query).mappings()]


def _session(facts: dict[str, Any]) -> "agents.sessions.Session":
    from interlock import agents

    return agents.sessions.Session(metadata=unpack(facts.pop("metadata_json")), **facts)


def _exchange(facts: dict[str, Any]) -> "agents.sessions.Exchange":
    from interlock import agents, inference

    said = tuple(inference.Message.model_validate(each, strict=False) for each in unpack(facts.pop("said_json")))
    return agents.sessions.Exchange(said=said, **facts)
