"""Who is dead: told by silence on the watcher's own clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from interlock import runs
from interlock.runs.watching import Watch

OWNER = runs.Owner(
    owner_id="own_1",
    host="h",
    process="1",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    beat=1,
    lease=timedelta(seconds=10),
)


def at(watch: Watch, moment: float, *owners: runs.Owner) -> frozenset[str]:
    return watch.observe(owners, asked_at=moment, heard_at=moment)


def test_silence_for_a_lease_is_death_and_a_beat_is_life() -> None:
    watch = Watch()
    assert at(watch, 100, OWNER) == frozenset()
    assert watch.undecided("own_1", 100)
    assert at(watch, 109.9, OWNER) == frozenset()
    assert at(watch, 110, OWNER) == {"own_1"}
    assert at(watch, 111, replace(OWNER, beat=2)) == frozenset()
    assert not watch.undecided("own_1", 111)
    assert watch.undecided("own_1", 116.1)
    assert at(watch, 121, replace(OWNER, beat=2)) == {"own_1"}


def test_the_time_that_reading_takes_does_not_count() -> None:
    watch = Watch()
    watch.observe([OWNER], asked_at=0, heard_at=5)
    assert watch.observe([OWNER], asked_at=14, heard_at=30) == frozenset()
    assert watch.observe([OWNER], asked_at=15, heard_at=31) == {"own_1"}


def test_silence_while_the_watcher_could_not_beat_itself_does_not_count() -> None:
    """A store that was away for all is back: whoever beats first must not take the others for dead."""
    watch = Watch()
    at(watch, 0, OWNER)
    assert watch.observe([OWNER], asked_at=60, heard_at=60, mute_until=59) == frozenset()
    assert watch.silent_in(60) == 9
    assert watch.undecided("own_1", 60)
    assert watch.observe([OWNER], asked_at=69, heard_at=69, mute_until=59) == {"own_1"}


def test_who_has_beaten_before_the_watcher_could_not_is_waited_for_again() -> None:
    watch = Watch()
    at(watch, 0, OWNER)
    at(watch, 1, replace(OWNER, beat=2))
    assert not watch.undecided("own_1", 1)
    watch.observe([replace(OWNER, beat=2)], asked_at=60, heard_at=60, mute_until=59)
    assert watch.undecided("own_1", 60), "it may have died meanwhile"
    watch.observe([replace(OWNER, beat=3)], asked_at=61, heard_at=61, mute_until=59)
    assert not watch.undecided("own_1", 61)


def test_when_an_owner_was_last_heard() -> None:
    watch = Watch()
    assert watch.heard("own_1") is None
    at(watch, 5, OWNER)
    assert watch.heard("own_1") == 5
    at(watch, 6, replace(OWNER, beat=2))
    watch.observe([replace(OWNER, beat=2)], asked_at=60, heard_at=60, mute_until=59)
    assert watch.heard("own_1") == 6, "what kept the watcher from hearing is not heard"


def test_when_somebody_may_be_dead_next() -> None:
    watch = Watch()
    assert watch.silent_in(0) is None
    at(watch, 0, OWNER)
    at(watch, 4, OWNER, replace(OWNER, owner_id="own_2"))
    assert (watch.silent_in(4), watch.silent_in(9)) == (6, 1)
    assert watch.silent_in(11) == 3, "the one that is dead by now is waited for no more"


def test_who_is_gone_and_comes_again_is_new() -> None:
    watch = Watch()
    at(watch, 0, OWNER)
    assert at(watch, 20) == frozenset()
    assert not watch.undecided("own_1", 20)
    assert at(watch, 21, OWNER) == frozenset()


@given(st.lists(st.floats(0.1, 3.4), min_size=1, max_size=30), st.floats(0, 3))
def test_who_beats_three_times_a_lease_is_never_taken_for_dead(gaps: list[float], late: float) -> None:
    watch, moment = Watch(), 0.0
    for beat, gap in enumerate(gaps):
        assert at(watch, moment, replace(OWNER, beat=beat)) == frozenset()
        assert at(watch, moment + late, replace(OWNER, beat=beat)) == frozenset()
        moment += gap + late
