"""Alembic's entry: runs migrations on the connection that `schema.upgrade` hands over. Never imported by our code."""

from alembic import context

from interlock.adapters.sql.schema import VERSION_TABLE
from interlock.adapters.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()  # inside the caller's transaction
