"""What is started at its time."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("schedule_id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("timing_json", sa.Text(), nullable=False),
        sa.Column("does", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("input_json", sa.Text(), nullable=False),
        sa.Column("connection", sa.String(length=200)),
        sa.Column("priority", sa.String(length=20), nullable=False),
        sa.Column("catch_up", sa.String(length=20), nullable=False),
        sa.Column("cap", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("last_due_at", sa.BigInteger()),
        sa.Column("last_fired_at", sa.BigInteger()),
        sa.Column("last_run_id", sa.String(length=40)),
        sa.Column("missed_at", sa.BigInteger()),
        sa.Column("problem", sa.Text()),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("schedule_id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_schedules_tenant_id_name")),
    )
    due = sa.text("next_at IS NOT NULL")
    op.create_index(op.f("ix_schedules_next_at"), "schedules", ["next_at"], sqlite_where=due, postgresql_where=due)
