"""Every table of the ledger."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from interlock.adapters.sql.agent_tables import agent_exchanges, agent_sessions, agent_summaries
from interlock.adapters.sql.archive_tables import archived_runs, archives
from interlock.adapters.sql.columns import ID, NAME, Moment, metadata, where, where_set
from interlock.adapters.sql.connection_tables import (
    SEALED,
    connection_events,
    connections,
    credentials,
    installs,
    leases,
    oauth_clients,
    providers,
)
from interlock.adapters.sql.dispatch_tables import dispatches, pauses, worker_lanes
from interlock.adapters.sql.subscription_tables import PENDING, feed_events, feeds, messages, outbox, subscriptions
from interlock.adapters.sql.timed_tables import polled_items, polls, schedules
from interlock.adapters.sql.token_tables import tokens
from interlock.adapters.sql.webhook_tables import (
    dedupe_keys,
    deliveries,
    delivery_needs,
    key_sets,
    route_triggers,
    routes,
    triggers,
)

__all__ = [
    "NOT_COMPLETED",
    "PENDING",
    "RUNNING",
    "SEALED",
    "TRACED",
    "UNFINISHED",
    "agent_exchanges",
    "agent_sessions",
    "agent_summaries",
    "approvals",
    "archived_runs",
    "archives",
    "artifacts",
    "attempts",
    "budget_holds",
    "budget_slots",
    "budget_windows",
    "connection_events",
    "connections",
    "credentials",
    "decisions",
    "dedupe_keys",
    "deliveries",
    "delivery_needs",
    "dispatches",
    "events",
    "evidence",
    "feed_events",
    "feeds",
    "idempotency_keys",
    "installs",
    "key_rotations",
    "key_sets",
    "keys",
    "leases",
    "messages",
    "metadata",
    "oauth_clients",
    "outbox",
    "owners",
    "pauses",
    "polled_items",
    "polls",
    "providers",
    "route_triggers",
    "routes",
    "runs",
    "schedules",
    "sends",
    "subscriptions",
    "tokens",
    "triggers",
    "validators",
    "worker_lanes",
]

NOT_COMPLETED: Final = text("state <> 'completed'")
"""Nearly all runs are completed: those are found as well without an index of their states, and each costs two entries less."""

CONNECTED: Final = text("connection_id IS NOT NULL")

RUNNING: Final = text("state = 'running'")

UNFINISHED: Final = text("finished_at IS NULL")

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
    Column("run_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("origin", String(20), nullable=False),
    Column("parent_run_id", ID),
    Column("capability", NAME, nullable=False),
    Column("connector_id", NAME),
    Column("connector_version", String(64)),
    Column("manifest_digest", String(80)),
    Column("connection_id", ID),
    Column("actor", NAME, nullable=False),
    Column("environment", NAME, nullable=False),
    Column("trace_id", NAME, nullable=False),
    Column("targets", Text, nullable=False),
    Column("idempotency_key", NAME),
    Column("input_json", Text, nullable=False),
    Column("input_digest", String(80), nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", NAME),
    Column("fence", BigInteger, nullable=False),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_hash", String(80), nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("approval_id", ID),
    Column("error", Text),
    Column("signature", Text),
    Column("signing_key_id", NAME),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("deadline_at", Moment),
    Column("traceparent", String(60)),
    Index(None, "tenant_id", "created_at", "run_id"),
    where(NOT_COMPLETED, "tenant_id", "state", "created_at", "run_id"),
    Index(None, "tenant_id", "capability", "created_at", "run_id"),
    Index(None, "tenant_id", "actor", "created_at", "run_id"),
    where(CONNECTED, "tenant_id", "connection_id", "created_at", "run_id"),
    where_set("parent_run_id"),
    where(TRACED, "trace_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("capability", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("run_id", ID, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "expires_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", ID, primary_key=True),
    Column("run_id", ID, ForeignKey("runs.run_id"), nullable=False),
    Column("tenant_id", NAME, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("owner_id", ID, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lease_id", ID),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("error", Text),
    UniqueConstraint("run_id", "number"),
    where(RUNNING, "owner_id"),
    sqlite_with_rowid=False,
)

sends = Table(
    "sends",
    metadata,
    Column("send_id", ID, primary_key=True),
    Column("run_id", ID, nullable=False),
    Column("attempt_id", ID, nullable=False),
    Column("tenant_id", NAME, nullable=False),
    Column("number", Integer, nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("target_class", NAME, nullable=False),
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
    Column("run_id", ID, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", ID, nullable=False),
    Column("tenant_id", NAME, nullable=False),
    Column("type", String(60), nullable=False),
    Column("at", Moment, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", String(80), nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact_id", ID, primary_key=True),
    Column("run_id", ID, nullable=False),
    Column("attempt_id", ID),
    Column("tenant_id", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("media_type", NAME, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),
    Column("blob_key", NAME),
    Column("redacted", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index(None, "run_id"),
    where_set("blob_key"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", ID, nullable=False),
    Column("run_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
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
    Column("owner_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("host", NAME, nullable=False),
    Column("process", NAME, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("lease_us", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("root_id", NAME, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("public", LargeBinary),
    Column("created_at", Moment, nullable=False),
    Index(None, "purpose", "state"),
)

key_rotations = Table(
    "key_rotations",
    metadata,
    Column("rotation_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("to_key_id", ID, nullable=False),
    Column("holding", String(60), nullable=False),
    Column("cursor", NAME, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("resealed", BigInteger, nullable=False),
    Column("unopened", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    # One that goes on at a time.
    Index(None, "tenant_id", unique=True, sqlite_where=UNFINISHED, postgresql_where=UNFINISHED),
)

approvals = Table(
    "approvals",
    metadata,
    Column("approval_id", ID, primary_key=True),
    Column("tenant_id", NAME, nullable=False),
    Column("run_id", ID),
    Column("binding", Text, nullable=False),
    Column("binding_digest", String(80), nullable=False),
    Column("summary", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("requester", NAME, nullable=False),
    Column("role", NAME, nullable=False),
    Column("reviewer", NAME),
    Column("reason", Text),
    Column("edited_input", Text),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Column("spent_at", Moment),
    Column("spent_by", ID),
    Index(None, "tenant_id", "state", "approval_id"),
    Index(None, "tenant_id", "binding_digest"),
    Index(None, "run_id"),
)

budget_windows = Table(
    "budget_windows",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("budget", NAME, primary_key=True),
    Column("subject", NAME, primary_key=True),
    Column("window_start", Moment, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("blocked_until", Moment),
    Index(None, "window_start"),
)

budget_slots = Table(
    "budget_slots",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("budget", NAME, primary_key=True),
    Column("subject", NAME, primary_key=True),
    Column("holder", ID, primary_key=True),
    Column("reservation_id", ID, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "expires_at"),
)

budget_holds = Table(
    "budget_holds",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("holder", NAME, primary_key=True),
    Column("budget", NAME, primary_key=True),
    Column("subject", NAME, primary_key=True),
    Column("counter", NAME, primary_key=True),
    Column("unit", NAME, nullable=False),
    Column("window_start", Moment, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index(None, "created_at"),
)

validators = Table(
    "validators",
    metadata,
    Column("tenant_id", NAME, primary_key=True),
    Column("connection_id", ID, primary_key=True),
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
    Column("tenant_id", NAME, primary_key=True),
    Column("finished_at", Moment, primary_key=True),
    Column("digest", String(80), primary_key=True),
    Column("record_json", Text, nullable=False),
)
