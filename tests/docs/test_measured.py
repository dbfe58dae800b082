"""The page of measurements names all that is measured, and says of each what its kind promises."""

from importlib import import_module
from pathlib import Path

import pytest

from interlock import conformance, plane
from interlock.conformance.escapes import ESCAPES

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "docs" / "plane-measured.md").read_text().splitlines()
CELLS = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in LINES if line.startswith("| ")]
FOUND = {kind: {cells[1]: cells[2:] for cells in CELLS if cells[0] == kind} for kind in ("lane", "target", "verifier")}


def test_every_subject_of_ours_is_there() -> None:
    assert FOUND["lane"].keys() == {*conformance.LANES.names()}
    assert FOUND["target"].keys() == {*conformance.TARGETS.names()}
    assert FOUND["verifier"].keys() == {*conformance.VERIFIERS.names()}


def test_nothing_is_left_out_of_a_report() -> None:
    counts = {
        kind: {name: sum(map(int, cells)) for name, cells in subjects.items()} for kind, subjects in FOUND.items()
    }
    assert set(counts["lane"].values()) == {len(conformance.LANE_CHECKS)}
    assert set(counts["target"].values()) == {len(conformance.TARGET_CHECKS)}
    authority = len(conformance.AUTHORITY_CHECKS)
    assert counts["verifier"] == {
        "attestation": len(conformance.ATTESTATION_CHECKS),
        "authority-mac": authority,
        "authority-signature": authority,
    }


def test_a_target_skips_what_its_class_does_not_stand_for() -> None:
    for name, (_, skipped) in FOUND["target"].items():
        assert int(skipped) == len(ESCAPES.keys() - plane.CLASSES[name]), name


def test_the_rows_of_the_bench_are_there_with_their_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    targets: dict[str, object] = import_module("bench.targets").TARGETS
    told = {cells[0]: cells[-1] for cells in CELLS if cells[0].startswith(("lane-", "plane-", "flow-"))}
    assert told == {key: str(each) for key, each in targets.items() if key.startswith(("lane-", "plane-", "flow-"))}
