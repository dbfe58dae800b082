"""The published table of what models' providers come to is of all features, and of the libraries' versions that are pinned."""

import model_reports


def test_the_report_is_of_these_features_and_versions():
    assert model_reports.problems() == []
