"""Which processes serve which lanes."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "worker_lanes",
        sa.Column("owner_id", sa.String(length=40), nullable=False),
        sa.Column("lane", sa.String(length=200), nullable=False),
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "lane", name=op.f("pk_worker_lanes")),
    )
