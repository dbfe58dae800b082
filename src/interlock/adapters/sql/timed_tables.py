"""The tables of what is due at its time."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, UniqueConstraint, text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata, where

DUE: Final = text("next_at IS NOT NULL")
"""Of what is active: the rest is never looked for by its time."""

schedules = Table(
    "schedules",
    metadata,
    Column("schedule_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("timing_json", Text, nullable=False),
    Column("does", String(20), nullable=False),
    Column("subject", NAME, nullable=False),
    Column("input_json", Text, nullable=False),
    Column("connection", NAME),
    Column("priority", String(20), nullable=False),
    Column("catch_up", String(20), nullable=False),
    Column("cap", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("next_at", Moment),
    Column("number", BigInteger, nullable=False),
    Column("last_due_at", Moment),
    Column("last_fired_at", Moment),
    Column("last_run_id", ID),
    Column("missed_at", Moment),
    Column("problem", Text),
    Column("revision", BigInteger, nullable=False),
    Column("created_by", NAME, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("tenant_id", "name"),
    where(DUE, "next_at"),
)
