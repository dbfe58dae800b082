"""Every table of the ledger. Moments are whole microseconds (`kernel.to_micros`), JSON is canonical text."""

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from interlock.kernel import from_micros, to_micros


class Moment(TypeDecorator[datetime]):
    """An aware datetime kept as a 64-bit number of microseconds: exact, sortable, the same on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else from_micros(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Id = String(40)
_Name = String(200)


def _where(condition: TextClause, *names: str) -> Index:
    """An index over some rows. SQLite uses it for a query that says the same condition in the same words."""
    return Index(None, *names, sqlite_where=condition, postgresql_where=condition)


def _where_set(name: str) -> Index:
    """An index over the rows that have a value there, for columns that are seldom set."""
    return _where(text(f"{name} IS NOT NULL"), name)


NOT_COMPLETED: Final = text("state <> 'completed'")
"""Nearly all runs are completed: those are found as well without an index of their states, and each costs two entries less."""

RUNNING: Final = text("state = 'running'")

TRACED: Final = text("trace_id <> run_id")
"""Of a run whose trace begins elsewhere: any other has its trace's id."""


# Where rows are small, SQLite keeps them in the tree of their key (no rowid): one page to write instead of two. A row of more
# than about 1,000 bytes would spill from such a tree into a page of its own, and events, of which a run writes some now and
# some later, would go between those of other runs and split pages that are full.
#
# What hangs on a run is only ever written by a statement that joins the run's own row, so it needs no foreign key: on
# Postgres the checks, one per row, took a quarter of the server's time. An attempt and a lease keep theirs.
runs = Table(
    "runs",
    metadata,
    Column("run_id", _Id, primary_key=True),
    Column("tenant_id", _Name, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("origin", String(20), nullable=False),
    Column("parent_run_id", _Id),
    Column("capability", _Name, nullable=False),
    Column("connector_id", _Name),
    Column("connector_version", String(64)),
    Column("manifest_digest", String(80)),
    Column("connection_id", _Id),
    Column("actor", _Name, nullable=False),
    Column("environment", _Name, nullable=False),
    Column("trace_id", _Name, nullable=False),
    Column("targets", Text, nullable=False),
    Column("idempotency_key", _Name),
    Column("input_json", Text, nullable=False),
    Column("input_digest", String(80), nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", _Name),
    Column("fence", BigInteger, nullable=False),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_hash", String(80), nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("approval_id", _Id),
    Column("error", Text),
    Column("signature", Text),
    Column("signing_key_id", _Name),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("deadline_at", Moment),
    Index(None, "tenant_id", "created_at", "run_id"),
    _where(NOT_COMPLETED, "tenant_id", "state", "created_at", "run_id"),
    Index(None, "tenant_id", "capability", "created_at", "run_id"),
    _where_set("parent_run_id"),
    _where(TRACED, "trace_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", _Name, primary_key=True),
    Column("capability", _Name, primary_key=True),
    Column("key", _Name, primary_key=True),
    Column("run_id", _Id, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "expires_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", _Id, primary_key=True),
    Column("run_id", _Id, ForeignKey("runs.run_id"), nullable=False),
    Column("tenant_id", _Name, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("owner_id", _Id, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lease_id", _Id),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("error", Text),
    UniqueConstraint("run_id", "number"),
    _where(RUNNING, "owner_id"),
    sqlite_with_rowid=False,
)

sends = Table(
    "sends",
    metadata,
    Column("send_id", _Id, primary_key=True),
    Column("run_id", _Id, nullable=False),
    Column("attempt_id", _Id, ForeignKey("attempts.attempt_id"), nullable=False),
    Column("tenant_id", _Name, nullable=False),
    Column("number", Integer, nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("target_class", _Name, nullable=False),
    Column("intent_json", Text, nullable=False),
    Column("intent_digest", String(80), nullable=False),
    Column("delivery", String(20), nullable=False),
    Column("receipt_json", Text),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    UniqueConstraint("run_id", "attempt_id", "number"),
)

events = Table(
    "events",
    metadata,
    Column("run_id", _Id, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", _Id, nullable=False),
    Column("tenant_id", _Name, nullable=False),
    Column("type", String(60), nullable=False),
    Column("at", Moment, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", String(80), nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact_id", _Id, primary_key=True),
    Column("run_id", _Id, nullable=False),
    Column("attempt_id", _Id),
    Column("tenant_id", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("media_type", _Name, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),
    Column("blob_key", _Name),
    Column("redacted", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index(None, "run_id"),
    _where_set("blob_key"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", _Id, nullable=False),
    Column("run_id", _Id, primary_key=True),
    Column("tenant_id", _Name, nullable=False),
    Column("number", Integer, primary_key=True),
    Column("effect", String(20), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("facts_json", Text, nullable=False),
    Column("policy_digest", String(80), nullable=False),
    Column("at", Moment, nullable=False),
)

owners = Table(
    "owners",
    metadata,
    Column("owner_id", _Id, primary_key=True),
    Column("tenant_id", _Name, nullable=False),
    Column("host", _Name, nullable=False),
    Column("process", _Name, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("lease_us", BigInteger, nullable=False),
)

connections = Table(
    "connections",
    metadata,
    Column("connection_id", _Id, primary_key=True),
    Column("tenant_id", _Name, nullable=False),
    Column("connector_id", _Name, nullable=False),
    Column("profile_id", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("subject", _Name),
    Column("state", String(20), nullable=False),
    Column("reason", _Name),
    Column("base_url", Text),
    Column("scopes", Text, nullable=False),
    Column("current_credential_id", _Id),
    Column("revision", BigInteger, nullable=False),
    Column("created_by", _Name, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("tenant_id", "name"),
    Index(None, "tenant_id", "connector_id"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("credential_id", _Id, primary_key=True),
    Column("connection_id", _Id, ForeignKey("connections.connection_id"), nullable=False),
    Column("tenant_id", _Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("key_id", _Id, nullable=False),
    Column("nonce", LargeBinary),
    Column("ciphertext", LargeBinary),
    Column("fields", Text, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("connection_id", "version"),
    Index(None, "key_id"),
)

leases = Table(
    "leases",
    metadata,
    Column("lease_id", _Id, primary_key=True),
    Column("tenant_id", _Name, nullable=False),
    Column("connection_id", _Id, ForeignKey("connections.connection_id"), nullable=False),
    Column("credential_id", _Id, ForeignKey("credentials.credential_id"), nullable=False),
    Column("run_id", _Id),
    Column("scopes", Text, nullable=False),
    Column("hosts", Text, nullable=False),
    Column("issued_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    Index(None, "connection_id"),
    sqlite_with_rowid=False,
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", _Id, primary_key=True),
    Column("tenant_id", _Name, nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("root_id", _Name, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("public", LargeBinary),
    Column("created_at", Moment, nullable=False),
    Index(None, "purpose", "state"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("approval_id", _Id, primary_key=True),
    Column("tenant_id", _Name, nullable=False),
    Column("run_id", _Id),
    Column("binding", Text, nullable=False),
    Column("binding_digest", String(80), nullable=False),
    Column("summary", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("requester", _Name, nullable=False),
    Column("role", _Name, nullable=False),
    Column("reviewer", _Name),
    Column("reason", Text),
    Column("edited_input", Text),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Column("spent_at", Moment),
    Column("spent_by", _Id),
    Index(None, "tenant_id", "state", "approval_id"),
    Index(None, "tenant_id", "binding_digest"),
    Index(None, "run_id"),
)

budget_windows = Table(
    "budget_windows",
    metadata,
    Column("tenant_id", _Name, primary_key=True),
    Column("budget", _Name, primary_key=True),
    Column("subject", _Name, primary_key=True),
    Column("window_start", Moment, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("blocked_until", Moment),
    Index(None, "window_start"),
)

budget_slots = Table(
    "budget_slots",
    metadata,
    Column("tenant_id", _Name, primary_key=True),
    Column("budget", _Name, primary_key=True),
    Column("subject", _Name, primary_key=True),
    Column("holder", _Id, primary_key=True),
    Column("reservation_id", _Id, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "expires_at"),
)

validators = Table(
    "validators",
    metadata,
    Column("tenant_id", _Name, primary_key=True),
    Column("connection_id", _Id, primary_key=True),
    Column("request_digest", String(80), primary_key=True),
    Column("etag", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index(None, "updated_at"),
)

# Of executions outside of runs: what a run sent is proven by its own sends.
evidence = Table(
    "evidence",
    metadata,
    Column("tenant_id", _Name, primary_key=True),
    Column("finished_at", Moment, primary_key=True),
    Column("digest", String(80), primary_key=True),
    Column("record_json", Text, nullable=False),
)
