"""The tables of outgoing events."""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text, text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata, where

PENDING: Final = text("'pending'")
"""As a literal: only so does SQLite see that the index has all that a query may find."""

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("subscription_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("url", Text, nullable=False),
    Column("types", Text, nullable=False),
    Column("capabilities", Text, nullable=False),
    Column("connections", Text, nullable=False),
    Column("scheme", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", Text),
    Column("key_id", ID, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("public_keys", Text, nullable=False),
    Column("overlap_until", Moment),
    Column("failing_since", Moment),
    Column("revision", BigInteger, nullable=False),
    Column("created_by", NAME, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index(None, "tenant_id", "subscription_id"),
)

# The tenants whose events somebody hears. The hot path looks here before it writes to the outbox.
feeds = Table(
    "feeds",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("until", Moment, nullable=False),
    Column("kept_after", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Events that have no place in the feed yet, by the run or the connection whose own history has them; `own_json` has those that
# no other table keeps.
outbox = Table(
    "outbox",
    metadata,
    Column("subject_id", ID, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant_id", NAME, nullable=False),
    Column("own_json", Text),
    sqlite_with_rowid=False,
)

feed_events = Table(
    "feed_events",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant_id", NAME, nullable=False),
    Column("event_id", ID, nullable=False),
    Column("type", String(60), nullable=False),
    Column("at", Moment, nullable=False),
    Column("capability", NAME),
    Column("connection_id", ID),
    Column("data_json", Text, nullable=False),
    Index(None, "tenant_id", "position"),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("subscription_id", ID, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("type", String(60), nullable=False),
    Column("state", String(20), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("claimed_until", Moment),
    Column("status", Integer),
    Column("error", Text),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Index(None, "subscription_id", "message_id"),
    where(text(f"state = {PENDING.text}"), "subscription_id", "due_at"),
)
