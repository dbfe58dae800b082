"""The tables of webhooks: routes, what is done about their events, what came, and what was seen before."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, text

from interlock.adapters.sql.columns import ID, NAME, Moment, metadata, where_set

INSTALLED: Final = text("app_route_id IS NOT NULL")
"""Of routes that are installs of an app: two with the same values would claim the same deliveries."""

routes = Table(
    "routes",
    metadata,
    Column("route_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("connector_id", NAME, nullable=False),
    Column("topology", String(20), nullable=False),
    Column("app_route_id", ID),
    Column("connection_id", ID),
    Column("token_digest", String(80), unique=True),
    Column("resolution_json", Text, nullable=False),
    Column("resolution_digest", String(80)),
    Column("verification_json", Text, nullable=False),
    Column("key_id", ID),
    Column("nonce", LargeBinary),
    Column("ciphertext", LargeBinary),
    Column("secret_version", Integer, nullable=False),
    Column("former_until", Moment),
    Column("awaiting_until", Moment),
    Column("dedupe_seconds", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_by", NAME, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index(None, "tenant_id", "route_id"),
    Index(None, "app_route_id", "resolution_digest", unique=True, sqlite_where=INSTALLED, postgresql_where=INSTALLED),
    where_set("key_id"),
)

triggers = Table(
    "triggers",
    metadata,
    Column("trigger_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("connector_id", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("connection_id", ID),
    Column("handler", NAME, nullable=False),
    Column("config_json", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_by", NAME, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("retry_json", Text),
    Index(None, "tenant_id", "trigger_id"),
)

route_triggers = Table(
    "route_triggers",
    metadata,
    Column("route_id", ID, ForeignKey("routes.route_id"), primary_key=True),
    Column("trigger_id", ID, ForeignKey("triggers.trigger_id"), primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Index(None, "trigger_id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("route_id", ID, nullable=False),
    Column("connector_id", NAME, nullable=False),
    Column("external_id", String(255)),
    Column("digest", String(80)),
    Column("state", String(20), nullable=False),
    Column("reason", NAME),
    Column("received_at", Moment, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("body", LargeBinary),
    Column("headers_json", Text, nullable=False),
    Column("facts_json", Text, nullable=False),
    Index(None, "tenant_id", "delivery_id"),
    Index(None, "route_id", "state", "delivery_id"),
)

delivery_needs = Table(
    "delivery_needs",
    metadata,
    Column("delivery_id", ID, primary_key=True),
    Column("run_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    sqlite_with_rowid=False,
)

dedupe_keys = Table(
    "dedupe_keys",
    metadata,
    Column("route_id", ID, primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("delivery_id", ID, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "expires_at"),
    sqlite_with_rowid=False,
)

key_sets = Table(
    "key_sets",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("url_digest", String(80), primary_key=True),
    Column("keys_text", Text, nullable=False),
    Column("fetched_at", Moment, nullable=False),
    Index(None, "fetched_at"),
)
