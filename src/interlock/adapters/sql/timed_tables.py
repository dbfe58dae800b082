"""The tables of what is due at its time."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint, text

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

polls = Table(
    "polls",
    metadata,
    Column("trigger_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("trigger", NAME, nullable=False),
    Column("connection", NAME),
    Column("handler", NAME, nullable=False),
    Column("config_json", Text, nullable=False),
    Column("priority", String(20), nullable=False),
    Column("interval_us", BigInteger, nullable=False),
    Column("pace_us", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),
    Column("next_at", Moment),
    Column("mark_json", Text),
    Column("found", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("problem", Text),
    Column("last_polled_at", Moment),
    Column("last_found_at", Moment),
    Column("revision", BigInteger, nullable=False),
    Column("created_by", NAME, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("retry_json", Text),
    UniqueConstraint("tenant_id", "name"),
    where(DUE, "next_at"),
)

# What a poll has met and may meet again.
polled_items = Table(
    "polled_items",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("trigger_id", ID, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("at", Moment, nullable=False),
    Index(None, "tenant_id", "trigger_id", "at"),
    sqlite_with_rowid=False,
)
