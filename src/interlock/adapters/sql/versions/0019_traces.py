"""What led to a run, as a trace tells it."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("runs", sa.Column("traceparent", sa.String(length=60)))
