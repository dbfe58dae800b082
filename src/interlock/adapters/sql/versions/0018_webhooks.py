"""Webhooks: routes, triggers, deliveries, and what was seen before."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

ID, NAME, MOMENT = sa.String(length=40), sa.String(length=200), sa.BigInteger()
STATE, DIGEST = sa.String(length=20), sa.String(length=80)


def upgrade() -> None:
    _routes()
    _triggers()
    _deliveries()


def _routes() -> None:
    op.create_table(
        "routes",
        sa.Column("route_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("connector_id", NAME, nullable=False),
        sa.Column("topology", STATE, nullable=False),
        sa.Column("app_route_id", ID),
        sa.Column("connection_id", ID),
        sa.Column("token_digest", DIGEST),
        sa.Column("resolution_json", sa.Text(), nullable=False),
        sa.Column("resolution_digest", DIGEST),
        sa.Column("verification_json", sa.Text(), nullable=False),
        sa.Column("key_id", ID),
        sa.Column("nonce", sa.LargeBinary()),
        sa.Column("ciphertext", sa.LargeBinary()),
        sa.Column("secret_version", sa.Integer(), nullable=False),
        sa.Column("former_until", MOMENT),
        sa.Column("awaiting_until", MOMENT),
        sa.Column("dedupe_seconds", sa.Integer(), nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_by", NAME, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("route_id", name=op.f("pk_routes")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_routes_token_digest")),
    )
    op.create_index(op.f("ix_routes_tenant_id_route_id"), "routes", ["tenant_id", "route_id"])
    installed, sealed = sa.text("app_route_id IS NOT NULL"), sa.text("key_id IS NOT NULL")
    op.create_index(
        op.f("ix_routes_app_route_id_resolution_digest"),
        "routes",
        ["app_route_id", "resolution_digest"],
        unique=True,
        sqlite_where=installed,
        postgresql_where=installed,
    )
    op.create_index(op.f("ix_routes_key_id"), "routes", ["key_id"], sqlite_where=sealed, postgresql_where=sealed)


def _triggers() -> None:
    op.create_table(
        "triggers",
        sa.Column("trigger_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("connector_id", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("connection_id", ID),
        sa.Column("handler", NAME, nullable=False),
        sa.Column("config_json", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("created_by", NAME, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("trigger_id", name=op.f("pk_triggers")),
    )
    op.create_index(op.f("ix_triggers_tenant_id_trigger_id"), "triggers", ["tenant_id", "trigger_id"])
    op.create_table(
        "route_triggers",
        sa.Column("route_id", ID, nullable=False),
        sa.Column("trigger_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.PrimaryKeyConstraint("route_id", "trigger_id", name=op.f("pk_route_triggers")),
        sa.ForeignKeyConstraint(["route_id"], ["routes.route_id"], name=op.f("fk_route_triggers_route_id")),
        sa.ForeignKeyConstraint(["trigger_id"], ["triggers.trigger_id"], name=op.f("fk_route_triggers_trigger_id")),
    )
    op.create_index(op.f("ix_route_triggers_trigger_id"), "route_triggers", ["trigger_id"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("route_id", ID, nullable=False),
        sa.Column("connector_id", NAME, nullable=False),
        sa.Column("external_id", sa.String(length=255)),
        sa.Column("digest", DIGEST),
        sa.Column("state", STATE, nullable=False),
        sa.Column("reason", NAME),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("headers_json", sa.Text(), nullable=False),
        sa.Column("facts_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_tenant_id_delivery_id"), "deliveries", ["tenant_id", "delivery_id"])
    op.create_index(
        op.f("ix_deliveries_route_id_state_delivery_id"), "deliveries", ["route_id", "state", "delivery_id"]
    )
    op.create_table(
        "dedupe_keys",
        sa.Column("route_id", ID, nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("route_id", "key", name=op.f("pk_dedupe_keys")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_dedupe_keys_expires_at"), "dedupe_keys", ["expires_at"])
