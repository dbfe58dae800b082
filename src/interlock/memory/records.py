"""What is remembered."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from interlock.kernel import digest
from interlock.memory.scope import Scope
from interlock.memory.value import Few, Json, Moment, Name, Object, Text, Value, finite, is_blank, unique

MAX_TAGS: Final = 100
MAX_SOURCES: Final = 1_000
MAX_DIMENSIONS: Final = 16_384

RecordId = Annotated[str, Field(pattern=r"^mem_[0-9a-f]{32}$")]
"""`mem_` and a UUIDv7 in hexadecimal."""

Vector = Annotated[
    tuple[Annotated[float, AfterValidator(finite)], ...], Field(strict=False, min_length=1, max_length=MAX_DIMENSIONS)
]
"""An embedding, by whoever made it."""

Tags = Annotated[tuple[Name, ...], Field(strict=False, max_length=MAX_TAGS), AfterValidator(unique), Few]
"""Names, each once, in the order in which they were given."""


class Key(NamedTuple):
    """What makes a record one: its id, in exactly the scope that it is in. The same id in another scope is another record."""

    record_id: str
    scope: Scope

    def __hash__(self) -> int:
        """A scope's own takes longer."""
        scope = self.scope
        return hash((self.record_id, scope.user, scope.agent, scope.session))

    @property
    def order(self) -> tuple[str, ...]:
        """By this keys are sorted: by their ids, then by their scopes, the widest first."""
        scope = self.scope
        return (self.record_id, scope.tenant, scope.user or "", scope.agent or "", scope.session or "")


Share = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1."""


class MemoryClass(StrEnum):
    """What kind of memory it is."""

    EPISODIC = "episodic"
    """Something happened: each time is its own record."""

    SEMANTIC = "semantic"
    """Something is so: said twice, it is one record."""

    PROCEDURAL = "procedural"
    """Something is done so: said twice, it is one record."""

    WORKING = "working"
    """Something is needed for now: each is its own record."""


Class = Annotated[MemoryClass, Field(strict=False)]
"""A MemoryClass, or its name."""


class Provenance(Value):
    """Where it comes from: the turn that said it, the words that said it, the records that it was made of. What was made of a
    record is forgotten with it."""

    source_turn: Name | None = None
    span: Text | None = None
    derived_from: Annotated[tuple[RecordId, ...], Field(strict=False, max_length=MAX_SOURCES)] = ()


class Fields(Value):
    """What whoever remembers something says of it."""

    text: Text | None = None
    content: Json = Field(default_factory=dict)
    """Any JSON beside the text."""
    memory_class: Class = MemoryClass.EPISODIC
    kind: Name = "event"
    """An open word: `fact`, `preference`, `user_query`."""
    tags: Tags = ()
    source: Name | None = None
    importance: Share = 0.5
    expires_at: Moment | None = None
    """From then on it is not seen, and `prune` removes it."""
    valid_from: Moment | None = None
    """Since when it is so, in the world; None: always."""
    valid_to: Moment | None = None
    """Until when it is so; None: still. The moment itself is outside."""
    provenance: Provenance = Provenance()
    metadata: Object = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if is_blank(self.text or "") and self.content in ({}, [], "", None):
            raise ValueError("there is nothing to remember: no text, and no content")
        if self.valid_from is not None and self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to must be after valid_from")
        return self

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over what it says, whoever says it, and when."""
        said = {"class": self.memory_class.value, "kind": self.kind, "text": self.text, "content": self.content}
        return digest({**said, "tags": sorted(self.tags)})


class Draft(Fields):
    """Something to remember. With a `record_id` it is the next revision of that record; `if_revision` is the one that it must
    have now, and 0 makes it a new record with that id, for copies. `supersedes` names a record that is no longer so because of
    this one: its validity ends where this one's begins. An `idempotency_key` makes it the same record however often it is sent.
    `scope` narrows where it is kept; `embedding` replaces the provider's own."""

    contract: Literal["interlock.memory-draft/v1"] = "interlock.memory-draft/v1"
    record_id: RecordId | None = None
    if_revision: Annotated[int, Field(ge=0)] | None = None
    supersedes: RecordId | None = None
    idempotency_key: Name | None = None
    observed_at: Moment | None = None
    """When it was noticed; None: now."""
    scope: Scope | None = None
    embedding: Vector | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.if_revision is not None and self.record_id is None:
            raise ValueError("if_revision goes with the record_id that it is about")
        if self.is_revision and self.supersedes is not None:
            raise ValueError("a new record supersedes another one; a revision has the record_id alone")
        if self.is_revision and self.idempotency_key is not None:
            raise ValueError("an idempotency_key is for a new record; a revision is made once by if_revision")
        return self

    @property
    def is_revision(self) -> bool:
        """Whether it is about a record that is there."""
        return self.record_id is not None and self.if_revision != 0


class Record(Fields):
    """Something remembered, as it was from `recorded_at` until `superseded_at` (None: still). Each change is a new revision;
    the earlier ones stay as history until the record is forgotten."""

    contract: Literal["interlock.memory-record/v1"] = "interlock.memory-record/v1"
    record_id: RecordId
    scope: Scope
    revision: Annotated[int, Field(ge=1)]
    observed_at: Moment
    recorded_at: Moment
    superseded_at: Moment | None = None
    superseded_by: RecordId | None = None
    """The record that took its place: from `superseded_at` on, or in the world from `valid_to` on."""
    idempotency_key: Name | None = None
    change_id: Name | None = None
    """The consolidation that made this revision."""

    @property
    def key(self) -> Key:
        """Which record it is a revision of."""
        return Key(self.record_id, self.scope)

    @property
    def is_current(self) -> bool:
        """Whether it is the last word."""
        return self.superseded_at is None


def stated(record: Fields) -> Mapping[str, Any]:
    """The fields of `Fields` as they are, for another value that has them."""
    return {name: getattr(record, name) for name in Fields.model_fields}
