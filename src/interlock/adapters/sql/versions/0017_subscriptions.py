"""Outgoing events: subscriptions, the outbox, the feed, and messages."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

ID, NAME, MOMENT = sa.String(length=40), sa.String(length=200), sa.BigInteger()


def upgrade() -> None:
    _subscriptions()
    op.create_table(
        "feeds",
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("kept_after", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_feeds")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("subject_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("own_json", sa.Text()),
        sa.PrimaryKeyConstraint("subject_id", "seq", name=op.f("pk_outbox")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feed_events",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("capability", NAME),
        sa.Column("connection_id", ID),
        sa.Column("data_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_feed_events")),
    )
    op.create_index(op.f("ix_feed_events_tenant_id_position"), "feed_events", ["tenant_id", "position"])
    _messages()


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("subscription_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=False),
        sa.Column("connections", sa.Text(), nullable=False),
        sa.Column("scheme", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("key_id", ID, nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("public_keys", sa.Text(), nullable=False),
        sa.Column("overlap_until", MOMENT),
        sa.Column("failing_since", MOMENT),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_by", NAME, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_subscriptions")),
    )
    op.create_index(
        op.f("ix_subscriptions_tenant_id_subscription_id"), "subscriptions", ["tenant_id", "subscription_id"]
    )


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("subscription_id", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("claimed_until", MOMENT),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_subscription_id_message_id"), "messages", ["subscription_id", "message_id"])
    pending = sa.text("state = 'pending'")
    op.create_index(
        op.f("ix_messages_subscription_id_due_at"),
        "messages",
        ["subscription_id", "due_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
