"""Memory for agents: a contract for keeping, finding and forgetting, and what is the same in every provider.

Owns: records, queries, results and their meaning, scopes, ranking, options, the ports of storage. Refuses: databases and
services (adapters), what an agent does with what it recalls, runs and policy: it is of use without the rest of Interlock.
Invariants: a memory sees only what its scope covers, whatever it is asked; what was answered as kept is found; a filter holds
before anything is ranked or cut; what was forgotten is gone with all that was made of it.
"""

from interlock.memory.captures import CAPTURES, Capture, Policy, Role, Said, Turn, captured
from interlock.memory.dictionaries import DictRows, Kept
from interlock.memory.documents import Document, DocumentKeeper, DocumentStore
from interlock.memory.embedding import Embedder, HashedEmbedder
from interlock.memory.endpoint import Answer, Endpoint, RemoteEmbedder, Transport
from interlock.memory.errors import (
    BrokenCapability,
    DeadlineExceeded,
    InvalidConfig,
    InvalidInput,
    MemoryFault,
    ProviderFailed,
    ProviderUnavailable,
    RecordConflict,
    RecordNotFound,
    ScopeDenied,
    UnknownProvider,
    UnsupportedCapability,
)
from interlock.memory.finding import Search
from interlock.memory.keeping import Keeper
from interlock.memory.memories import Memory
from interlock.memory.options import DEFAULT_TIMEOUT, Options
from interlock.memory.provider import (
    CAPABILITIES,
    REQUIRED,
    Consolidates,
    Explains,
    HooksTurns,
    Ingests,
    KeepsHistory,
    Provider,
    Temporal,
    Transfers,
)
from interlock.memory.queries import Order, Query, SearchMode
from interlock.memory.ranking import BM25_B, BM25_K1, Found, bm25, ordered, rarity
from interlock.memory.records import Draft, Key, MemoryClass, Provenance, Record
from interlock.memory.registry import ALIASES, GROUP, Offer, ProviderRef, Registry
from interlock.memory.results import (
    CapabilitySet,
    Change,
    Consolidated,
    ConsolidationPlan,
    ConsolidationResult,
    Contradiction,
    Explanation,
    Forgotten,
    Guarantees,
    Health,
    HistoryEntry,
    Hit,
    Ingested,
    IngestRequest,
    IngestResult,
    IngestStatus,
    NearMiss,
    ProviderInfo,
    RetrieveResult,
    Signal,
)
from interlock.memory.rows import Filter, Link, Rows, Shelf, searchable
from interlock.memory.scope import DIMENSIONS, Scope
from interlock.memory.tools import Tool, ToolForm, tool_forms, tools
from interlock.memory.transfer import MAX_LINE, ExportedRevision, ExportEnd, ExportHead, Import, exported, line_of
from interlock.memory.turns import Echo, Learned, Recalled, Turns
from interlock.memory.value import MAX_TEXT, Value
from interlock.memory.words import terms, words

__all__ = [
    "ALIASES",
    "BM25_B",
    "BM25_K1",
    "CAPABILITIES",
    "CAPTURES",
    "DEFAULT_TIMEOUT",
    "DIMENSIONS",
    "GROUP",
    "MAX_LINE",
    "MAX_TEXT",
    "REQUIRED",
    "Answer",
    "BrokenCapability",
    "CapabilitySet",
    "Capture",
    "Change",
    "Consolidated",
    "Consolidates",
    "ConsolidationPlan",
    "ConsolidationResult",
    "Contradiction",
    "DeadlineExceeded",
    "DictRows",
    "Document",
    "DocumentKeeper",
    "DocumentStore",
    "Draft",
    "Echo",
    "Embedder",
    "Endpoint",
    "Explains",
    "Explanation",
    "ExportEnd",
    "ExportHead",
    "ExportedRevision",
    "Filter",
    "Forgotten",
    "Found",
    "Guarantees",
    "HashedEmbedder",
    "Health",
    "HistoryEntry",
    "Hit",
    "HooksTurns",
    "Import",
    "IngestRequest",
    "IngestResult",
    "IngestStatus",
    "Ingested",
    "Ingests",
    "InvalidConfig",
    "InvalidInput",
    "Keeper",
    "KeepsHistory",
    "Kept",
    "Key",
    "Learned",
    "Link",
    "Memory",
    "MemoryClass",
    "MemoryFault",
    "NearMiss",
    "Offer",
    "Options",
    "Order",
    "Policy",
    "Provenance",
    "Provider",
    "ProviderFailed",
    "ProviderInfo",
    "ProviderRef",
    "ProviderUnavailable",
    "Query",
    "Recalled",
    "Record",
    "RecordConflict",
    "RecordNotFound",
    "Registry",
    "RemoteEmbedder",
    "RetrieveResult",
    "Role",
    "Rows",
    "Said",
    "Scope",
    "ScopeDenied",
    "Search",
    "SearchMode",
    "Shelf",
    "Signal",
    "Temporal",
    "Tool",
    "ToolForm",
    "Transfers",
    "Transport",
    "Turn",
    "Turns",
    "UnknownProvider",
    "UnsupportedCapability",
    "Value",
    "bm25",
    "captured",
    "exported",
    "line_of",
    "ordered",
    "rarity",
    "searchable",
    "terms",
    "tool_forms",
    "tools",
    "words",
]
