"""Work for workers, and what is kept from them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

ID, NAME, MOMENT = sa.String(length=40), sa.String(length=200), sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "dispatches",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("lane", NAME, nullable=False),
        sa.Column("capability", NAME, nullable=False),
        sa.Column("connection_id", ID, nullable=True),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("retry", sa.Text(), nullable=False),
        sa.Column("standing", sa.String(length=20), nullable=False),
        sa.Column("why", NAME, nullable=True),
        sa.Column("deadline_at", MOMENT, nullable=True),
        sa.Column("submitted_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_dispatches")),
    )
    due, not_due = sa.text("standing = 'due'"), sa.text("standing <> 'due'")
    op.create_index(
        op.f("ix_dispatches_due_at_run_id"), "dispatches", ["due_at", "run_id"], sqlite_where=due, postgresql_where=due
    )
    op.create_index(
        op.f("ix_dispatches_tenant_id_standing_submitted_at_run_id"),
        "dispatches",
        ["tenant_id", "standing", "submitted_at", "run_id"],
        sqlite_where=not_due,
        postgresql_where=not_due,
    )
    op.create_table(
        "pauses",
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", NAME, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "scope", "subject", name=op.f("pk_pauses")),
    )
