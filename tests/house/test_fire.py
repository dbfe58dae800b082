"""What the soaks under fire do is what they say."""

from collections import Counter

import fire


def test_each_table_is_locked_about_as_often():
    faults = fire.plan(1, {"lock": 1}, victims=1, pauses=(1, 1), until=6000)
    locked = Counter(each.table for each in faults)
    assert set(locked) == set(fire.LOCKED)
    assert max(locked.values()) < 1.2 * len(faults) / len(fire.LOCKED)
