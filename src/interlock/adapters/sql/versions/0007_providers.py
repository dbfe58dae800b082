"""Providers that a tenant imported."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "providers",
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.Column("provider_id", sa.String(length=60), nullable=False),
        sa.Column("provider_json", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("format", sa.String(length=20), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_digest", sa.String(length=80), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("missing", sa.Text(), nullable=False),
        sa.Column("open_host", sa.Boolean(), nullable=False),
        sa.Column("imported_by", sa.String(length=200), nullable=False),
        sa.Column("imported_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "provider_id", name=op.f("pk_providers")),
    )
