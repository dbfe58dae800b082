"""Runs are found by their connection and by who asked for them, however many others there are."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    connected = sa.text("connection_id IS NOT NULL")
    columns = ["tenant_id", "connection_id", "created_at", "run_id"]
    name = op.f("ix_runs_tenant_id_connection_id_created_at_run_id")
    op.create_index(name, "runs", columns, sqlite_where=connected, postgresql_where=connected)
    op.create_index(
        op.f("ix_runs_tenant_id_actor_created_at_run_id"), "runs", ["tenant_id", "actor", "created_at", "run_id"]
    )
