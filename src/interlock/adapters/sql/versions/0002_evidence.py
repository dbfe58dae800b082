"""Evidence of executions outside of runs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "evidence",
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("record_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "finished_at", "digest", name=op.f("pk_evidence")),
    )
