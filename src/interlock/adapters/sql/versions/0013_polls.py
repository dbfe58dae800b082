"""What services are asked again and again, and what of their answers is known."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "polls",
        sa.Column("trigger_id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("trigger", sa.String(length=200), nullable=False),
        sa.Column("connection", sa.String(length=200)),
        sa.Column("handler", sa.String(length=200), nullable=False),
        sa.Column("config_json", sa.Text(), nullable=False),
        sa.Column("priority", sa.String(length=20), nullable=False),
        sa.Column("interval_us", sa.BigInteger(), nullable=False),
        sa.Column("pace_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("mark_json", sa.Text()),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("last_polled_at", sa.BigInteger()),
        sa.Column("last_found_at", sa.BigInteger()),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("trigger_id", name=op.f("pk_polls")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_polls_tenant_id_name")),
    )
    due = sa.text("next_at IS NOT NULL")
    op.create_index(op.f("ix_polls_next_at"), "polls", ["next_at"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "polled_items",
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.Column("trigger_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "trigger_id", "key", name=op.f("pk_polled_items")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_polled_items_tenant_id_trigger_id_at"), "polled_items", ["tenant_id", "trigger_id", "at"])
