"""The highest of many scores."""

import pytest

from interlock.adapters.memory.vectors import highest

np = pytest.importorskip("numpy")


@pytest.mark.parametrize("count", [1, 7, 200, 640, 12_863, 12_864, 20_001])
@pytest.mark.parametrize("most", [1, 200])
@pytest.mark.parametrize("digits", [0, 2, 7])
def test_the_highest_are_found_among_however_many_equals(count: int, most: int, digits: int):
    scores = np.random.default_rng(count).uniform(-1, 1, count).round(digits).astype(np.float32)
    places = highest(scores, most)
    assert len(set(places.tolist())) == min(most, count)
    assert sorted(scores[places].tolist()) == sorted(scores.tolist())[-most:]


def test_the_last_ones_are_in_no_group_and_found():
    scores = np.zeros(1_000, dtype=np.float32)
    scores[-3:] = 0.5
    assert sorted(highest(scores, 3).tolist()) == [997, 998, 999]


def test_what_is_no_number_hides_nothing():
    scores = np.full(1_000, np.nan, dtype=np.float32)
    scores[5] = 0.5
    assert highest(scores, 1).tolist() == [5]
