"""What workers are handed, and what keeps it from them."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata, where

DUE: Final = text("standing = 'due'")

NOT_DUE: Final = text("standing <> 'due'")
"""Dead letters, and work that waits for more than its moment: what people look at."""

# A row lives from a run's admission to its end: most of them are gone a moment later, so that few indexes are worth it.
dispatches = Table(
    "dispatches",
    metadata,
    Column("run_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("lane", NAME, nullable=False),
    Column("capability", NAME, nullable=False),
    Column("connection_id", ID),
    Column("rank", BigInteger, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("number", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("retry", Text, nullable=False),
    Column("standing", String(20), nullable=False),
    Column("why", NAME),
    Column("deadline_at", Moment),
    Column("submitted_at", Moment, nullable=False),
    where(DUE, "due_at", "run_id"),
    where(NOT_DUE, "tenant_id", "standing", "submitted_at", "run_id"),
)

# Which live processes serve which lanes, so that people hear of work that nobody does.
worker_lanes = Table(
    "worker_lanes",
    metadata,
    Column("owner_id", ID, primary_key=True),
    Column("lane", NAME, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("scope", String(20), primary_key=True),
    Column("subject", NAME, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("at", Moment, nullable=False),
)
