"""What is answered."""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from interlock.memory.queries import Query, SearchMode
from interlock.memory.records import Draft, MemoryClass, Record, RecordId
from interlock.memory.scope import Scope
from interlock.memory.value import Moment, Name, Value

MAX_BATCH: Final = 1_000
"""Records of one ingestion."""


class Signal(Value):
    """What one signal says of a hit."""

    name: Literal["text", "semantic", "recency", "importance"]
    rank: int
    """From 1, among what this signal found."""
    score: float
    """As the signal counts: BM25, cosine, seconds since 1970, a share."""
    contribution: float
    """What it adds to the score of the hit."""


class Hit(Value):
    """A record that was found, and why."""

    record: Record
    rank: int
    """From 1, over all pages."""
    score: float | None = None
    """See `Query.min_score`; None in a list."""
    signals: tuple[Signal, ...] = ()
    matched_terms: tuple[str, ...] = ()
    """The words of the query that are in it, as they are compared."""


class NearMiss(Value):
    """A record that matched and is not among the hits."""

    record_id: RecordId
    score: float
    reason: Literal["min_score", "limit", "token_budget"]


class Explanation(Value):
    """How a result came about, as told by the execution that made it."""

    mode: SearchMode | None
    """None: a list."""
    terms: tuple[str, ...] = ()
    """The words that were looked for, as they are compared."""
    filters: tuple[str, ...] = ()
    """What had to hold, in words; the scope is among them."""
    candidates: dict[str, int] = Field(default_factory=dict)
    """How many records each signal found after the filters, up to the most that are fused."""
    fusion: str = ""
    """The rule by which ranks became scores."""
    near_misses: tuple[NearMiss, ...] = ()
    """The best of what was cut off."""
    notes: tuple[str, ...] = ()
    """Why the result may be less than it could be: a part that did not answer."""


class RetrieveResult(Value):
    """The hits, best first, and what they are hits of."""

    contract: Literal["interlock.memory-result/v1"] = "interlock.memory-result/v1"
    hits: tuple[Hit, ...]
    query: Query
    """As it was carried out, with the options filled in."""
    scope: Scope
    provider: Name
    explanation: Explanation
    scope_known: bool
    """Whether anything was ever kept in this scope: a misspelled scope is not an empty one."""
    cursor: str | None = None
    """For the next page; None at the end."""
    total: int | None = None
    """All that match, if `Query.exact_total` asked for it."""

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of the hits."""
        return tuple(hit.record for hit in self.hits)


class Forgotten(Value):
    """What was forgotten, with everything that was derived from it, and the proof: afterwards the storage was searched for each
    of the ids, in records, revisions and indexes, and this many traces were found (0). Only the ids and digests stay, as
    history."""

    record_ids: tuple[RecordId, ...]
    derived_ids: tuple[RecordId, ...] = ()
    """Those among them that were made of others."""
    restored_ids: tuple[RecordId, ...] = ()
    """What they had taken the place of, and is the last word again."""
    revisions: int = 0
    """How many revisions there were in all."""
    traces: int = 0

    @property
    def existed(self) -> bool:
        """Whether there was anything to forget."""
        return bool(self.record_ids)


class IngestStatus(StrEnum):
    """What became of one record of a batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """It was there: by its idempotency key, or because it says the same."""
    REJECTED = "rejected"


class IngestRequest(Value):
    """Records to remember together. `atomic`: all of them, or none if one is rejected."""

    contract: Literal["interlock.memory-ingest/v1"] = "interlock.memory-ingest/v1"
    records: Annotated[tuple[Draft, ...], Field(min_length=1, max_length=MAX_BATCH)]
    atomic: bool = False


class Ingested(Value):
    """What became of one record, in the order of the request. `reason` says why it was rejected, `code` by which error."""

    status: IngestStatus
    record_id: RecordId | None = None
    code: str | None = None
    reason: str | None = None


class IngestResult(Value):
    """What became of a batch."""

    contract: Literal["interlock.memory-ingested/v1"] = "interlock.memory-ingested/v1"
    items: tuple[Ingested, ...]

    def count(self, status: IngestStatus) -> int:
        """How many ended so."""
        return sum(item.status is status for item in self.items)


class Change(StrEnum):
    """What made a revision."""

    REMEMBERED = "remembered"
    REVISED = "revised"
    SUPERSEDED = "superseded"
    CONSOLIDATED = "consolidated"
    RESTORED = "restored"
    FORGOTTEN = "forgotten"
    EXPIRED = "expired"


class HistoryEntry(Value):
    """One revision of a record; of one that was forgotten or has expired only its digest is left."""

    record_id: RecordId
    revision: int
    change: Change
    at: Moment
    digest: str
    record: Record | None = None
    change_id: Name | None = None


class Consolidated(Value):
    """One change that a consolidation makes: what it ends, and what it puts there instead (None: nothing)."""

    policy: Name
    reason: str
    ends: Annotated[tuple[RecordId, ...], Field(min_length=1)]
    revisions: tuple[int, ...]
    """Which revisions these were when it was planned; others by now make a conflict."""
    scope: Scope | None = None
    """In which scope all of them are; None: what their ids name from the plan's."""
    record: Draft | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if len(set(self.ends)) != len(self.ends) or len(self.revisions) != len(self.ends):
            raise ValueError("each record ends once, at one revision")
        return self


class Contradiction(Value):
    """Records that cannot both be so, for somebody to decide about. Nothing is changed."""

    record_ids: tuple[RecordId, ...]
    reason: str


class ConsolidationPlan(Value):
    """What a consolidation would do. It changes nothing until it is applied."""

    contract: Literal["interlock.memory-plan/v1"] = "interlock.memory-plan/v1"
    change_id: Name
    scope: Scope
    planned_at: Moment
    changes: tuple[Consolidated, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    examined: int = 0
    """How many records were looked at."""


class ConsolidationResult(Value):
    """What a consolidation did. `undo` takes its `change_id`."""

    contract: Literal["interlock.memory-consolidated/v1"] = "interlock.memory-consolidated/v1"
    change_id: Name
    scope: Scope
    status: Literal["applied", "undone", "nothing"]
    ended: tuple[RecordId, ...] = ()
    made: tuple[RecordId, ...] = ()
    skipped: tuple[str, ...] = ()
    """What was not changed, and why: somebody else was there first."""


class Guarantees(Value):
    """What a provider promises. The contract kit checks each of them."""

    durable: bool
    """What was answered as kept is there after a crash."""
    atomic_batch: bool
    read_your_writes: bool
    """What was kept is found by the next search."""
    search_modes: frozenset[SearchMode] = frozenset()
    isolation: Literal["storage", "query", "client"]
    """What keeps scopes apart: the storage itself whatever is asked (row-level security), the query, or only this process."""
    classes: frozenset[MemoryClass] = frozenset(MemoryClass)
    exact_total: bool = True
    vector_dimensions: int | None = None
    """How long the vectors are that it takes from its caller; None: it takes none."""
    chosen_ids: bool = False
    """Whether a new record may bring its id along (`Draft.if_revision` 0), as copies do."""


class CapabilitySet(Value):
    """What a provider can do. `offered` is made of what it implements, so it cannot say more."""

    provider: Name
    offered: frozenset[str]
    broken: frozenset[str] = frozenset()
    """What it claims and does not implement."""
    guarantees: Guarantees

    def supports(self, capability: str) -> bool:
        """Whether it offers this, as in CAPABILITIES."""
        return capability in self.offered


class ProviderInfo(Value):
    """Who a provider is."""

    contract: Literal["interlock.memory-provider/v1"] = "interlock.memory-provider/v1"
    name: Name
    version: str
    description: str
    capabilities: CapabilitySet
    config: dict[str, object] = Field(default_factory=dict)
    """What it was opened with, without secrets."""


class Health(Value):
    """How a provider is."""

    ok: bool
    detail: str = ""
    latency_ms: float | None = None
