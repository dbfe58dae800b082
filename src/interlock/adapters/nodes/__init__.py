"""What nodes need of a machine, and the way to nodes elsewhere.

Owns: files that a node alone writes, keys and certificates of nodes and their clients, the client of a node over HTTPS.
Refuses: judging what is in them; deciding whether a lost execution is begun again. Invariants: what was acknowledged is on
the disk; a lost link is never taken for an outcome.
"""

from interlock.adapters.nodes.credentials import (
    ClientIdentity,
    CredentialsExist,
    CredentialsUnusable,
    key_id,
    load_identity,
    load_private_key,
    load_public_keys,
    load_receipt_keys,
    make_credentials,
)
from interlock.adapters.nodes.journal import FileJournal, JournalBusy, JournalDamaged, JournalUnavailable
from interlock.adapters.nodes.refusals import NodeRefused
from interlock.adapters.nodes.remote import RemoteClient, UnprovenReceipt

__all__ = [
    "ClientIdentity",
    "CredentialsExist",
    "CredentialsUnusable",
    "FileJournal",
    "JournalBusy",
    "JournalDamaged",
    "JournalUnavailable",
    "NodeRefused",
    "RemoteClient",
    "UnprovenReceipt",
    "key_id",
    "load_identity",
    "load_private_key",
    "load_public_keys",
    "load_receipt_keys",
    "make_credentials",
]
