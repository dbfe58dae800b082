"""Who goes first."""

from datetime import UTC, datetime, timedelta

from interlock.dispatch import Priority
from interlock.dispatch.docket import MOST_AHEAD_MS, MOST_RANKED, PRIORITY_MS, STEP_MS, Ranks

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_tenant_with_much_to_do_lets_others_pass():
    ranks = Ranks()
    many = [ranks.next("loud", Priority.NORMAL, NOW) for _ in range(100)]
    assert many == sorted(set(many))
    later = NOW + timedelta(milliseconds=3 * STEP_MS)
    quiet = ranks.next("quiet", Priority.NORMAL, later)
    assert sum(rank <= quiet for rank in many) == 4


def test_a_burst_is_not_held_against_a_tenant_for_ever():
    ranks = Ranks()
    first = last = ranks.next("loud", Priority.NORMAL, NOW)
    for _ in range(MOST_AHEAD_MS // STEP_MS + 1000):
        last = ranks.next("loud", Priority.NORMAL, NOW)
    assert last == first + MOST_AHEAD_MS
    much_later = NOW + timedelta(hours=1)
    assert ranks.next("loud", Priority.NORMAL, much_later) == ranks.next("quiet", Priority.NORMAL, much_later)


def test_what_is_urgent_passes_its_tenants_own_work_and_what_is_low_comes_at_last():
    ranks = Ranks()
    normal = [ranks.next("one", Priority.NORMAL, NOW) for _ in range(10_000)]
    assert ranks.next("one", Priority.HIGH, NOW) < normal[0]
    low = ranks.next("one", Priority.LOW, NOW)
    assert low == normal[0] + PRIORITY_MS
    assert low < ranks.next("two", Priority.NORMAL, NOW + timedelta(milliseconds=PRIORITY_MS + 1))


def test_the_clocks_of_many_tenants_are_looked_through_seldom():
    ranks = Ranks()
    kept: list[object] = []
    for number in range(MOST_RANKED + 1000):
        for _ in range(2):
            ranks.next(f"t{number}", Priority.NORMAL, NOW)
        held = ranks._last  # pyright: ignore[reportPrivateUsage] - another one whenever all were looked at
        if not any(held is each for each in kept):
            kept.append(held)
    assert len(kept) == 2
    for number in range(MOST_RANKED + 1000):
        ranks.next(f"u{number}", Priority.NORMAL, NOW + timedelta(hours=1))
    assert len(ranks._last) <= MOST_RANKED + 1000, "those behind the time go"  # pyright: ignore[reportPrivateUsage]
