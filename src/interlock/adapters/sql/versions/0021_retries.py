"""How often the work of a trigger and of a poll is tried; of those that are there already, as often as before."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    for table in ("triggers", "polls"):
        op.add_column(table, sa.Column("retry_json", sa.Text()))
