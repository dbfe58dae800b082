"""Which of several places counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import memory
from interlock.memory import options as choices

some = st.builds(
    memory.Options,
    timeout=st.none() | st.sampled_from([1.0, 2.0]),
    limit=st.none() | st.integers(1, 9),
    mode=st.none() | st.sampled_from(memory.SearchMode),
    min_score=st.none() | st.floats(0, 1),
    token_budget=st.none() | st.integers(1, 9),
)


@given(st.lists(some, max_size=5))
def test_the_first_place_that_says_anything_counts(places: list[memory.Options]):
    found = choices.resolve(*places)
    for name in memory.Options.model_fields:
        said = [value for place in (*places, choices.LAST) if (value := getattr(place, name)) is not None]
        assert getattr(found, name) == (said[0] if said else None)


def test_a_search_is_in_the_best_mode_there_is_unless_somebody_says():
    query = memory.Query(text="x")
    modes = frozenset({memory.SearchMode.TEXT, memory.SearchMode.SEMANTIC})
    assert choices.filled(query, choices.LAST, modes).mode is memory.SearchMode.TEXT
    assert choices.filled(query, choices.LAST, frozenset(memory.SearchMode)).mode is memory.SearchMode.HYBRID
    said = memory.Options(mode=memory.SearchMode.SEMANTIC)
    assert choices.filled(query, choices.resolve(said), frozenset(memory.SearchMode)).mode is memory.SearchMode.SEMANTIC


def test_a_list_has_no_mode_whatever_the_options_say():
    said = choices.resolve(memory.Options(mode=memory.SearchMode.TEXT, limit=7))
    query = choices.filled(memory.Query(), said, frozenset(memory.SearchMode))
    assert (query.mode, query.limit) == (None, 7)


@pytest.mark.parametrize("fields", [{"timeout": 0}, {"timeout": float("nan")}, {"limit": 0}, {"colour": "red"}])
def test_options_that_are_none_are_refused(fields: dict[str, object]):
    with pytest.raises(memory.InvalidInput):
        memory.Options.of(**fields)
