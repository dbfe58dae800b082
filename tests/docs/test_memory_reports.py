"""The published reports of our memory providers are of this version, of all cases of the kit, and good."""

import memory_reports


def test_the_reports_are_of_this_version_and_its_cases():
    assert memory_reports.problems() == []
