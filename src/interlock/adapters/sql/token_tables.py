"""The table of API tokens."""

from sqlalchemy import Column, Index, String, Table, Text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata

# Of what opens only a digest is kept.
tokens = Table(
    "tokens",
    metadata,
    Column("token_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("digest", String(80), nullable=False, unique=True),
    Column("name", NAME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("roles", Text, nullable=False),
    Column("capabilities", Text),
    Column("connections", Text),
    Column("created_by", NAME, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Index(None, "tenant_id", "token_id"),
)
