"""What is asked for."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from interlock.memory.records import Class, Vector
from interlock.memory.value import Few, Moment, Name, Object, Text, Value, finite, is_blank, unique

MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 20
SIGNALS: Final = ("text", "semantic", "recency", "importance")
"""By what hits are ranked."""

MAX_NAMED: Final = 100
"""Classes, kinds, tags and members of metadata that one query may name, of each."""

Named = Annotated[tuple[Name, ...], Field(strict=False, max_length=MAX_NAMED), AfterValidator(unique), Few]
Weight = Annotated[float, AfterValidator(finite), Field(ge=0, le=100)]


class SearchMode(StrEnum):
    """By what is searched."""

    TEXT = "text"
    """By words, weighed by BM25."""
    SEMANTIC = "semantic"
    """By the likeness of embeddings."""
    HYBRID = "hybrid"
    """By both: the ranks over the union of what either finds are fused (reciprocal rank fusion)."""


Mode = Annotated[SearchMode, Field(strict=False)]
"""A SearchMode, or its name."""


class Order(StrEnum):
    """The order of records that are listed and not searched: by when they were observed, then by id."""

    NEWEST = "newest"
    OLDEST = "oldest"


class Query(Value):
    """What to look for. With a `text` or a `vector` it is a search, ranked; without, a list in the `order`. All filters hold
    before anything is ranked or cut. Fields that are None are left to the options of the memory."""

    contract: Literal["interlock.memory-query/v1"] = "interlock.memory-query/v1"
    text: Text | None = None
    vector: Vector | None = None
    """The embedding to search by; None: made of the text."""
    mode: Mode | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = None
    cursor: Annotated[str, Field(max_length=500)] | None = None
    """Where the page before ended: `RetrieveResult.cursor`."""
    order: Annotated[Order, Field(strict=False)] = Order.NEWEST
    min_score: Annotated[float, AfterValidator(finite)] | None = None
    """The least score of a hit: BM25 in the mode text, cosine (-1 to 1) in the mode semantic, a share of the best that could be
    (0 to 1) in the mode hybrid."""
    token_budget: Annotated[int, Field(ge=1)] | None = None
    """About how many tokens the texts of the hits may have in all, by four characters each."""
    weights: Mapping[Literal["text", "semantic", "recency", "importance"], Weight] | None = None
    """What each signal counts in the fusion. Without recency and importance, which are 0 unless given, age and importance count
    for nothing."""
    exact_total: bool = False
    """Also count all that match, which may cost as much as the search."""

    classes: Annotated[tuple[Class, ...], Field(strict=False, max_length=MAX_NAMED), Few] = ()
    kinds: Named = ()
    tags_any: Named = ()
    tags_all: Named = ()
    source: Name | None = None
    text_contains: Annotated[Text, Field(min_length=1)] | None = None
    """Somewhere in the text, whatever the case of its letters."""
    since: Moment | None = None
    until: Moment | None = None
    """Observed from then to then, both included."""
    min_importance: Annotated[float, Field(ge=0, le=1)] | None = None
    metadata: Annotated[Object, Field(max_length=MAX_NAMED)] = Field(default_factory=dict)
    """Members of the metadata that are equal to these."""
    as_of: Moment | Literal["any"] | None = None
    """What was so in the world at that moment; None: what is so now; `any`: whatever the time of its validity."""
    known_at: Moment | None = None
    """What was recorded at that moment, as it was recorded then; None: now."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.text is not None and is_blank(self.text):
            raise ValueError("text: blank; leave it out to list what there is")
        if self.since is not None and self.until is not None and self.until < self.since:
            raise ValueError("until must not be before since")
        if self.mode is not None and not self.is_search:
            raise ValueError("mode: there is nothing to search by; give a text or a vector")
        if self.mode is SearchMode.TEXT and self.text is None:
            raise ValueError("mode text needs a text")
        return self

    @property
    def is_search(self) -> bool:
        """Whether hits are ranked."""
        return self.text is not None or self.vector is not None
