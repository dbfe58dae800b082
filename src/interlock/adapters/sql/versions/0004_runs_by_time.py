"""Runs are found by when they were asked for: the indexes that list them are in that order."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name in ("ix_runs_tenant_id_run_id", "ix_runs_tenant_id_state_run_id", "ix_runs_tenant_id_capability_run_id"):
        op.drop_index(name, "runs")
    _index("tenant_id", "created_at", "run_id")
    _index("tenant_id", "capability", "created_at", "run_id")
    unfinished = sa.text("state <> 'completed'")
    _index("tenant_id", "state", "created_at", "run_id", sqlite_where=unfinished, postgresql_where=unfinished)


def _index(*columns: str, **where: sa.TextClause) -> None:
    op.create_index(op.f(f"ix_runs_{'_'.join(columns)}"), "runs", columns, **where)
