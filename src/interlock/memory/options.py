"""What may be set at several places, and which of them counts."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from interlock.memory.queries import DEFAULT_LIMIT, MAX_LIMIT, Mode, Query, SearchMode
from interlock.memory.value import Value, finite

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds."""


class Options(Value):
    """What may be left open. None: whatever the next place says.

    The order, written here and nowhere else: what the call says, then the query, then the state that the memory was opened
    with (an agent's), then what is given with the reference to the provider, then the provider's own defaults, then these.
    """

    timeout: Annotated[float, AfterValidator(finite), Field(gt=0, le=3_600)] | None = None
    """Seconds that one operation may take."""
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = None
    mode: Mode | None = None
    min_score: Annotated[float, AfterValidator(finite)] | None = None
    token_budget: Annotated[int, Field(ge=1)] | None = None

    def over(self, others: "Options") -> "Options":
        """These, and the others where these are open."""
        return _first(self, others)


_NAMES: Final = tuple(Options.model_fields)
LAST: Final = Options(timeout=DEFAULT_TIMEOUT, limit=DEFAULT_LIMIT)
"""What counts when nobody says anything."""


def resolve(*places: Options) -> Options:
    """One set of options, the first place that says anything winning."""
    return _first(*places, LAST)


def _first(*places: Options) -> Options:
    """Of each option what the first place says that says anything."""
    said = {name: value for place in reversed(places) for name in _NAMES if (value := getattr(place, name)) is not None}
    return Options(**said)


def asked(query: Query) -> Options:
    """What a query says."""
    return Options(limit=query.limit, mode=query.mode, min_score=query.min_score, token_budget=query.token_budget)


def filled(query: Query, options: Options, modes: frozenset[SearchMode]) -> Query:
    """The query with every option in it. Without a word from anybody it is searched in the best of the `modes`."""
    mode = options.mode if query.is_search else None
    if query.is_search and mode is None:
        mode = next((each for each in (SearchMode.HYBRID, SearchMode.TEXT, SearchMode.SEMANTIC) if each in modes), None)
    if mode is SearchMode.TEXT and query.text is None:
        mode = SearchMode.SEMANTIC
    return query.changed(limit=options.limit, mode=mode, min_score=options.min_score, token_budget=options.token_budget)
