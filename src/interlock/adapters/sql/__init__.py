"""The SQL store: one implementation of every records port, on SQLite and on Postgres.

Owns: tables, migrations, transactions, the batched hot path of the ledger, and what drivers' errors mean. Refuses: rules
of the rooms; it stores what they decide. Invariants: an answer is given only after the commit; one caller's bad row
costs no other caller anything; nothing is created or changed in a file or database that is not ours.
"""

from interlock.adapters.sql.address import parse_address
from interlock.adapters.sql.agent_sessions import AgentSessionRecords
from interlock.adapters.sql.approvals import ApprovalRecords
from interlock.adapters.sql.archives import ArchiveRecords
from interlock.adapters.sql.budgets import BudgetRecords
from interlock.adapters.sql.connections import ConnectionRecords
from interlock.adapters.sql.creations import claim_creation
from interlock.adapters.sql.dispatches import DispatchRecords
from interlock.adapters.sql.errors import (
    DriverMissing,
    ForeignFile,
    InvalidStoreUrl,
    MigrationsPending,
    RowRefused,
    SchemaTooNew,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    StoreUnavailable,
)
from interlock.adapters.sql.evidence import LedgerSink
from interlock.adapters.sql.holdings import HOLDINGS
from interlock.adapters.sql.housekeeping import sweep
from interlock.adapters.sql.installs import ClientRecords, InstallRecords
from interlock.adapters.sql.key_sets import KeySetRecords
from interlock.adapters.sql.keys import KeyRecords
from interlock.adapters.sql.ledger import SqlLedger
from interlock.adapters.sql.opening import migrate, open_store
from interlock.adapters.sql.polls import PollRecords
from interlock.adapters.sql.preflight import Finding, preflight
from interlock.adapters.sql.providers import ProviderRecords
from interlock.adapters.sql.ringing import RingingStore
from interlock.adapters.sql.schedules import ScheduleRecords
from interlock.adapters.sql.schema import MigrationReport
from interlock.adapters.sql.store import SqlStore
from interlock.adapters.sql.subscriptions import SubscriptionRecords
from interlock.adapters.sql.tokens import TokenRecords
from interlock.adapters.sql.transaction import connection, lock
from interlock.adapters.sql.validators import ValidatorRecords
from interlock.adapters.sql.webhooks import WebhookRecords

__all__ = [
    "HOLDINGS",
    "AgentSessionRecords",
    "ApprovalRecords",
    "ArchiveRecords",
    "BudgetRecords",
    "ClientRecords",
    "ConnectionRecords",
    "DispatchRecords",
    "DriverMissing",
    "Finding",
    "ForeignFile",
    "InstallRecords",
    "InvalidStoreUrl",
    "KeyRecords",
    "KeySetRecords",
    "LedgerSink",
    "MigrationReport",
    "MigrationsPending",
    "PollRecords",
    "ProviderRecords",
    "RingingStore",
    "RowRefused",
    "ScheduleRecords",
    "SchemaTooNew",
    "SqlLedger",
    "SqlStore",
    "StoreBusy",
    "StoreClosed",
    "StoreDamaged",
    "StoreFull",
    "StoreMissing",
    "StoreReadOnly",
    "StoreUnavailable",
    "SubscriptionRecords",
    "TokenRecords",
    "ValidatorRecords",
    "WebhookRecords",
    "claim_creation",
    "connection",
    "lock",
    "migrate",
    "open_store",
    "parse_address",
    "preflight",
    "sweep",
]
