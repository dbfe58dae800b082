"""Conversations with agents, and what each of their turns left."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

ID, NAME, DIGEST, MOMENT = sa.String(length=40), sa.String(length=200), sa.String(length=80), sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "agent_sessions",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("agent_id", NAME, nullable=False),
        sa.Column("fingerprint", DIGEST, nullable=False),
        sa.Column("title", NAME),
        sa.Column("metadata_json", sa.Text(), nullable=False),
        sa.Column("head", sa.Integer(), nullable=False),
        sa.Column("summed_up", sa.Integer(), nullable=False),
        sa.Column("open_turn", ID),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("forked_from", ID),
        sa.Column("forked_at", sa.Integer()),
        sa.Column("created_by", NAME, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_agent_sessions")),
    )
    op.create_index(
        op.f("ix_agent_sessions_tenant_id_agent_id_session_id"),
        "agent_sessions",
        ["tenant_id", "agent_id", "session_id"],
    )
    op.create_index(op.f("ix_agent_sessions_updated_at"), "agent_sessions", ["updated_at"])
    op.create_table(
        "agent_exchanges",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("turn_id", ID, nullable=False),
        sa.Column("fingerprint", DIGEST, nullable=False),
        sa.Column("failure", NAME),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("said_json", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "number", name=op.f("pk_agent_exchanges")),
    )
    op.create_table(
        "agent_summaries",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("upto", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "upto", name=op.f("pk_agent_summaries")),
    )
