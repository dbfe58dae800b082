"""Rotation of keys that goes on where a killed process left it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "key_rotations",
        sa.Column("rotation_id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=200), nullable=False),
        sa.Column("to_key_id", sa.String(length=40), nullable=False),
        sa.Column("holding", sa.String(length=60), nullable=False),
        sa.Column("cursor", sa.String(length=200), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("resealed", sa.BigInteger(), nullable=False),
        sa.Column("unopened", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("rotation_id", name=op.f("pk_key_rotations")),
    )
    unfinished = sa.text("finished_at IS NULL")
    op.create_index(
        op.f("ix_key_rotations_tenant_id"),
        "key_rotations",
        ["tenant_id"],
        unique=True,
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    op.drop_index("ix_credentials_key_id", "credentials")
    sealed = sa.text("ciphertext IS NOT NULL")
    op.create_index(
        op.f("ix_credentials_tenant_id_credential_id"),
        "credentials",
        ["tenant_id", "credential_id"],
        sqlite_where=sealed,
        postgresql_where=sealed,
    )
