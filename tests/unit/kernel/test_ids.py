"""Ids: a known prefix, a UUIDv7, in the order of their making."""

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kernel import PREFIXES, Uuid7Ids, is_id, to_micros


class Stopped:
    """A clock that says what it is told."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody sleeps {seconds} s here")


MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.sampled_from(sorted(PREFIXES)))
def test_it_is_a_uuid_of_version_7_with_the_time_in_it(moment: datetime, prefix: str) -> None:
    made = Uuid7Ids(Stopped(moment)).new(prefix)
    value = uuid.UUID(made.removeprefix(f"{prefix}_"))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == to_micros(moment) // 1000
    assert is_id(made, prefix)


@given(st.lists(MOMENTS, min_size=2, max_size=20))
def test_ids_grow_even_when_the_clock_goes_back(moments: list[datetime]) -> None:
    clock = Stopped(moments[0])
    ids = Uuid7Ids(clock, random_bytes=bytes)
    made: list[str] = []
    for moment in moments:
        clock.moment = moment
        made += [ids.new("run"), *ids.several("run", 3), ids.new("run")]
    assert made == sorted(set(made))


@given(MOMENTS, st.integers(0, 200))
def test_several_at_once_are_as_good_as_one_by_one(moment: datetime, count: int) -> None:
    made = Uuid7Ids(Stopped(moment)).several("evt", count)
    assert len(set(made)) == count
    assert all(is_id(each, "evt") and uuid.UUID(each[4:]).version == 7 for each in made)
    assert len({each[-16:] for each in made}) == count, "the random parts differ, too"


def test_unknown_kinds_are_refused() -> None:
    ids = Uuid7Ids(Stopped(datetime(2026, 1, 1, tzinfo=UTC)))
    for made in (lambda: ids.new("foo"), lambda: ids.several("foo", 2)):
        with pytest.raises(ValueError, match="unknown id prefix 'foo'"):
            made()


@pytest.mark.parametrize(
    "text", ["", "run_", "run_123", "run_" + "g" * 32, "att_" + "0" * 32, "run_" + "0" * 32 + "\n"]
)
def test_what_is_no_run_id(text: str) -> None:
    assert not is_id(text, "run")
