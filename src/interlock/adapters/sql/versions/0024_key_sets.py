"""Issuers' keys outlive the process that fetched them."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "key_sets",
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.Column("url_digest", sa.String(length=80), nullable=False),
        sa.Column("keys_text", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "url_digest", name=op.f("pk_key_sets")),
    )
    op.create_index(op.f("ix_key_sets_fetched_at"), "key_sets", ["fetched_at"], unique=False)
