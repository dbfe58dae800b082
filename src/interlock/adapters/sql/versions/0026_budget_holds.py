"""What is reserved of budgets before it is known what a call comes to."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

NAME, MOMENT = sa.String(length=200), sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "budget_holds",
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("budget", NAME, nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("counter", NAME, nullable=False),
        sa.Column("unit", NAME, nullable=False),
        sa.Column("window_start", MOMENT, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "holder", "budget", "subject", "counter", name=op.f("pk_budget_holds")),
    )
    op.create_index(op.f("ix_budget_holds_created_at"), "budget_holds", ["created_at"])
