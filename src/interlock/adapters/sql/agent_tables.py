"""The tables of agents' sessions."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata

agent_sessions = Table(
    "agent_sessions",
    metadata,
    Column("session_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("agent_id", NAME, nullable=False),
    Column("fingerprint", String(80), nullable=False),
    Column("title", NAME),
    Column("metadata_json", Text, nullable=False),
    Column("head", Integer, nullable=False),
    Column("summed_up", Integer, nullable=False),
    Column("open_turn", ID),
    Column("revision", BigInteger, nullable=False),
    Column("forked_from", ID),
    Column("forked_at", Integer),
    Column("created_by", NAME, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index(None, "tenant_id", "agent_id", "session_id"),
    Index(None, "updated_at"),
)

agent_exchanges = Table(
    "agent_exchanges",
    metadata,
    Column("session_id", ID, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tenant_id", NAME, nullable=False),
    Column("turn_id", ID, nullable=False),
    Column("fingerprint", String(80), nullable=False),
    Column("failure", NAME),
    Column("tokens", BigInteger, nullable=False),
    Column("said_json", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

agent_summaries = Table(
    "agent_summaries",
    metadata,
    Column("session_id", ID, primary_key=True),
    Column("upto", Integer, primary_key=True, autoincrement=False),
    Column("tenant_id", NAME, nullable=False),
    Column("text", Text, nullable=False),
    Column("run_id", ID, nullable=False),
    Column("at", Moment, nullable=False),
)
