"""The table of queued jobs on SQLite. On Postgres a queue's tables are its engine's own."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, UniqueConstraint, text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata, where

sqlite_metadata = MetaData(naming_convention=metadata.naming_convention)
"""Apart from what both databases have."""

_WAITING = text("holder IS NULL")
_HELD = text("holder IS NOT NULL")

jobs = Table(
    "jobs",
    sqlite_metadata,
    Column("job_id", Integer, primary_key=True),
    Column("work_id", ID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("tenant_id", NAME, nullable=False),
    Column("lane", NAME, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("rank", BigInteger, nullable=False),
    Column("holder", String(40)),
    Column("ticket", BigInteger),
    Column("held_until", Moment),
    UniqueConstraint("work_id", "number"),
    where(_WAITING, "lane", "rank"),
    where(_WAITING, "lane", "due_at"),
    where(_HELD, "held_until"),
)
