"""Jobs that are not due stand in a lane of their own, `~` before its name, where those who take do not pass them.

On Postgres only our own questions use the index of what is due when: the engine's would, and then sort all that it finds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("UPDATE jobs SET lane = '~' || lane WHERE holder IS NULL")
        op.drop_index(op.f("ix_jobs_lane_place"), "jobs")
        op.drop_column("jobs", "place")
        op.create_index(op.f("ix_jobs_lane_rank"), "jobs", ["lane", "rank"], sqlite_where=sa.text("holder IS NULL"))
        return
    op.execute("UPDATE interlock_pgqueuer SET entrypoint = '~' || entrypoint WHERE status = 'queued'")
    op.execute("DROP INDEX interlock_pgqueuer_ep_ea_idx")
    op.execute(
        "CREATE INDEX interlock_pgqueuer_due_idx ON interlock_pgqueuer (entrypoint, execute_after)"
        " WHERE status = 'queued' AND id > 0"
    )
