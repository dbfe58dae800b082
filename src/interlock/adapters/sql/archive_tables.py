"""The tables of what has left the ledger."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint, text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata

OPEN: Final = text("closed_at IS NULL")

archives = Table(
    "archives",
    metadata,
    Column("archive_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("number", Integer, nullable=False),
    Column("folder", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("runs", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("after", String(80), nullable=False),
    Column("head", String(80), nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("claimed_until", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("seal_json", Text),
    UniqueConstraint("tenant_id", "number"),
    # One that is being written at a time.
    Index(None, "tenant_id", unique=True, sqlite_where=OPEN, postgresql_where=OPEN),
)

archived_runs = Table(
    "archived_runs",
    metadata,
    Column("run_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("archive_id", ID, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("created_at", Moment, nullable=False),
    sqlite_with_rowid=False,
)
