"""Archives: runs that left the ledger as packets, and rows that can go as quickly as they came."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

ID, NAME, MOMENT = sa.String(length=40), sa.String(length=200), sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "archives",
        sa.Column("archive_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("after", sa.String(length=80), nullable=False),
        sa.Column("head", sa.String(length=80), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("claimed_until", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.Column("seal_json", sa.Text()),
        sa.PrimaryKeyConstraint("archive_id", name=op.f("pk_archives")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_archives_tenant_id_number")),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        op.f("ix_archives_tenant_id"), "archives", ["tenant_id"], unique=True,
        sqlite_where=is_open, postgresql_where=is_open,
    )  # fmt: skip
    op.create_table(
        "archived_runs",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("archive_id", ID, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_archived_runs")),
        sqlite_with_rowid=False,
    )
    # Nothing finds sends by their attempt alone, so that each attempt that goes would have looked through all of them.
    if op.get_bind().dialect.name == "sqlite":
        _sends_alone()
    else:
        op.drop_constraint("fk_sends_attempt_id", "sends", type_="foreignkey")


def _sends_alone() -> None:
    op.rename_table("sends", "sends_of_attempts")
    op.create_table(
        "sends",
        sa.Column("send_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("attempt_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("target_class", NAME, nullable=False),
        sa.Column("intent_json", sa.Text(), nullable=False),
        sa.Column("intent_digest", sa.String(length=80), nullable=False),
        sa.Column("delivery", sa.String(length=20), nullable=False),
        sa.Column("receipt_json", sa.Text()),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("send_id", name=op.f("pk_sends")),
        sa.UniqueConstraint("run_id", "attempt_id", "number", name=op.f("uq_sends_run_id_attempt_id_number")),
    )
    op.execute("INSERT INTO sends SELECT * FROM sends_of_attempts")
    op.drop_table("sends_of_attempts")
