"""The queue of jobs on SQLite."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ID, NAME, MOMENT = sa.String(length=40), sa.String(length=200), sa.BigInteger()


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("work_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("lane", NAME, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=40)),
        sa.Column("ticket", sa.BigInteger()),
        sa.Column("held_until", MOMENT),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("work_id", "number", name=op.f("uq_jobs_work_id_number")),
    )
    waiting, held = sa.text("holder IS NULL"), sa.text("holder IS NOT NULL")
    op.create_index(op.f("ix_jobs_lane_place"), "jobs", ["lane", "place"], sqlite_where=waiting)
    op.create_index(op.f("ix_jobs_lane_due_at"), "jobs", ["lane", "due_at"], sqlite_where=waiting)
    op.create_index(op.f("ix_jobs_held_until"), "jobs", ["held_until"], sqlite_where=held)
