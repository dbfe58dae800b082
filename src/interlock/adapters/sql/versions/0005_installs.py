"""The life of a credential: installs, clients, what happened to a connection, and what its refresh needs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ID, NAME, MOMENT = sa.String(length=40), sa.String(length=200), sa.BigInteger()


def upgrade() -> None:
    for column in (
        # The defaults are for the rows that are there.
        sa.Column("management_mode", sa.String(length=20), nullable=False, server_default="manual"),
        sa.Column("secret_source", sa.String(length=20), nullable=False, server_default="stored"),
        sa.Column("source_json", sa.Text()),
        sa.Column("params_json", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("refresh_due_at", MOMENT),
        sa.Column("refresh_fence", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("refresh_owner_id", ID),
        sa.Column("refresh_until", MOMENT),
        sa.Column("refresh_credential_id", ID),
        sa.Column("refresh_failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("refreshed_at", MOMENT),
        sa.Column("broken_at", MOMENT),
        sa.Column("head_seq", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("head_hash", sa.String(length=80)),
    ):
        op.add_column("connections", column)
    _index_where_set("connections", "refresh_due_at")
    for column in (
        sa.Column("superseded_at", MOMENT),
        sa.Column("overlap_until", MOMENT),
        sa.Column("grant_json", sa.Text()),
    ):
        op.add_column("credentials", column)
    _installs()
    _oauth_clients()
    _connection_events()


def _installs() -> None:
    op.create_table(
        "installs",
        sa.Column("install_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("connector_id", NAME, nullable=False),
        sa.Column("profile_id", NAME, nullable=False),
        sa.Column("connection_name", NAME, nullable=False),
        sa.Column("connection_id", ID),
        sa.Column("actor", NAME, nullable=False),
        sa.Column("flow", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", NAME),
        sa.Column("base_url", sa.Text()),
        sa.Column("params_json", sa.Text(), nullable=False),
        sa.Column("scopes_asked", sa.Text(), nullable=False),
        sa.Column("link_digest", sa.String(length=80)),
        sa.Column("state_digest", sa.String(length=80)),
        sa.Column("browser_digest", sa.String(length=80)),
        sa.Column("redirect_uri", sa.Text()),
        sa.Column("issuer", sa.Text()),
        sa.Column("oauth_client_id", ID),
        sa.Column("key_id", ID),
        sa.Column("nonce", sa.LargeBinary()),
        sa.Column("ciphertext", sa.LargeBinary()),
        sa.Column("found_json", sa.Text()),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("install_id", name=op.f("pk_installs")),
        sa.UniqueConstraint("link_digest", name=op.f("uq_installs_link_digest")),
        sa.UniqueConstraint("state_digest", name=op.f("uq_installs_state_digest")),
    )
    op.create_index(op.f("ix_installs_tenant_id_install_id"), "installs", ["tenant_id", "install_id"])
    op.create_index(op.f("ix_installs_expires_at"), "installs", ["expires_at"])
    _index_where_set("installs", "key_id")


def _oauth_clients() -> None:
    op.create_table(
        "oauth_clients",
        sa.Column("oauth_client_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("connector_id", NAME, nullable=False),
        sa.Column("issuer", NAME, nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("registration", sa.String(length=20), nullable=False),
        sa.Column("client_auth", sa.String(length=20), nullable=False),
        sa.Column("redirect_uris", sa.Text(), nullable=False),
        sa.Column("key_id", ID),
        sa.Column("nonce", sa.LargeBinary()),
        sa.Column("ciphertext", sa.LargeBinary()),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("oauth_client_id", name=op.f("pk_oauth_clients")),
        sa.UniqueConstraint(
            "tenant_id", "connector_id", "issuer", name=op.f("uq_oauth_clients_tenant_id_connector_id_issuer")
        ),
    )
    _index_where_set("oauth_clients", "key_id")


def _connection_events() -> None:
    op.create_table(
        "connection_events",
        sa.Column("connection_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("tenant_id", NAME, nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "seq", name=op.f("pk_connection_events")),
    )


def _index_where_set(table: str, column: str) -> None:
    condition = sa.text(f"{column} IS NOT NULL")
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column], sqlite_where=condition, postgresql_where=condition)
