"""Credential versions that were superseded are found without looking at all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    overlapping = sa.text("overlap_until IS NOT NULL AND revoked_at IS NULL")
    op.create_index(
        op.f("ix_credentials_overlap_until"),
        "credentials",
        ["overlap_until"],
        sqlite_where=overlapping,
        postgresql_where=overlapping,
    )
